"""
Initial values of parameters, drawn on the host so that a seed gives the same network on every device.

An initializer is called with a shape and a NumPy generator, and returns an array of float64. For a weight of shape
``(*kernel, in, out)``, fan in is ``kernel size x in``, and fan out ``kernel size x out``.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from portanet.checks import check_choice, check_fields, check_number, check_shape, shown
from portanet.config import Configured
from portanet.typing import Shape

__all__ = [
    "Constant",
    "Initializer",
    "Normal",
    "Uniform",
    "VarianceScaling",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "ones",
    "zeros",
]


class Initializer(Configured):
    """
    Base class of initializers: each is a distribution, ``draw``.

    Examples
    --------
    >>> class Ones(Initializer):
    ...     def draw(self, shape, rng):
    ...         return np.ones(shape)
    >>> Ones()((2,), np.random.default_rng(0))
    array([1., 1.])
    """

    def __call__(self, shape: Shape, rng: np.random.Generator) -> np.ndarray:
        """Return an array of float64."""
        if not isinstance(rng, np.random.Generator):
            raise ValueError(f"rng must be a NumPy generator such as numpy.random.default_rng(0), got {shown(rng)}")
        return self.draw(check_shape("shape", shape), rng)

    def draw(self, shape: Shape, rng: np.random.Generator) -> np.ndarray:
        """Draw an array of float64."""
        raise NotImplementedError(f"{type(self).__name__} needs a method draw(self, shape, rng)")


@dataclass(frozen=True, repr=False)
class Constant(Initializer):
    """
    All values equal.

    Parameters
    ----------
    value : float
        The value.

    Examples
    --------
    >>> Constant(0.1)((2,), np.random.default_rng(0))
    array([0.1, 0.1])
    """

    value: float = 0.0

    def __post_init__(self) -> None:
        check_fields(self, value=check_number)

    def draw(self, shape: Shape, rng: np.random.Generator) -> np.ndarray:
        return np.full(shape, self.value, dtype="float64")


@dataclass(frozen=True, repr=False)
class Normal(Initializer):
    """
    Normal distribution with mean 0 and standard deviation ``std``.

    Parameters
    ----------
    std : float
        Standard deviation.

    Examples
    --------
    >>> Normal(std=0.01)((784, 100), np.random.default_rng(0)).std().round(3)
    np.float64(0.01)
    """

    std: float = 0.05

    def __post_init__(self) -> None:
        check_fields(self, std=partial(check_number, at_least=0))

    def draw(self, shape: Shape, rng: np.random.Generator) -> np.ndarray:
        return self.std * rng.standard_normal(shape)


@dataclass(frozen=True, repr=False)
class Uniform(Initializer):
    """
    Uniform distribution in ``[low, high)``.

    Parameters
    ----------
    low, high : float
        Limits.

    Examples
    --------
    >>> bool(np.all(np.abs(Uniform(-0.1, 0.1)((784, 100), np.random.default_rng(0))) <= 0.1))
    True
    """

    low: float = -0.05
    high: float = 0.05

    def __post_init__(self) -> None:
        check_fields(self, low=check_number, high=check_number)
        if self.low > self.high:
            raise ValueError(f"low={self.low} is above high={self.high}: exchange them")
        if not math.isfinite(float(self.high) - float(self.low)):
            raise ValueError(f"low={self.low} and high={self.high} are too far apart: take smaller numbers")

    def draw(self, shape: Shape, rng: np.random.Generator) -> np.ndarray:
        return rng.uniform(self.low, self.high, shape)


@dataclass(frozen=True, repr=False)
class VarianceScaling(Initializer):
    """
    Distribution with mean 0 and variance ``scale / fan``, which keeps the variance of signals from layer to layer.

    The common cases are predefined: ``glorot_uniform``, ``glorot_normal`` [1]_, ``he_uniform``, ``he_normal`` [2]_,
    ``lecun_uniform``, ``lecun_normal`` [3]_.

    Parameters
    ----------
    scale : float
        1 for linear layers, 2 for layers that are followed by ReLU.
    mode : {"fan_in", "fan_out", "fan_avg"}
        The fan: fan in, fan out, or their mean. Fan out keeps the variance of gradients instead of that of outputs.
    distribution : {"normal", "uniform"}
        Shape of the distribution.

    References
    ----------
    .. [1] X. Glorot, Y. Bengio, Understanding the difficulty of training deep feedforward networks, AISTATS 2010.
    .. [2] K. He et al., Delving deep into rectifiers, ICCV 2015.
    .. [3] Y. LeCun et al., Efficient BackProp, Neural Networks: Tricks of the Trade, 1998.

    Examples
    --------
    >>> he_normal((500, 100), np.random.default_rng(0)).std().round(3)  # sqrt(2 / 500)
    np.float64(0.063)
    """

    scale: float = 1.0
    mode: Literal["fan_in", "fan_out", "fan_avg"] = "fan_in"
    distribution: Literal["normal", "uniform"] = "normal"

    def __post_init__(self) -> None:
        check_fields(
            self,
            scale=partial(check_number, above=0),
            mode=partial(check_choice, choices=("fan_in", "fan_out", "fan_avg")),
            distribution=partial(check_choice, choices=("normal", "uniform")),
        )

    def draw(self, shape: Shape, rng: np.random.Generator) -> np.ndarray:
        *kernel, fan_in, fan_out = (1, 1, *shape) if len(shape) < 2 else shape
        fans = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
        fan = math.prod(kernel) * fans[self.mode]
        std = math.sqrt(self.scale / max(1.0, fan))
        if self.distribution == "normal":
            return std * rng.standard_normal(shape)
        return rng.uniform(-math.sqrt(3) * std, math.sqrt(3) * std, shape)


zeros = Constant(0.0)
ones = Constant(1.0)
normal = Normal()
glorot_uniform = VarianceScaling(1.0, "fan_avg", "uniform")
glorot_normal = VarianceScaling(1.0, "fan_avg", "normal")
he_uniform = VarianceScaling(2.0, "fan_in", "uniform")
he_normal = VarianceScaling(2.0, "fan_in", "normal")
lecun_uniform = VarianceScaling(1.0, "fan_in", "uniform")
lecun_normal = VarianceScaling(1.0, "fan_in", "normal")
