"""
Convolution for NumPy: at each place a matrix product of the weights with what the window sees there of all images.

The batch lies last in memory (see :mod:`portanet.backends.numpy.layout`). What a window sees along one axis of space is
then a matrix as it lies there, and what it sees along more is copied in long runs; BLAS, called for one place after
another, finds it in the cache. Where Winograd's way pays, there are fewer products. A few images are multiplied in
columns, with channels last.
"""

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from portanet import kernels
from portanet.backends.numpy import windows
from portanet.backends.numpy.layout import batch_first, batch_last
from portanet.backends.numpy.process import blas
from portanet.backends.numpy.winograd import Winograd
from portanet.kernels.windows import Window

FEW = 8
"""Images from which on a product for each place pays."""

FEW_CHANNELS = 8
"""Channels below which the gradient of the weights, too, takes a product for each place."""

LARGE = 2**21
"""Products from which on Winograd's way pays: its transforms take some 20 µs more, however small they are."""


def conv(x: np.ndarray, w: np.ndarray, window: Window) -> np.ndarray:
    """See :func:`portanet.kernels.conv`."""
    if len(x) < FEW:
        return Columns(window).multiply(x, w)
    method = choose(window, w.shape[-2], _is_large(x, w, window))
    with blas.single_threaded():
        return batch_first(method.multiply(windows.pad(x, method.window), w))


def conv_weight_gradient(x: np.ndarray, dy: np.ndarray, window: Window) -> np.ndarray:
    """See :func:`portanet.kernels.conv_weight_gradient`."""
    if len(x) < FEW:
        return Columns(window).correlate(x, dy)
    method = choose(window, x.shape[-1], _is_large(x, dy, window))
    with blas.single_threaded():
        total = method.correlate(windows.pad(x, method.window), np.ascontiguousarray(batch_last(dy)))
    return total.reshape(*window.size, x.shape[-1], dy.shape[-1])


def conv_input_gradient(dy: np.ndarray, w: np.ndarray, window: Window) -> np.ndarray:
    """A convolution of dy with the kernel turned round, where the stride is 1; else the portable form."""
    turned = window.flipped
    if turned is None:
        dx: np.ndarray = kernels.conv_input_gradient.portable(dy, w, window)
        return dx
    spatial = tuple(range(w.ndim - 2))
    return conv(dy, np.ascontiguousarray(np.matrix_transpose(np.flip(w, spatial))), turned)


def _is_large(x: np.ndarray, out: np.ndarray, window: Window) -> bool:
    """Whether a convolution of x, to as many channels as ``out`` has, takes enough products to save some."""
    products: int = x.size * out.shape[-1] * math.prod(window.size)
    return products >= LARGE


@lru_cache(maxsize=1024)  # a network asks for the same ones at every step
def choose(window: Window, n_in: int, large: bool) -> "Direct | Winograd":
    """The faster way for a window on so many channels."""
    taps = window.size[0]
    fits = window.stride[0] == window.dilation[0] == 1 and 3 <= taps <= 7 and n_in >= 4 and window.output_shape[0] >= 4
    return Winograd(window) if large and fits else Direct(window)


class Columns:
    """One product for many places of a few images, of columns that are copied, with channels last."""

    def __init__(self, window: Window):
        self.window = window

    def multiply(self, x: np.ndarray, w: np.ndarray) -> np.ndarray:
        """Convolution of (N, *space, C): (N, *places, O)."""
        n_out = w.shape[-1]
        y = np.empty((len(x), *self.window.output_shape, n_out), x.dtype)
        for here, columns in self._columns(x):
            np.matmul(columns, w.reshape(-1, n_out), out=y[here].reshape(-1, n_out))
        return y

    def correlate(self, x: np.ndarray, dy: np.ndarray) -> np.ndarray:
        """Gradient of the weights from (N, *space, C) and (N, *places, O)."""
        shape, n_out = (*self.window.size, x.shape[-1], dy.shape[-1]), dy.shape[-1]
        total = np.zeros((math.prod(shape[:-1]), n_out), x.dtype)
        for here, columns in self._columns(x):
            total += np.matmul(columns.T, dy[here].reshape(-1, n_out))
        return total.reshape(shape)

    def _columns(self, x: np.ndarray) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
        """All at once, or some places along the first axis of one image after the other."""
        window, images = self.window, np.ascontiguousarray(self.window.pad(x))
        row = math.prod((*window.output_shape[1:], *window.size, x.shape[-1])) * x.itemsize
        if len(x) * window.output_shape[0] * row <= windows.CHUNK:
            yield (), self._seen(images)
            return
        for i in range(len(x)):
            for places in windows.chunks(window.output_shape[0], row):
                yield (slice(i, i + 1), places), self._seen(images[i : i + 1, windows.rows_met(window, places)])

    def _seen(self, images: np.ndarray) -> np.ndarray:
        window = self.window
        cells = windows.seen(images[..., None], window.size, window.stride, window.dilation)
        return cells.reshape(-1, math.prod(window.size) * images.shape[-1])


class Direct:
    """A product for each place."""

    def __init__(self, window: Window):
        self.window = window

    def multiply(self, padded: np.ndarray, w: np.ndarray) -> np.ndarray:
        """Convolution of (*padded, C, N): (*places, O, N)."""
        n_out = w.shape[-1]
        weights = np.ascontiguousarray(w.reshape(-1, n_out).T)
        y = np.empty((*self.window.output_shape, n_out, padded.shape[-1]), padded.dtype)
        for places, met in self._rows(padded):
            np.matmul(weights, self._columns(met), out=y[places])
        return y

    def correlate(self, padded: np.ndarray, dy: np.ndarray) -> np.ndarray:
        """Gradient of the weights from (*padded, C, N) and (*places, O, N)."""
        window, (n_in, n_out) = self.window, (padded.shape[-2], dy.shape[-2])
        n_cells = math.prod(window.size) * n_in
        total = np.zeros(n_cells * n_out, dy.dtype)
        few = n_in < FEW_CHANNELS
        for places, met in self._rows(
            padded, n_cells * n_out * math.prod(window.output_shape[1 : None if few else -1])
        ):
            here = dy[places].swapaxes(-1, -2)
            if few:
                products = np.matmul(self._columns(met), here)
                total += np.add.reduce(products.reshape(-1, total.size))
            else:
                images_first = np.ascontiguousarray(met.swapaxes(-1, -2))
                part = windows.correlated(images_first, here, window.size, window.stride, window.dilation)
                total += part.reshape(-1)
        return total

    def _rows(self, padded: np.ndarray, extra: int = 0) -> Iterator[tuple[slice, np.ndarray]]:
        """
        Some places along the first axis after the other, and what the window meets there.

        ``extra`` is how many numbers a place takes beside its columns.
        """
        window = self.window
        columns = math.prod((*window.output_shape[1:], *window.size, *padded.shape[-2:]))
        for places in windows.chunks(window.output_shape[0], (columns + extra) * padded.itemsize):
            yield places, padded[windows.rows_met(window, places)]

    def _columns(self, met: np.ndarray) -> np.ndarray:
        window, (n_in, n) = self.window, met.shape[-2:]
        cells = windows.seen(met, window.size, window.stride, window.dilation)
        return cells.reshape(*cells.shape[: window.n_axes], math.prod(window.size) * n_in, n)
