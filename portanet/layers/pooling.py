"""Pooling and enlarging, channels-last; each number of axes is a face of one implementation."""

import math
from dataclasses import replace
from typing import Any, ClassVar

from portanet import kernels
from portanet.backends import namespace
from portanet.kernels.windows import Padding, Window, check_padding, pads_of, per_axis
from portanet.layers.base import Layer, batch, check_floating
from portanet.typing import Array, Pullback, Shape


class Pool(Layer):
    """
    Base of pooling layers; :class:`MaxPool2D` says what the parameters are.

    Padding must be smaller than the window, so that no window sees padding alone.
    """

    n_axes: ClassVar[int]

    def __init__(
        self,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] | None = None,
        *,
        padding: Padding = "valid",
        ceil_mode: bool = False,
    ):
        self.size = per_axis("kernel_size", kernel_size, self.n_axes)
        self.stride = self.size if stride is None else per_axis("stride", stride, self.n_axes)
        self.padding, self.ceil_mode = check_padding(padding, self.n_axes), ceil_mode
        if not isinstance(self.padding, str):
            for pair, length in zip(self.padding, self.size, strict=True):
                if max(pair) >= length:
                    raise ValueError(f"padding must be smaller than the window {self.size}, got {self.padding}")

    def window(self, shape: Shape) -> Window:
        """Where the window goes on an input of a shape, without the batch axis."""
        if len(shape) != self.n_axes + 1:
            axes = ", ".join(map(str, shape))
            raise ValueError(f"{self!r} needs x of {self.n_axes + 2} axes, (N, ..., C), got (N, {axes})")
        ones = (1,) * self.n_axes
        return Window.fit(
            shape[:-1], self.size, stride=self.stride, dilation=ones, padding=self.padding, ceil=self.ceil_mode
        )

    def output_shape(self, shape: Shape) -> Shape:
        return (*self.window(shape).output_shape, shape[-1])


