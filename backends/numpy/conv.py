"""
Convolution for NumPy: at each place a matrix product of the weights with what the window sees there of all images.

The batch lies last in memory (see :mod:`portanet.backends.numpy.layout`). What a window sees along the last axis of
space is then a matrix as it lies there, and BLAS, called for one place after another, finds it in the cache. Where
Winograd's way pays, there are fewer products. A few images are multiplied in one product of copied columns.
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

LARGE = 2**21
"""Products from which on Winograd's way pays: its transforms take some 20 µs more, however small they are."""


def conv(x: np.ndarray, w: np.ndarray, window: Window) -> np.ndarray:
    """See :func:`portanet.kernels.conv`."""
    if len(x) < FEW:
        return _conv_of_few(x, w, window)
    method = choose(window, w.shape[-2], _is_large(x, w, window))
    with blas.alone():
        return batch_first(method.multiply(windows.pad(x, method.window), w))


def conv_weight_gradient(x: np.ndarray, dy: np.ndarray, window: Window) -> np.ndarray:
    """See :func:`portanet.kernels.conv_weight_gradient`."""
    if len(x) < FEW:
        dw: np.ndarray = kernels.conv_weight_gradient.portable(x, dy, window)
        return dw
    method = choose(window, x.shape[-1], _is_large(x, dy, window))
    with blas.alone():
        total = method.correlate(windows.pad(x, method.window), np.ascontiguousarray(batch_last(dy)))
    return total.reshape(*window.size, x.shape[-1], dy.shape[-1])


def conv_input_gradient(dy: np.ndarray, w: np.ndarray, window: Window) -> np.ndarray:
    """A convolution of dy with the kernel turned round, where the stride is 1; else the portable form."""
    turned = window.turned
    if turned is None:
        dx: np.ndarray = kernels.conv_input_gradient.portable(dy, w, window)
        return dx
    spatial = tuple(range(w.ndim - 2))
    return conv(dy, np.ascontiguousarray(np.matrix_transpose(np.flip(w, spatial))), turned)


def _conv_of_few(x: np.ndarray, w: np.ndarray, window: Window) -> np.ndarray:
    """One product of columns, if they are not too many to be copied."""
    n_out, rows = w.shape[-1], len(x) * math.prod(window.places)
    n_cells = w.size // n_out
    if rows * n_cells * x.itemsize > windows.CHUNK:
        y: np.ndarray = kernels.conv.portable(x, w, window)
        return y
    padded = np.ascontiguousarray(window.pad(x))[..., None]
    columns = windows.seen(padded, window.size, window.stride, window.dilation).reshape(rows, n_cells)
    return np.matmul(columns, w.reshape(-1, n_out)).reshape(len(x), *window.places, n_out)


def _is_large(x: np.ndarray, out: np.ndarray, window: Window) -> bool:
    """Whether a convolution of x, to as many channels as ``out`` has, takes enough products to save some."""
    products: int = x.size * out.shape[-1] * math.prod(window.size)
    return products >= LARGE


@lru_cache(maxsize=1024)  # a network asks for the same ones at every step
def choose(window: Window, n_in: int, large: bool) -> "Direct | Winograd":
    """The faster way for a window on so many channels."""
    taps = window.size[0]
    fits = window.stride[0] == window.dilation[0] == 1 and 3 <= taps <= 7 and n_in >= 4 and window.places[0] >= 4
    return Winograd(window) if large and fits else Direct(window)


class Direct:
    """A product for each place."""

    def __init__(self, window: Window):
        self.window = window

    def multiply(self, padded: np.ndarray, w: np.ndarray) -> np.ndarray:
        """Convolution of (*padded, C, N): (*places, O, N)."""
        n_out = w.shape[-1]
        weights = np.ascontiguousarray(w.reshape(-1, n_out).T)
        y = np.empty((*self.window.places, n_out, padded.shape[-1]), padded.dtype)
        for places, columns in self._columns(padded, n_out):
            np.matmul(weights, columns, out=y[places])
        return y

    def correlate(self, padded: np.ndarray, dy: np.ndarray) -> np.ndarray:
        """Gradient of the weights from (*padded, C, N) and (*places, O, N), as a matrix."""
        total = 0.0
        for places, columns in self._columns(padded, dy.shape[-2]):
            products = np.matmul(columns, dy[places].swapaxes(-1, -2))
            total = total + np.add.reduce(products.reshape(-1, math.prod(products.shape[-2:])))
        return total

    def _columns(self, padded: np.ndarray, n_out: int) -> Iterator[tuple[slice, np.ndarray]]:
        """What the window sees, (..., K, N), at some places along the first axis after the other."""
        window, (n_in, n) = self.window, padded.shape[-2:]
        k, others = math.prod(window.size) * n_in, window.places[1:]
        stride, reach = window.stride[0], window.dilation[0] * (window.size[0] - 1) + 1
        for places in windows.chunks(window.places[0], math.prod(others) * k * (n + n_out) * padded.itemsize):
            met = padded[places.start * stride : (places.stop - 1) * stride + reach]
            cells = windows.seen(met, window.size, window.stride, window.dilation)
            yield places, cells.reshape(places.stop - places.start, *others, k, n)
