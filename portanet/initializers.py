"""
Initial values, drawn on the host so that one seed gives the same network on every device.

An initializer is called with a shape and a NumPy generator and returns float64 values of that shape. The fans of a
shape (*kernel, in, out) count the weights that meet in one output (fan in) and that leave one input (fan out).
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from portanet.config import Configured
from portanet.typing import Shape


class Initializer(Configured):
    """A rule for initial values."""

    def __call__(self, shape: Shape, rng: np.random.Generator) -> np.ndarray:
        """Draw an array of float64."""
        raise NotImplementedError


@dataclass(frozen=True, repr=False)
class Constant(Initializer):
    """
    Every value the same.

    Examples
    --------
    >>> Constant(0.1)((2,), np.random.default_rng(0))
    array([0.1, 0.1])
    """

    value: float = 0.0

    def __call__(self, shape: Shape, rng: np.random.Generator) -> np.ndarray:
        return np.full(shape, self.value)


@dataclass(frozen=True, repr=False)
class Normal(Initializer):
    """
    Normal distribution of mean 0.

    Examples
    --------
    >>> Normal(std=0.01)((784, 100), np.random.default_rng(0)).std().round(3)
    np.float64(0.01)
    """

    std: float = 0.05

    def __call__(self, shape: Shape, rng: np.random.Generator) -> np.ndarray:
        return self.std * rng.standard_normal(shape)


@dataclass(frozen=True, repr=False)
class VarianceScaling(Initializer):
    """
    Variance ``scale / fan``, so that signals keep their size from layer to layer.

    The usual cases have names: ``glorot_uniform``, ``glorot_normal`` [1]_, ``he_uniform``, ``he_normal`` [2]_,
    ``lecun_uniform``, ``lecun_normal`` [3]_.

    Parameters
    ----------
    scale : float
        1 keeps the variance of a linear layer, 2 that of one followed by ReLU.
    fan : {"in", "average"}
        Divide by fan in, or by the mean of fan in and fan out.
    distribution : {"normal", "uniform"}
        Of mean 0.

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
    fan: Literal["in", "average"] = "in"
    distribution: Literal["normal", "uniform"] = "normal"

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise ValueError(f"scale must be positive, got {self.scale}")
        if self.fan not in ("in", "average"):
            raise ValueError(f"fan must be 'in' or 'average', got {self.fan!r}")
        if self.distribution not in ("normal", "uniform"):
            raise ValueError(f"distribution must be 'normal' or 'uniform', got {self.distribution!r}")

    def __call__(self, shape: Shape, rng: np.random.Generator) -> np.ndarray:
        *kernel, fan_in, fan_out = (1, *shape) if len(shape) == 1 else shape
        fan = math.prod(kernel) * (fan_in if self.fan == "in" else (fan_in + fan_out) / 2)
        std = math.sqrt(self.scale / max(1.0, fan))
        if self.distribution == "normal":
            return std * rng.standard_normal(shape)
        return rng.uniform(-math.sqrt(3) * std, math.sqrt(3) * std, shape)


zeros = Constant(0.0)
ones = Constant(1.0)
normal = Normal()
glorot_uniform = VarianceScaling(1.0, "average", "uniform")
glorot_normal = VarianceScaling(1.0, "average", "normal")
he_uniform = VarianceScaling(2.0, "in", "uniform")
he_normal = VarianceScaling(2.0, "in", "normal")
lecun_uniform = VarianceScaling(1.0, "in", "uniform")
lecun_normal = VarianceScaling(1.0, "in", "normal")