class MaxPool(Pool):
    """Largest value of each window; :class:`MaxPool2D` says the rest."""

    takes_maximum = True

    def by_example(self, train: bool) -> bool:
        return True

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        check_floating(self, x)
        window = self.window(tuple(x.shape[1:]))
        y = kernels.max_pool(x, window)

        def pullback(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            return kernels.max_pool_gradient(dy, x, y, window) if need_dx else None

        return y, pullback


class AvgPool(Pool):
    """Mean of each window; :class:`AvgPool2D` says the rest."""

    def __init__(
        self,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] | None = None,
        *,
        padding: Padding = "valid",
        ceil_mode: bool = False,
        count_include_pad: bool = False,
    ):
        super().__init__(kernel_size, stride, padding=padding, ceil_mode=ceil_mode)
        self.count_include_pad = count_include_pad

    def by_example(self, train: bool) -> bool:
        return True

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        check_floating(self, x)
        window = self.window(tuple(x.shape[1:]))
        cells = self._cells(namespace(x), x, window)

        def pullback(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            return kernels.sum_pool_gradient(dy / cells, window) if need_dx else None

        return kernels.sum_pool(x, window) / cells, pullback

    def _cells(self, xp: Any, x: Array, window: Window) -> float | Array:
        """How many cells each mean is over; those that only "ceil" added never count."""
        if not window.is_padded:
            return float(math.prod(window.size))
        counted = window
        if self.count_include_pad:
            pads = pads_of(self.padding, window.input_shape, window.size, window.stride)
            ends = tuple(low + n + high for n, (low, high) in zip(window.input_shape, pads, strict=True))
            rest = tuple((0, whole - n) for whole, n in zip(window.padded_shape, ends, strict=True))
            counted = replace(window, input_shape=ends, pads=rest)
        return kernels.sum_pool(xp.ones((1, *counted.input_shape, 1), dtype=x.dtype, device=x.device), counted)


class MaxPool1D(MaxPool):
    """
    Largest value of each window of a signal, (N, L, C); see :class:`MaxPool2D`.

    Examples
    --------
    >>> MaxPool1D(2)(np.asarray([[[1.0], [3.0], [2.0], [0.0]]])).ravel()
    array([3., 2.])
    """

    n_axes = 1


class MaxPool2D(MaxPool):
    """
    Largest value of each window of an image, (N, H, W, C).

    Parameters
    ----------
    kernel_size : int or tuple of int
        Cells of the window along each axis.
    stride : int or tuple of int, optional
        Steps between its places; by default the window, so that windows do not overlap.
    padding : {"valid", "same"}, int, or tuple of int or (int, int)
        As for :class:`portanet.Conv2D`, smaller than the window; padding never is the largest.
    ceil_mode : bool
        Whether a last, incomplete window counts.

    Examples
    --------
    >>> MaxPool2D(2)(np.zeros((5, 28, 28, 3))).shape
    (5, 14, 14, 3)
    """

    n_axes = 2


class AvgPool1D(AvgPool):
    """
    Mean of each window of a signal, (N, L, C); see :class:`AvgPool2D`.

    Examples
    --------
    >>> AvgPool1D(2)(np.asarray([[[1.0], [3.0], [2.0], [0.0]]])).ravel()
    array([2., 1.])
    """

    n_axes = 1


class AvgPool2D(AvgPool):
    """
    Mean of each window of an image, (N, H, W, C).

    Parameters
    ----------
    kernel_size, stride, padding, ceil_mode
        See :class:`MaxPool2D`.
    count_include_pad : bool
        Whether padded cells count as zeros, or are left out of the mean.

    Examples
    --------
    >>> AvgPool2D(2, stride=1)(np.zeros((5, 28, 28, 3))).shape
    (5, 27, 27, 3)
    """

    n_axes = 2


class GlobalAvgPool(Layer):
    """
    Mean over all axes but the first and the last: one row of channels an example.

    Examples
    --------
    >>> GlobalAvgPool()(np.ones((5, 7, 7, 3))).shape
    (5, 3)
    """

    def output_shape(self, shape: Shape) -> Shape:
        _check_space(self, shape)
        return shape[-1:]

    def by_example(self, train: bool) -> bool:
        return True

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        xp, space = namespace(x), tuple(range(1, x.ndim - 1))
        _check_space(self, x.shape[1:])
        n_cells = math.prod(x.shape[1:-1])

        def pullback(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            return xp.zeros_like(x) + xp.expand_dims(dy, axis=space) / n_cells if need_dx else None

        return xp.mean(x, axis=space), pullback


class GlobalMaxPool(Layer):
    """
    Largest over all axes but the first and the last: one row of channels an example.

    Of equal values the first counts, as in :class:`MaxPool2D`.

    Examples
    --------
    >>> GlobalMaxPool()(np.ones((5, 7, 7, 3))).shape
    (5, 3)
    """

    def output_shape(self, shape: Shape) -> Shape:
        _check_space(self, shape)
        return shape[-1:]

    def by_example(self, train: bool) -> bool:
        return True

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        xp = namespace(x)
        _check_space(self, x.shape[1:])
        cells = xp.reshape(x, (x.shape[0], math.prod(x.shape[1:-1]), x.shape[-1]))

        def pullback(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            if not need_dx:
                return None
            places = xp.arange(cells.shape[1], device=x.device)[None, :, None]
            largest = places == xp.argmax(cells, axis=1, keepdims=True)
            return xp.reshape(xp.astype(largest, dy.dtype) * xp.expand_dims(dy, axis=1), x.shape)

        return xp.max(cells, axis=1), pullback


class Upsample(Layer):
    """
    Repeat every cell along each axis between the first and the last: the nearest neighbour, enlarged.

    Parameters
    ----------
    factor : int
        How often.

    Examples
    --------
    >>> Upsample(2)(np.zeros((5, 7, 7, 3))).shape
    (5, 14, 14, 3)
    """

    def __init__(self, factor: int = 2):
        (self.factor,) = per_axis("factor", factor, 1)

    def output_shape(self, shape: Shape) -> Shape:
        _check_space(self, shape)
        return (*(n * self.factor for n in shape[:-1]), shape[-1])

    def by_example(self, train: bool) -> bool:
        return True

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        xp, axes = namespace(x), tuple(range(1, x.ndim - 1))
        _check_space(self, x.shape[1:])
        y = x
        for axis in axes:
            y = xp.repeat(y, self.factor, axis=axis)
        factors = (self.factor,) * len(axes)
        window = Window.fit(tuple(y.shape[1:-1]), factors, stride=factors, dilation=(1,) * len(axes), padding="valid")
        return y, lambda dy, *, need_dx=True, need_grads=True: kernels.sum_pool(dy, window) if need_dx else None


def _check_space(layer: Layer, shape: Shape) -> None:
    if len(shape) < 2:
        raise ValueError(f"{layer!r} needs x of shape (N, ..., C), got {batch(shape)}")
