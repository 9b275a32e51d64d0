"""
Convolution for NumPy, as matrix products by one of two methods.

A few images are multiplied by :class:`Im2col`, channels last. For more, the batch is last in memory (see
:mod:`portanet.backends.numpy.layout`), and :class:`Direct` takes one product for each output position. Temporary copies
are made in chunks that stay in the cache until BLAS reads them. The compiled kernels do without both.
"""

import math
from collections.abc import Iterator

import numpy as np

from portanet import kernels
from portanet.backends.disabled import enabled
from portanet.backends.numpy import windows
from portanet.backends.numpy.layout import batch_first, batch_last
from portanet.backends.numpy.process import blas
from portanet.kernels.windows import Window

MIN_IMAGES_BATCH_LAST = 8
"""Minimum images for the batch-last methods: with fewer, their matrix products are too narrow."""

MIN_CHANNELS_CORRELATE = 8
"""Minimum input channels for :func:`windows.correlate`; with fewer, one product for each output position is faster."""

USE_BATCH_LAST = enabled("batch_last")


def conv(x: np.ndarray, w: np.ndarray, window: Window, groups: int = 1, bias: np.ndarray | None = None) -> np.ndarray:
    """See :func:`portanet.kernels.conv`."""
    y: np.ndarray
    if groups > 1:
        y = kernels.conv.portable(x, w, window, groups)
    elif not _is_for_batch_last(x):
        y = Im2col(window).multiply(x, w)
    else:
        with blas.single_threaded():
            y = batch_first(Direct(window).multiply(windows.pad(x, window), w))
    if bias is not None:
        kernels.bias_add(y, bias)
    return y


def conv_weight_gradient(x: np.ndarray, dy: np.ndarray, window: Window, groups: int = 1) -> np.ndarray:
    """See :func:`portanet.kernels.conv_weight_gradient`."""
    if groups > 1:
        dw: np.ndarray = kernels.conv_weight_gradient.portable(x, dy, window, groups)
        return dw
    if not _is_for_batch_last(x):
        return Im2col(window).correlate(x, dy)
    with blas.single_threaded():
        dw = Direct(window).correlate(windows.pad(x, window), np.ascontiguousarray(batch_last(dy)))
    return dw.reshape(*window.size, x.shape[-1], dy.shape[-1])


def conv_input_gradient(dy: np.ndarray, w: np.ndarray, window: Window, groups: int = 1) -> np.ndarray:
    """Convolution of dy with the flipped kernel if the stride is 1; else the portable form."""
    flipped = window.flipped
    if groups > 1 or flipped is None:
        dx: np.ndarray = kernels.conv_input_gradient.portable(dy, w, window, groups)
        return dx
    spatial = tuple(range(w.ndim - 2))
    return conv(dy, np.ascontiguousarray(np.matrix_transpose(np.flip(w, spatial))), flipped)


def _is_for_batch_last(x: np.ndarray) -> bool:
    return USE_BATCH_LAST and len(x) >= MIN_IMAGES_BATCH_LAST


