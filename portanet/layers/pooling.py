"""Pooling, channels-last; the classes for 1, 2 and 3 axes set ``n_axes``."""

import math
from dataclasses import replace
from typing import Any, ClassVar, TypedDict, Unpack

from portanet import kernels
from portanet.backends import namespace
from portanet.checks import Checked, check_flag, optional
from portanet.kernels.windows import Padding, Pads, Window, dilated, pads_of, pads_per_axis, per_axis
from portanet.layers.base import Layer, batch, check_floating, check_spatial, input_pullback
from portanet.layers.windows import CheckedPerAxis, PerAxis, check_padding, check_per_axis, window_of
from portanet.typing import Array, Pullback, Shape

__all__ = [
    "AvgPool1D",
    "AvgPool2D",
    "AvgPool3D",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "MaxPool1D",
    "MaxPool2D",
    "MaxPool3D",
]


class PoolOptions(TypedDict, total=False):
    """Keyword arguments of :class:`Pool`."""

    padding: Padding
    ceil_mode: bool


class Pool(Layer):
    """
    Base of pooling layers; :class:`MaxPool2D` documents the parameters.

    Padding must be smaller than the window, so that every window without dilation covers part of the input.
    """

    n_axes: ClassVar[int]
    kernel_size = CheckedPerAxis(check_per_axis)
    stride = CheckedPerAxis(optional(check_per_axis))
    padding = CheckedPerAxis(check_padding)
    dilation: Any = 1  # an argument of MaxPool
    ceil_mode = Checked(check_flag)

    def __init__(
        self,
        kernel_size: PerAxis,
        stride: PerAxis | None = None,
        *,
        padding: Padding = "valid",
        ceil_mode: bool = False,
    ):
        self.kernel_size, self.stride, self.padding, self.ceil_mode = kernel_size, stride, padding, ceil_mode
        self._check_together()

    def _check_together(self) -> None:
        pads, size = pads_per_axis(self.padding, self.n_axes), per_axis("kernel_size", self.kernel_size, self.n_axes)
        effective_size = dilated(size, per_axis("dilation", self.dilation, self.n_axes))
        if not isinstance(pads, str) and any(max(pair) >= k for pair, k in zip(pads, effective_size, strict=True)):
            limit = f"kernel_size {size}"
            if effective_size != size:
                limit = f"dilation (kernel_size - 1) + 1 = {effective_size}"
            raise ValueError(f"padding must be smaller than {limit}, got {pads}")

    def window(self, shape: Shape) -> Window:
        """Return the window on an input of a shape, without the batch axis."""
        if len(shape) != self.n_axes + 1:
            raise ValueError(f"{self!r} needs x of {self.n_axes + 2} axes, (N, ..., C), got {batch(shape)}")
        stride = self.kernel_size if self.stride is None else self.stride
        size, spread = self.kernel_size, self.dilation
        return window_of(tuple(shape[:-1]), size, stride, spread, self.padding, ceil_mode=self.ceil_mode)

    def output_shape(self, shape: Shape) -> Shape:
        return (*self.window(shape).output_shape, shape[-1])


class MaxPool(Pool):
    """Maximum of each window; :class:`MaxPool2D` documents the parameters."""

    dilation = CheckedPerAxis(check_per_axis)

    def __init__(
        self,
        kernel_size: PerAxis,
        stride: PerAxis | None = None,
        *,
        dilation: PerAxis = 1,
        **options: Unpack[PoolOptions],
    ):
        self.dilation = dilation
        super().__init__(kernel_size, stride, **options)

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        check_floating(self, x)
        window = self.window(tuple(x.shape[1:]))
        y = kernels.max_pool(x, window)
        return y, input_pullback(lambda dy: kernels.max_pool_gradient(dy, x, y, window))


class AvgPool(Pool):
    """Mean of each window; :class:`AvgPool2D` documents the parameters."""

    count_include_pad = Checked(check_flag)

    def __init__(
        self,
        kernel_size: PerAxis,
        stride: PerAxis | None = None,
        *,
        count_include_pad: bool = False,
        **options: Unpack[PoolOptions],
    ):
        super().__init__(kernel_size, stride, **options)
        self.count_include_pad = count_include_pad

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        check_floating(self, x)
        window = self.window(tuple(x.shape[1:]))
        if not window.is_padded:
            factor = 1.0 / math.prod(window.size)
            y = kernels.sum_pool(x, window, factor)
            return y, input_pullback(lambda dy: kernels.sum_pool_gradient(dy, window, factor))
        count = self._count(namespace(x), x, window)
        y = kernels.sum_pool(x, window) / count
        return y, input_pullback(lambda dy: kernels.sum_pool_gradient(dy / count, window))

    def counted_pads(self, window: Window) -> Pads:
        """Return the padding that counts with ``count_include_pad``: not what ``ceil_mode`` adds to it."""
        padding = pads_per_axis(self.padding, self.n_axes)
        return pads_of(padding, window.input_shape, window.size, window.stride)

    def _count(self, xp: Any, x: Array, window: Window) -> Array:
        """Return how many numbers each mean is over; those that only ``ceil_mode`` adds never count."""
        counted = window
        if self.count_include_pad:
            pads = self.counted_pads(window)
            ends = tuple(low + n + high for n, (low, high) in zip(window.input_shape, pads, strict=True))
            rest = tuple((0, whole - n) for whole, n in zip(window.padded_shape, ends, strict=True))
            counted = replace(window, input_shape=ends, pads=rest)
        return kernels.sum_pool(xp.ones((1, *counted.input_shape, 1), dtype=x.dtype, device=x.device), counted)


