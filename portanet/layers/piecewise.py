"""Activations that have another formula in each of several ranges of x."""

from typing import Any

from portanet import kernels
from portanet.backends import namespace
from portanet.checks import Checked, as_number, check_count, check_number
from portanet.initializers import Constant, Initializer
from portanet.kernels.elementwise import Derivative
from portanet.layers.activations import Activation
from portanet.layers.base import Layer, check_channels, check_input
from portanet.parameters import Parameter
from portanet.typing import Array, Pullback, Shape

__all__ = ["CELU", "ELU", "SELU", "Hardswish", "Hardtanh", "LeakyReLU", "PReLU", "ReLU", "ReLU6"]

INITIAL_SLOPE = Constant(0.25)


class ReLU(Activation):
    """
    ``y = max(x, 0)``; the derivative is 1 for x > 0, else 0.

    Examples
    --------
    >>> ReLU()(np.asarray([[-1.0, 2.0]]))
    array([[0., 2.]])
    """

    def elementwise(self, xp: Any, x: Array) -> tuple[Array, Derivative]:
        return xp.maximum(x, 0.0), lambda: xp.astype(x > 0, x.dtype)


class LeakyReLU(Activation):
    """
    ``y = x`` for x > 0, else ``negative_slope x``; the derivative is 1 or ``negative_slope``.

    Parameters
    ----------
    negative_slope : float
        Derivative for negative x.

    Examples
    --------
    >>> LeakyReLU(0.1)(np.asarray([[-1.0, 2.0]]))
    array([[-0.1,  2. ]])
    """

    negative_slope = Checked(check_number)

    def __init__(self, negative_slope: float = 0.01):
        self.negative_slope = negative_slope

    def elementwise(self, xp: Any, x: Array) -> tuple[Array, Derivative]:
        slope = xp.where(x > 0, xp.ones_like(x), self.negative_slope)
        return x * slope, lambda: slope


class PReLU(Layer):
    """
    ``y = x`` for x > 0, else ``w x`` with a learned slope w [1]_: x (N, ..., C).

    ``dx = dy`` for x > 0, else ``w dy``; ``dw = Σ min(x, 0) dy`` over the numbers that share w.

    Parameters
    ----------
    num_parameters : int
        1 for one slope, or C for a slope of each channel.
    init : float or Initializer
        Initial w, of shape (num_parameters,).

    References
    ----------
    .. [1] K. He et al., Delving deep into rectifiers, ICCV 2015.

    Examples
    --------
    >>> PReLU()(np.asarray([[-1.0, 2.0]], dtype="float32"))
    array([[-0.25,  2.  ]], dtype=float32)
    """

    def __init__(self, num_parameters: int = 1, *, init: float | Initializer = INITIAL_SLOPE):
        initializer: Any = init if as_number(init) is None else Constant(check_number("init", init))
        self.weight = Parameter((check_count("num_parameters", num_parameters),), initializer)

    @property
    def num_parameters(self) -> int:
        """Number of slopes."""
        return self.weight.shape[0]

    @property
    def init(self) -> Initializer:
        """Initializer of w."""
        return self.weight.init

    def output_shape(self, shape: Shape) -> Shape:
        return shape if self.num_parameters == 1 else check_channels(self, shape, self.num_parameters)

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        xp, w = namespace(x), self.weight.data
        self.output_shape(tuple(x.shape[1:]))
        check_input(x, w)
        slope = xp.where(x > 0, 1.0, w)

        def pullback(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            if need_grads:
                dw = kernels.bias_grad(xp.minimum(x, 0.0) * dy)
                self.weight.accumulate(xp.sum(dw, keepdims=True) if self.num_parameters == 1 else dw)
            return dy * slope if need_dx else None

        return x * slope, pullback


class Hardtanh(Activation):
    """
    ``y = min(max(x, min_val), max_val)``; the derivative is 1 for min_val < x < max_val, else 0.

    Parameters
    ----------
    min_val, max_val : float
        Smallest and largest output.

    Examples
    --------
    >>> Hardtanh()(np.asarray([[-3.0, 0.5, 2.0]]))
    array([[-1. ,  0.5,  1. ]])
    """

    min_val, max_val = Checked(check_number), Checked(check_number)

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0):
        self.min_val, self.max_val = min_val, max_val
        self._check_together()

    def _check_together(self) -> None:
        if self.min_val >= self.max_val:
            raise ValueError(f"min_val must be below max_val={self.max_val}, got {self.min_val}")

    def elementwise(self, xp: Any, x: Array) -> tuple[Array, Derivative]:
        return _clip(xp, x, self.min_val, self.max_val)