class Im2col:
    """Copy the windows of many output positions to the rows of a matrix, and take one matrix product; channels last."""

    def __init__(self, window: Window):
        self.window = window

    def multiply(self, x: np.ndarray, w: np.ndarray) -> np.ndarray:
        """Convolution of (N, *input_shape, C): (N, *output_shape, O)."""
        n_out = w.shape[-1]
        y = np.empty((len(x), *self.window.output_shape, n_out), x.dtype)
        for region, columns in self._columns(x):
            np.matmul(columns, w.reshape(-1, n_out), out=y[region].reshape(-1, n_out))
        return y

    def correlate(self, x: np.ndarray, dy: np.ndarray) -> np.ndarray:
        """Gradient of the weights from (N, *input_shape, C) and (N, *output_shape, O): (*size, C, O)."""
        shape, n_out = (*self.window.size, x.shape[-1], dy.shape[-1]), dy.shape[-1]
        dw = np.zeros((math.prod(shape[:-1]), n_out), x.dtype)
        for region, columns in self._columns(x):
            dw += np.matmul(columns.T, dy[region].reshape(-1, n_out))
        return dw.reshape(shape)

    def _columns(self, x: np.ndarray) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
        """Yield regions of the output with their columns: all of it, or chunks of rows of one image after another."""
        window, images = self.window, np.ascontiguousarray(self.window.pad(x))
        row_bytes = math.prod((*window.output_shape[1:], *window.size, x.shape[-1])) * x.itemsize
        if len(x) * window.output_shape[0] * row_bytes <= windows.MAX_CHUNK_BYTES:
            yield (), self._im2col(images)
            return
        for i in range(len(x)):
            for rows in windows.chunks(window.output_shape[0], row_bytes):
                yield (slice(i, i + 1), rows), self._im2col(images[i : i + 1, windows.input_rows(window, rows)])

    def _im2col(self, images: np.ndarray) -> np.ndarray:
        window = self.window
        views = windows.sliding_windows(images[..., None], window.size, window.stride, window.dilation)
        return views.reshape(-1, math.prod(window.size) * images.shape[-1])


class Direct:
    """One matrix product for each output position, of the weights and the windows of all images; batch last."""

    def __init__(self, window: Window):
        self.window = window

    def multiply(self, padded: np.ndarray, w: np.ndarray) -> np.ndarray:
        """Convolution of (*padded_shape, C, N): (*output_shape, O, N)."""
        n_out = w.shape[-1]
        weights = np.ascontiguousarray(w.reshape(-1, n_out).T)
        y = np.empty((*self.window.output_shape, n_out, padded.shape[-1]), padded.dtype)
        for output_rows, rows in self._chunks(padded):
            np.matmul(weights, self._columns(rows), out=y[output_rows])
        return y

    def correlate(self, padded: np.ndarray, dy: np.ndarray) -> np.ndarray:
        """Gradient of the weights from (*padded_shape, C, N) and (*output_shape, O, N), flat."""
        window, (n_in, n_out) = self.window, (padded.shape[-2], dy.shape[-2])
        n_weights = math.prod(window.size) * n_in * n_out
        dw = np.zeros(n_weights, dy.dtype)
        by_position = n_in < MIN_CHANNELS_CORRELATE
        n_products = math.prod(window.output_shape[1 : None if by_position else -1])
        for output_rows, rows in self._chunks(padded, n_weights * n_products):
            gradients = dy[output_rows].swapaxes(-1, -2)
            if by_position:
                products = np.matmul(self._columns(rows), gradients)
                dw += np.add.reduce(products.reshape(-1, n_weights))
            else:
                x = np.ascontiguousarray(rows.swapaxes(-1, -2))
                dw += windows.correlate(x, gradients, window.size, window.stride, window.dilation).reshape(-1)
        return dw

    def _chunks(self, padded: np.ndarray, extra: int = 0) -> Iterator[tuple[slice, np.ndarray]]:
        """
        Yield chunks of output rows with the input rows that their windows cover.

        ``extra`` is the number of elements that an output row needs in addition to its columns.
        """
        window = self.window
        columns = math.prod((*window.output_shape[1:], *window.size, *padded.shape[-2:]))
        for output_rows in windows.chunks(window.output_shape[0], (columns + extra) * padded.itemsize):
            yield output_rows, padded[windows.input_rows(window, output_rows)]

    def _columns(self, rows: np.ndarray) -> np.ndarray:
        """Windows as matrices, (*output_shape, size C, N): a view along one spatial axis, else a copy."""
        window, (n_in, n) = self.window, rows.shape[-2:]
        views = windows.sliding_windows(rows, window.size, window.stride, window.dilation)
        return views.reshape(*views.shape[: window.n_axes], math.prod(window.size) * n_in, n)