class MaxPool1D(MaxPool):
    """
    Maximum of each window of a signal, (N, L, C); see :class:`MaxPool2D`.

    Parameters
    ----------
    kernel_size, stride, padding, dilation, ceil_mode
        See :class:`MaxPool2D`.

    Examples
    --------
    >>> MaxPool1D(2)(np.asarray([[[1.0], [3.0], [2.0], [0.0]]])).ravel()
    array([3., 2.])
    """

    n_axes = 1


class MaxPool2D(MaxPool):
    """
    Maximum of each window: x (N, H, W, C), y (N, H', W', C).

    dy goes to the position of the maximum; of equal values, to the first along the last axis.

    Parameters
    ----------
    kernel_size : int or tuple of int
        Length of the window along each axis.
    stride : int or tuple of int, optional
        Distance between neighbouring windows; by default kernel_size, so that windows do not overlap.
    padding : {"valid", "same"}, int, or tuple of int or (int, int)
        As for :class:`portanet.Conv2D`, but of -inf: padding is never the maximum. Smaller than the window.
    dilation : int or tuple of int
        Distance between neighbouring positions of the window, which reaches over ``dilation (kernel_size - 1) + 1``.
    ceil_mode : bool
        Whether to keep a last, incomplete window.

    Examples
    --------
    >>> MaxPool2D(2)(np.zeros((5, 28, 28, 3))).shape
    (5, 14, 14, 3)
    """

    n_axes = 2


class MaxPool3D(MaxPool):
    """
    Maximum of each window of a volume, (N, D, H, W, C); see :class:`MaxPool2D`.

    Parameters
    ----------
    kernel_size, stride, padding, dilation, ceil_mode
        See :class:`MaxPool2D`.

    Examples
    --------
    >>> MaxPool3D(2)(np.zeros((5, 8, 8, 8, 3))).shape
    (5, 4, 4, 4, 3)
    """

    n_axes = 3


class AvgPool1D(AvgPool):
    """
    Mean of each window of a signal, (N, L, C); see :class:`AvgPool2D`.

    Parameters
    ----------
    kernel_size, stride, padding, count_include_pad, ceil_mode
        See :class:`AvgPool2D`.

    Examples
    --------
    >>> AvgPool1D(2)(np.asarray([[[1.0], [3.0], [2.0], [0.0]]])).ravel()
    array([2., 1.])
    """

    n_axes = 1


class AvgPool2D(AvgPool):
    """
    Mean of each window: x (N, H, W, C), y (N, H', W', C); ``dx`` sums ``dy / count`` of all windows that cover it.

    Parameters
    ----------
    kernel_size, stride, padding, ceil_mode
        See :class:`MaxPool2D`.
    count_include_pad : bool
        Whether padding counts as zeros (PyTorch's default), or is left out of the mean (ours, and Keras').

    Examples
    --------
    >>> AvgPool2D(2, stride=1)(np.zeros((5, 28, 28, 3))).shape
    (5, 27, 27, 3)
    """

    n_axes = 2


class AvgPool3D(AvgPool):
    """
    Mean of each window of a volume, (N, D, H, W, C); see :class:`AvgPool2D`.

    Parameters
    ----------
    kernel_size, stride, padding, count_include_pad, ceil_mode
        See :class:`AvgPool2D`.

    Examples
    --------
    >>> AvgPool3D(2)(np.zeros((5, 8, 8, 8, 3))).shape
    (5, 4, 4, 4, 3)
    """

    n_axes = 3


class _GlobalPool(Layer):
    """Base of layers that reduce all axes but the first and the last."""

    def output_shape(self, shape: Shape) -> Shape:
        check_spatial(self, shape)
        return shape[-1:]


class GlobalAvgPool(_GlobalPool):
    """
    Mean over all axes but the first and the last: x (N, ..., C), y (N, C).

    ``dx = dy / count``, with count positions.

    Examples
    --------
    >>> GlobalAvgPool()(np.ones((5, 7, 7, 3))).shape
    (5, 3)
    """

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        xp, axes = namespace(x), tuple(range(1, x.ndim - 1))
        self.output_shape(x.shape[1:])
        n = math.prod(x.shape[1:-1])
        return xp.mean(x, axis=axes), input_pullback(lambda dy: xp.zeros_like(x) + xp.expand_dims(dy, axis=axes) / n)


class GlobalMaxPool(_GlobalPool):
    """
    Maximum over all axes but the first and the last: x (N, ..., C), y (N, C).

    dy goes to the position of the maximum, the first one of equal values.

    Examples
    --------
    >>> GlobalMaxPool()(np.ones((5, 7, 7, 3))).shape
    (5, 3)
    """

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        xp = namespace(x)
        self.output_shape(x.shape[1:])
        flat = xp.reshape(x, (x.shape[0], math.prod(x.shape[1:-1]), x.shape[-1]))

        def dx(dy: Array) -> Array:
            positions = xp.arange(flat.shape[1], device=x.device)[None, :, None]
            is_max = positions == xp.argmax(flat, axis=1, keepdims=True)
            return xp.reshape(xp.astype(is_max, dy.dtype) * xp.expand_dims(dy, axis=1), x.shape)

        return xp.max(flat, axis=1), input_pullback(dx)
