"""
Adaptive pooling, channels-last: the size of the output is given, and the windows follow from it.

Along an axis of length n, output i of m covers the positions from ``floor(i n / m)`` up to ``ceil((i + 1) n / m)``, as
in PyTorch. Axes are pooled one after another, which gives the mean or the maximum of the whole window.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from portanet.backends import namespace
from portanet.checks import check_count, shown
from portanet.layers.base import Layer, batch, check_floating, check_spatial, vjp_in_turn
from portanet.layers.windows import CheckedPerAxis
from portanet.typing import Array, Pullback, Shape

__all__ = [
    "AdaptiveAvgPool1D",
    "AdaptiveAvgPool2D",
    "AdaptiveAvgPool3D",
    "AdaptiveMaxPool1D",
    "AdaptiveMaxPool2D",
    "AdaptiveMaxPool3D",
]

OutputSize = int | tuple[int | None, ...] | None
"""One length for all axes, or one for each; None keeps the length of the input."""


def _check_output_size(name: str, value: OutputSize, n_axes: int) -> OutputSize:
    sizes = value if isinstance(value, (tuple, list)) else (value,) * n_axes
    try:
        checked = tuple(None if size is None else check_count(name, size) for size in sizes)
    except ValueError:
        checked = ()
    if len(checked) != n_axes:
        several = f", or {n_axes} of them" if n_axes > 1 else ""
        raise ValueError(f"{name} must be None or a whole number of at least 1{several}, got {shown(value)}")
    return checked if isinstance(value, (tuple, list)) else checked[0]


class AdaptivePool(Layer):
    """Base of adaptive pooling layers; :class:`AdaptiveAvgPool2D` documents the parameter."""

    n_axes: ClassVar[int]
    output_size = CheckedPerAxis(_check_output_size)

    def __init__(self, output_size: OutputSize):
        self.output_size = output_size

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != self.n_axes + 1:
            raise ValueError(f"{self!r} needs x of {self.n_axes + 2} axes, (N, ..., C), got {batch(shape)}")
        check_spatial(self, shape)
        given = self.output_size
        sizes = given if isinstance(given, tuple) else (given,) * self.n_axes
        return (*(n if size is None else size for n, size in zip(shape, sizes, strict=False)), shape[-1])

    def pool(self, xp: Any, x: Array, axis: int) -> tuple[Array, Callable[[Array], Array]]:
        """Reduce an axis to length 1; return the result, and the function that takes dy to dx."""
        raise NotImplementedError(f"{type(self).__name__} needs a method pool(self, xp, x, axis)")

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        check_floating(self, x)
        lengths = self.output_shape(tuple(x.shape[1:]))[:-1]
        return vjp_in_turn(x, [partial(self._pool_along, axis, n) for axis, n in enumerate(lengths, start=1)])

    def _pool_along(self, axis: int, length: int, x: Array) -> tuple[Array, Callable[[Array], Array]]:
        """Pool the windows of one axis, which gets another length."""
        xp, n, before = namespace(x), x.shape[axis], (slice(None),) * axis
        windows = [(*before, slice(i * n // length, -(-(i + 1) * n // length)), ...) for i in range(length)]
        pooled, pullbacks = zip(*(self.pool(xp, x[window], axis) for window in windows), strict=True)

        def dx(dy: Array) -> Array:
            gradient = xp.zeros_like(x)
            for i, (window, pullback) in enumerate(zip(windows, pullbacks, strict=True)):
                gradient[window] += pullback(dy[(*before, slice(i, i + 1), ...)])
            return gradient

        return xp.concat(pooled, axis=axis), dx


class AdaptiveAvgPool(AdaptivePool):
    """Mean of each window; :class:`AdaptiveAvgPool2D` documents the parameter."""

    def pool(self, xp: Any, x: Array, axis: int) -> tuple[Array, Callable[[Array], Array]]:
        n = x.shape[axis]
        return xp.mean(x, axis=axis, keepdims=True), lambda dy: dy / n


class AdaptiveMaxPool(AdaptivePool):
    """Maximum of each window; :class:`AdaptiveMaxPool2D` documents the parameter."""

    def pool(self, xp: Any, x: Array, axis: int) -> tuple[Array, Callable[[Array], Array]]:
        def dx(dy: Array) -> Array:
            positions = xp.reshape(xp.arange(x.shape[axis], device=x.device), (-1, *(1,) * (x.ndim - axis - 1)))
            return xp.astype(positions == xp.argmax(x, axis=axis, keepdims=True), dy.dtype) * dy

        return xp.max(x, axis=axis, keepdims=True), dx


class AdaptiveAvgPool1D(AdaptiveAvgPool):
    """
    Mean of each window of a signal, (N, L, C); see :class:`AdaptiveAvgPool2D`.

    Parameters
    ----------
    output_size
        See :class:`AdaptiveAvgPool2D`.

    Examples
    --------
    >>> AdaptiveAvgPool1D(2)(np.asarray([[[1.0], [3.0], [2.0], [0.0]]])).ravel()
    array([2., 1.])
    """

    n_axes = 1


class AdaptiveAvgPool2D(AdaptiveAvgPool):
    """
    Mean of each window, for inputs of any size: x (N, H, W, C), y (N, H', W', C).

    ``dx`` sums ``dy / count`` of all windows that cover it, each with count positions.

    Parameters
    ----------
    output_size : int, None, or tuple of int or None
        H' and W': one number for both, or one for each; None keeps the length of x.

    Examples
    --------
    >>> AdaptiveAvgPool2D((3, None))(np.zeros((5, 8, 7, 3))).shape
    (5, 3, 7, 3)
    """

    n_axes = 2


class AdaptiveAvgPool3D(AdaptiveAvgPool):
    """
    Mean of each window of a volume, (N, D, H, W, C); see :class:`AdaptiveAvgPool2D`.

    Parameters
    ----------
    output_size
        See :class:`AdaptiveAvgPool2D`.

    Examples
    --------
    >>> AdaptiveAvgPool3D(2)(np.zeros((5, 8, 7, 6, 3))).shape
    (5, 2, 2, 2, 3)
    """

    n_axes = 3


class AdaptiveMaxPool1D(AdaptiveMaxPool):
    """
    Maximum of each window of a signal, (N, L, C); see :class:`AdaptiveMaxPool2D`.

    Parameters
    ----------
    output_size
        See :class:`AdaptiveMaxPool2D`.

    Examples
    --------
    >>> AdaptiveMaxPool1D(2)(np.asarray([[[1.0], [3.0], [2.0], [0.0]]])).ravel()
    array([3., 2.])
    """

    n_axes = 1


class AdaptiveMaxPool2D(AdaptiveMaxPool):
    """
    Maximum of each window, for inputs of any size: x (N, H, W, C), y (N, H', W', C).

    dy goes to the position of the maximum; of equal values, to the first along the last axis.

    Parameters
    ----------
    output_size : int, None, or tuple of int or None
        See :class:`AdaptiveAvgPool2D`.

    Examples
    --------
    >>> AdaptiveMaxPool2D(3)(np.zeros((5, 8, 7, 3))).shape
    (5, 3, 3, 3)
    """

    n_axes = 2


class AdaptiveMaxPool3D(AdaptiveMaxPool):
    """
    Maximum of each window of a volume, (N, D, H, W, C); see :class:`AdaptiveMaxPool2D`.

    Parameters
    ----------
    output_size
        See :class:`AdaptiveMaxPool2D`.

    Examples
    --------
    >>> AdaptiveMaxPool3D(2)(np.zeros((5, 8, 7, 6, 3))).shape
    (5, 2, 2, 2, 3)
    """

    n_axes = 3
