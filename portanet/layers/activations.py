"""
Activations: one function applied to every number; softmax and GLU, functions of the last axis.

Each class is the formula ``y = f(x)`` and the derivative ``f'(x)``; :class:`Activation` makes ``dx = dy f'(x)`` of it.
"""

import math
from typing import Any

from portanet import kernels
from portanet.backends import namespace
from portanet.checks import Checked, check_flag
from portanet.kernels.elementwise import Derivative
from portanet.kernels.special import min_slope
from portanet.layers.base import Layer, batch, check_floating, input_pullback
from portanet.typing import Array, Pullback, Shape

__all__ = [
    "GELU",
    "GLU",
    "Activation",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "TanH",
]


class Activation(Layer):
    """
    Base of layers that apply one function to every number.

    Examples
    --------
    >>> class Square(portanet.Activation):
    ...     def elementwise(self, xp, x):
    ...         return x * x, lambda: 2 * x
    >>> Square()(np.asarray([[1.0, 3.0]]))
    array([[1., 9.]])
    """

    def elementwise(self, xp: Any, x: Array) -> tuple[Array, Derivative]:
        """
        Return ``f(x)``, and a function without arguments that returns ``f'(x)``.

        Both must be free of side effects: they may run on parts of a batch, in threads, and more than once. On a GPU
        they are called on a symbol, and the expression is compiled to a kernel; Python numbers become constants of it.
        """
        raise NotImplementedError(
            f"{type(self).__name__} needs a method elementwise(self, xp, x): see portanet.Activation"
        )

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        y, dx = kernels.elementwise(x, self.elementwise)
        return y, input_pullback(dx)


class GELU(Activation):
    """
    ``y = x Φ(x)`` with the cumulative normal distribution Φ [1]_; the derivative is ``Φ(x) + x φ(x)``.

    Parameters
    ----------
    approximate : bool
        Use ``0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³)))`` instead of the exact form.

    References
    ----------
    .. [1] D. Hendrycks, K. Gimpel, Gaussian error linear units, arXiv:1606.08415.

    Examples
    --------
    >>> GELU()(np.asarray([[-1.0, 0.0, 1.0]])).round(4)
    array([[-0.1587,  0.    ,  0.8413]])
    """

    approximate = Checked(check_flag)

    def __init__(self, *, approximate: bool = False):
        self.approximate = approximate

    def elementwise(self, xp: Any, x: Array) -> tuple[Array, Derivative]:
        z = xp.minimum(xp.maximum(x, -40.0), 40.0)  # no power overflows; the limits are reached long before
        if self.approximate:
            c = 2 * math.sqrt(2 / math.pi)
            # sigmoid(2 u) is (1 + tanh(u)) / 2, and keeps the digits of small values.
            s = kernels.sigmoid(c * (z + 0.044715 * z * z * z))
            return x * s, lambda: s + z * s * (1 - s) * c * (1 + 3 * 0.044715 * z * z)
        e = xp.exp(-0.5 * z * z)
        tail = 0.5 * e * kernels.erfcx(xp.abs(z) * math.sqrt(0.5))  # Φ(-|x|), with the digits that 1 - Φ(|x|) loses
        cdf = xp.where(x < 0, tail, 1 - tail)
        return x * cdf, lambda: cdf + z * e * (1 / math.sqrt(2 * math.pi))


class SiLU(Activation):
    """
    ``y = x σ(x)`` with the sigmoid σ, also called swish [1]_; the derivative is ``σ(x) (1 + x (1 - σ(x)))``.

    References
    ----------
    .. [1] S. Elfwing et al., Sigmoid-weighted linear units, Neural Networks 107, 2018.

    Examples
    --------
    >>> SiLU()(np.asarray([[0.0, 100.0]]))
    array([[  0., 100.]])
    """

    def elementwise(self, xp: Any, x: Array) -> tuple[Array, Derivative]:
        s = kernels.sigmoid(x)
        return x * s, lambda: s * (1 + x * (1 - s))


class Mish(Activation):
    """
    ``y = x t``, with ``t = tanh(log(1 + exp(x)))`` [1]_; the derivative is ``t + x (1 - t²) σ(x)``, σ the sigmoid.

    References
    ----------
    .. [1] D. Misra, Mish: a self regularized non-monotonic activation function, BMVC 2020.

    Examples
    --------
    >>> Mish()(np.asarray([[-1.0, 0.0, 100.0]])).round(4)
    array([[ -0.3034,   0.    , 100.    ]])
    """

    def elementwise(self, xp: Any, x: Array) -> tuple[Array, Derivative]:
        s = kernels.sigmoid(x)
        q = 1 - s
        t = s * (1 + q) / (1 + q * q)  # in terms of s, small values keep their digits
        root = 2 * q / (1 + q * q)  # √(1 - t²)
        return x * t, lambda: t + x * s * root * root


