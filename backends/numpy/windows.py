"""Input windows of a convolution as strided views, and their products with output gradients."""

from collections.abc import Iterator
from functools import lru_cache
from operator import mul

import numpy as np

from portanet.backends.numpy.layout import batch_last
from portanet.kernels.slices import slices
from portanet.kernels.windows import Window
from portanet.typing import Array, Shape

MAX_CHUNK_BYTES = 2**21
"""Maximum size of temporary copies, so that they stay in the cache; one output row may exceed it."""


def pad(x: np.ndarray, window: Window) -> np.ndarray:
    """Pad (N, *input_shape, C) with zeros and put the batch last: a contiguous array (*padded_shape, C, N)."""
    last = batch_last(x)
    if not window.is_padded:
        return np.ascontiguousarray(last)
    padded = np.zeros((*window.padded_shape, *last.shape[-2:]), x.dtype)
    padded[window.interior[1:-1]] = last
    return padded


def sliding_windows(x: np.ndarray, size: Shape, stride: Shape, dilation: Shape) -> np.ndarray:
    """
    View of a contiguous array (*leading, *spatial, A, B) as its windows: (*leading, *output_shape, *size, A, B).

    Examples
    --------
    >>> sliding_windows(np.arange(5).reshape(5, 1, 1), (2,), (1,), (2,))[:, :, 0, 0]
    array([[0, 2],
           [1, 3],
           [2, 4]])
    """
    shape, strides = _geometry(x.shape, x.strides, size, stride, dilation)
    return np.ndarray(shape, x.dtype, x, strides=strides)  # NumPy's as_strided takes 6 µs longer


@lru_cache(maxsize=1024)  # a network uses the same windows at every step
def _geometry(shape: Shape, strides: Shape, size: Shape, stride: Shape, dilation: Shape) -> tuple[Shape, Shape]:
    """Shape and strides of the windows."""
    n_leading = len(shape) - 2 - len(size)
    lengths, steps = shape[n_leading:-2], strides[n_leading:-2]
    output_shape = ((n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(lengths, size, stride, dilation, strict=True))
    output_steps, offset_steps = map(mul, steps, stride), map(mul, steps, dilation)
    return (
        (*shape[:n_leading], *output_shape, *size, *shape[-2:]),
        (*strides[:n_leading], *output_steps, *offset_steps, *strides[-2:]),
    )


def input_rows(window: Window, output_rows: slice) -> slice:
    """Rows of the padded input, along the first spatial axis, that the windows of some output rows cover."""
    stride, effective_size = window.stride[0], window.dilation[0] * (window.size[0] - 1) + 1
    return slice(output_rows.start * stride, (output_rows.stop - 1) * stride + effective_size)


def correlate(x: np.ndarray, dy: np.ndarray, size: Shape, stride: Shape, dilation: Shape) -> Array:
    """
    Products of input windows and output gradients, summed over output positions and images: (*leading, *size, C, O).

    One matrix product covers all images and all output positions along the last spatial axis. For this, the images
    come before the channels.

    Parameters
    ----------
    x : array, shape (*leading, *spatial, N, C)
        Contiguous.
    dy : array, shape (*leading, *output_shape, N, O)

    Examples
    --------
    >>> x, dy = np.arange(5.0).reshape(5, 1, 1), np.ones((3, 1, 1))
    >>> correlate(x, dy, (2,), (1,), (2,))[:, 0, 0]
    array([3., 9.])
    """
    if not size:
        return np.matmul(x.swapaxes(-1, -2), dy)
    n_axes, n_leading = len(size), x.ndim - 2 - len(size)
    outputs, offsets = (range(n_leading + i * n_axes, n_leading + (i + 1) * n_axes) for i in (0, 1))
    windows = sliding_windows(x, size, stride, dilation).transpose(*range(n_leading), *offsets, *outputs, -2, -1)
    windows = windows.reshape(*windows.shape[:-3], -1, x.shape[-1])  # a view if the stride is 1
    gradients = dy.reshape(*dy.shape[:n_leading], *(1,) * n_axes, *dy.shape[n_leading:-3], -1, dy.shape[-1])
    products = np.matmul(windows.swapaxes(-1, -2), gradients)
    return np.add.reduce(products, axis=tuple(range(n_leading + n_axes, products.ndim - 2)))


def chunks(n: int, bytes_each: int) -> Iterator[slice]:
    """Slices of n rows of ``bytes_each``: at most ``MAX_CHUNK_BYTES``, but at least one row."""
    return slices(n, max(1, MAX_CHUNK_BYTES // max(1, bytes_each)))