class ReLU6(Activation):
    """
    ``y = min(max(x, 0), 6)`` [1]_; the derivative is 1 for 0 < x < 6, else 0.

    References
    ----------
    .. [1] A. Krizhevsky, Convolutional deep belief networks on CIFAR-10, 2010.

    Examples
    --------
    >>> ReLU6()(np.asarray([[-1.0, 2.0, 100.0]]))
    array([[0., 2., 6.]])
    """

    def elementwise(self, xp: Any, x: Array) -> tuple[Array, Derivative]:
        return _clip(xp, x, 0.0, 6.0)


def _clip(xp: Any, x: Array, low: float, high: float) -> tuple[Array, Derivative]:
    """Return ``min(max(x, low), high)``, and the function that returns its derivative."""
    y = xp.minimum(xp.maximum(x, low), high)
    return y, lambda: xp.astype(y > low, y.dtype) * xp.astype(y < high, y.dtype)


class Hardswish(Activation):
    """
    ``y = x g``, with the gate ``g = min(max(x + 3, 0), 6) / 6`` [1]_.

    The derivative is ``x / 3 + 1/2`` for -3 < x < 3, else g, which is 0 or 1 there.

    References
    ----------
    .. [1] A. Howard et al., Searching for MobileNetV3, ICCV 2019.

    Examples
    --------
    >>> Hardswish()(np.asarray([[-3.0, 0.0, 1.5, 3.0]]))
    array([[-0.   ,  0.   ,  1.125,  3.   ]])
    """

    def elementwise(self, xp: Any, x: Array) -> tuple[Array, Derivative]:
        gate = xp.minimum(xp.maximum(x + 3.0, 0.0), 6.0) / 6.0
        return x * gate, lambda: xp.where(xp.abs(x) < 3.0, x / 3.0 + 0.5, gate)


class ELU(Activation):
    """
    ``y = x`` for x > 0, else ``alpha (exp(x) - 1)`` [1]_; the derivative is 1 or ``alpha exp(x)``.

    Parameters
    ----------
    alpha : float
        The limit at minus infinity is ``-alpha``.

    References
    ----------
    .. [1] D.-A. Clevert et al., Fast and accurate deep network learning by exponential linear units, ICLR 2016.

    Examples
    --------
    >>> ELU()(np.asarray([[-100.0, 2.0]]))
    array([[-1.,  2.]])
    """

    alpha = Checked(check_number)

    def __init__(self, alpha: float = 1.0):
        self.alpha = alpha

    def elementwise(self, xp: Any, x: Array) -> tuple[Array, Derivative]:
        below = xp.minimum(x, 0.0)
        y = xp.where(x > 0, x, self.alpha * xp.expm1(below))
        return y, lambda: xp.where(x > 0, xp.ones_like(x), self.alpha * xp.exp(below))


class SELU(Activation):
    """
    ``y = λ x`` for x > 0, else ``λ α (exp(x) - 1)`` [1]_; the derivative is ``λ`` or ``λ α exp(x)``.

    With ``λ = 1.0507`` and ``α = 1.6733``, mean 0 and variance 1 pass through layers whose weights are drawn by
    ``initializers.lecun_normal``.

    References
    ----------
    .. [1] G. Klambauer et al., Self-normalizing neural networks, NeurIPS 2017.

    Examples
    --------
    >>> SELU()(np.asarray([[-100.0, 2.0]])).round(4)
    array([[-1.7581,  2.1014]])
    """

    def elementwise(self, xp: Any, x: Array) -> tuple[Array, Derivative]:
        scale, alpha = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
        below = xp.minimum(x, 0.0)
        y = xp.where(x > 0, scale * x, scale * alpha * xp.expm1(below))
        return y, lambda: xp.where(x > 0, scale, scale * alpha * xp.exp(below))


class CELU(Activation):
    """
    ``y = x`` for x > 0, else ``α (exp(x / α) - 1)`` [1]_; the derivative is 1 or ``exp(x / α)``, continuous at 0.

    Parameters
    ----------
    alpha : float
        α; the limit at minus infinity is ``-α``.

    References
    ----------
    .. [1] J. T. Barron, Continuously differentiable exponential linear units, arXiv:1704.07483.

    Examples
    --------
    >>> CELU(2.0)(np.asarray([[-100.0, 2.0]]))
    array([[-2.,  2.]])
    """

    alpha = Checked(check_number, at_least=1e-30)  # smaller ones may become 0 in float32

    def __init__(self, alpha: float = 1.0):
        self.alpha = alpha

    def elementwise(self, xp: Any, x: Array) -> tuple[Array, Derivative]:
        alpha = self.alpha
        z = xp.minimum(xp.maximum(x, -1000.0 * alpha), 0.0) / alpha  # exp(-1000) is 0; the quotient cannot overflow
        return xp.where(x > 0, x, alpha * xp.expm1(z)), lambda: xp.where(x > 0, 1.0, xp.exp(z))