class Softplus(Activation):
    """
    ``y = log(1 + exp(x))``, a smooth ReLU; the derivative is ``sigmoid(x)``.

    Examples
    --------
    >>> Softplus()(np.asarray([[-100.0, 0.0, 100.0]])).round(4)
    array([[  0.    ,   0.6931, 100.    ]])
    """

    def elementwise(self, xp: Any, x: Array) -> tuple[Array, Derivative]:
        return xp.maximum(x, 0.0) + xp.log1p(xp.exp(-xp.abs(x))), lambda: kernels.sigmoid(x)


class LogSigmoid(Activation):
    """
    ``y = log σ(x) = -log(1 + exp(-x))``, without overflow; the derivative is ``σ(-x)``, σ the sigmoid.

    Examples
    --------
    >>> LogSigmoid()(np.asarray([[-100.0, 0.0, 100.0]])).round(4)
    array([[-100.    ,   -0.6931,   -0.    ]])
    """

    def elementwise(self, xp: Any, x: Array) -> tuple[Array, Derivative]:
        return xp.minimum(x, 0.0) - xp.log1p(xp.exp(-xp.abs(x))), lambda: kernels.sigmoid(-x)


class TanH(Activation):
    """
    Hyperbolic tangent ``y = tanh(x)``; the derivative is ``1 - y²``.

    Examples
    --------
    >>> TanH()(np.asarray([[0.0, 100.0]]))
    array([[0., 1.]])
    """

    def elementwise(self, xp: Any, x: Array) -> tuple[Array, Derivative]:
        y = xp.tanh(x)
        return y, lambda: 1 - y * y


class Sigmoid(Activation):
    """
    Logistic function ``y = 1 / (1 + exp(-x))``; the derivative is ``y (1 - y)``.

    The derivative is at least an eighth of the machine epsilon, so that units which saturate still learn.

    Examples
    --------
    >>> Sigmoid()(np.asarray([[-1000.0, 0.0, 1000.0]]))
    array([[0. , 0.5, 1. ]])
    """

    def elementwise(self, xp: Any, x: Array) -> tuple[Array, Derivative]:
        y = kernels.sigmoid(x)
        return y, lambda: xp.maximum(y * (1 - y), min_slope(y.dtype))


class Softmax(Layer):
    """
    ``y = exp(x) / Σ exp(x)`` over the last axis: probabilities of classes. ``dx = y (dy - Σ y dy)``.

    For training, leave it out and use :class:`portanet.CrossEntropyLoss`, which takes the logits and is exact where
    softmax saturates.

    Examples
    --------
    >>> Softmax()(np.asarray([[0.0, 1000.0]]))
    array([[0., 1.]])
    """

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        check_floating(self, x)
        y = kernels.softmax(x)
        return y, input_pullback(lambda dy: kernels.softmax_gradient(dy, y))


class LogSoftmax(Layer):
    """
    ``y = x - log Σ exp(x)`` over the last axis, without overflow. ``dx = dy - exp(y) Σ dy``.

    Examples
    --------
    >>> LogSoftmax()(np.asarray([[0.0, 1000.0]]))
    array([[-1000.,     0.]])
    """

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        check_floating(self, x)
        y = kernels.log_softmax(x)
        return y, input_pullback(lambda dy: kernels.log_softmax_gradient(dy, y))


class GLU(Layer):
    """
    Gated linear unit ``y = a σ(b)``, with the halves a and b of the last axis [1]_: x (N, ..., 2 C), y (N, ..., C).

    ``da = dy σ(b)``, ``db = dy y (1 - σ(b))``, σ the sigmoid.

    References
    ----------
    .. [1] Y. N. Dauphin et al., Language modeling with gated convolutional networks, ICML 2017.

    Examples
    --------
    >>> GLU()(np.asarray([[2.0, 3.0, 0.0, 100.0]]))
    array([[1., 3.]])
    """

    def output_shape(self, shape: Shape) -> Shape:
        if not shape or shape[-1] % 2:
            raise ValueError(f"{self!r} needs x with a last axis of even length, got {batch(shape)}")
        return (*shape[:-1], shape[-1] // 2)

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        check_floating(self, x)
        *_, n = self.output_shape(tuple(x.shape[1:]))
        a, gate = x[..., :n], kernels.sigmoid(x[..., n:])
        y = a * gate

        def dx(dy: Array) -> Array:
            return namespace(x).concat([dy * gate, dy * y * (1 - gate)], axis=-1)

        return y, input_pullback(dx)
