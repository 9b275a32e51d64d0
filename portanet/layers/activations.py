"""
Activations: a curve applied to every number, and its slope.

Each class is its formula and the derivative of it; :class:`Activation` does the rest.
"""

import math
from typing import Any

from portanet import kernels
from portanet.backends import namespace
from portanet.kernels.elementwise import Derivative
from portanet.layers.base import Layer
from portanet.typing import Array, Pullback


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
        Return ``f(x)``, and a function that gives ``f'(x)`` if asked.

        It has no effects: it may be called on parts, in threads, more than once, and on a GPU on a symbol that stands
        for each number. Its own numbers become part of the GPU's code, which is compiled anew where they change.
        """
        raise NotImplementedError(f"{type(self).__name__} needs a method curve(self, xp, x): see portanet.Activation")

    def by_example(self, train: bool) -> bool:
        return True

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        y, pull = kernels.elementwise(x, self.elementwise)
        return y, lambda dy, *, need_dx=True, need_grads=True: pull(dy) if need_dx else None


class ReLU(Activation):
    """
    ``max(x, 0)``, with slope 0 at 0.

    Examples
    --------
    >>> ReLU()(np.asarray([[-1.0, 2.0]]))
    array([[0., 2.]])
    """

    rising = True

    def elementwise(self, xp: Any, x: Array) -> tuple[Array, Derivative]:
        return xp.maximum(x, 0.0), lambda: xp.astype(x > 0, x.dtype)


class LeakyReLU(Activation):
    """
    ``x`` where positive, else ``alpha x``.

    Parameters
    ----------
    alpha : float
        Derivative for negative x.

    Examples
    --------
    >>> LeakyReLU(0.1)(np.asarray([[-1.0, 2.0]]))
    array([[-0.1,  2. ]])
    """

    def __init__(self, alpha: float = 0.01):
        self.alpha = alpha

    def elementwise(self, xp: Any, x: Array) -> tuple[Array, Derivative]:
        slope = xp.where(x > 0, xp.ones_like(x), self.alpha)
        return x * slope, lambda: slope


class ELU(Activation):
    """
    ``x`` where positive, else ``alpha (exp(x) - 1)`` [1]_.

    Parameters
    ----------
    alpha : float
        Minus the limit at minus infinity.

    References
    ----------
    .. [1] D.-A. Clevert et al., Fast and accurate deep network learning by exponential linear units, ICLR 2016.

    Examples
    --------
    >>> ELU()(np.asarray([[-100.0, 2.0]]))
    array([[-1.,  2.]])
    """

    def __init__(self, alpha: float = 1.0):
        self.alpha = alpha

    def elementwise(self, xp: Any, x: Array) -> tuple[Array, Derivative]:
        below = xp.minimum(x, 0.0)
        y = xp.where(x > 0, x, self.alpha * xp.expm1(below))
        return y, lambda: xp.where(x > 0, xp.ones_like(x), self.alpha * xp.exp(below))


class GELU(Activation):
    """
    ``x Φ(x)``, Φ the cumulative distribution of the standard normal [1]_.

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

    def __init__(self, *, approximate: bool = False):
        self.approximate = approximate

    def elementwise(self, xp: Any, x: Array) -> tuple[Array, Derivative]:
        z = xp.minimum(xp.maximum(x, -40.0), 40.0)  # all has reached its limit long before, and no power overflows
        if self.approximate:
            c = math.sqrt(2 / math.pi)
            t = xp.tanh(c * (z + 0.044715 * z * z * z))
            return 0.5 * x * (1 + t), lambda: 0.5 * (1 + t + z * (1 - t * t) * c * (1 + 3 * 0.044715 * z * z))
        cdf = 0.5 * (1 + kernels.erf(x * math.sqrt(0.5)))
        return x * cdf, lambda: cdf + z * xp.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


class SiLU(Activation):
    """
    ``x sigmoid(x)``, also called swish [1]_.

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


class Softplus(Activation):
    """
    ``log(1 + exp(x))``, a smooth ReLU.

    Examples
    --------
    >>> Softplus()(np.asarray([[-100.0, 0.0, 100.0]])).round(4)
    array([[  0.    ,   0.6931, 100.    ]])
    """

    rising = True

    def elementwise(self, xp: Any, x: Array) -> tuple[Array, Derivative]:
        return xp.maximum(x, 0.0) + xp.log1p(xp.exp(-xp.abs(x))), lambda: kernels.sigmoid(x)


class TanH(Activation):
    """
    Hyperbolic tangent.

    Examples
    --------
    >>> TanH()(np.asarray([[0.0, 100.0]]))
    array([[0., 1.]])
    """

    rising = True

    def elementwise(self, xp: Any, x: Array) -> tuple[Array, Derivative]:
        y = xp.tanh(x)
        return y, lambda: 1 - y * y


class Sigmoid(Activation):
    """
    Logistic function ``1 / (1 + exp(-x))``.

    Examples
    --------
    >>> Sigmoid()(np.asarray([[-1000.0, 0.0, 1000.0]]))
    array([[0. , 0.5, 1. ]])
    """

    rising = True

    def elementwise(self, xp: Any, x: Array) -> tuple[Array, Derivative]:
        y = kernels.sigmoid(x)
        return y, lambda: y * (1 - y)


class Softmax(Layer):
    """
    ``exp(x) / sum(exp(x))`` over the last axis: probabilities of classes.

    For training, prefer :class:`portanet.CrossEntropyLoss` on the scores: it is exact where this saturates.

    Examples
    --------
    >>> Softmax()(np.asarray([[0.0, 1000.0]]))
    array([[0., 1.]])
    """

    def by_example(self, train: bool) -> bool:
        return True

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        xp = namespace(x)
        e = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
        y = e / xp.sum(e, axis=-1, keepdims=True)

        def pullback(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            return y * (dy - xp.sum(y * dy, axis=-1, keepdims=True)) if need_dx else None

        return y, pullback


class LogSoftmax(Layer):
    """
    Logarithm of softmax over the last axis, without leaving the range of the floats.

    Examples
    --------
    >>> LogSoftmax()(np.asarray([[0.0, 1000.0]]))
    array([[-1000.,     0.]])
    """

    def by_example(self, train: bool) -> bool:
        return True

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        xp = namespace(x)
        y = kernels.log_softmax(x)

        def pullback(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            return dy - xp.exp(y) * xp.sum(dy, axis=-1, keepdims=True) if need_dx else None

        return y, pullback
