"""What the window of a convolution sees, and the sums over all its places."""

from collections.abc import Iterator
from functools import lru_cache
from operator import mul

import numpy as np

from portanet.backends.numpy.layout import batch_last
from portanet.kernels.windows import Window
from portanet.typing import Array, Shape

CHUNK = 2**21
"""Bytes of copies to hold at once, where one step along the first axis of space takes no more."""


def pad(x: np.ndarray, window: Window) -> np.ndarray:
    """(N, *space, C) in its padding, with the batch last: (*padded, C, N)."""
    last = batch_last(x)
    if not window.is_padded:
        return np.ascontiguousarray(last)
    padded = np.zeros((*window.padded_shape, *last.shape[-2:]), x.dtype)
    padded[window.interior[1:-1]] = last
    return padded


def seen(x: np.ndarray, size: Shape, stride: Shape, dilation: Shape) -> np.ndarray:
    """
    View of a contiguous array (*before, *space, A, B) as what a window sees: (*before, *places, *size, A, B).

    Examples
    --------
    >>> seen(np.arange(5).reshape(5, 1, 1), (2,), (1,), (2,))[:, :, 0, 0]
    array([[0, 2],
           [1, 3],
           [2, 4]])
    """
    shape, strides = _geometry(x.shape, x.strides, size, stride, dilation)
    return np.ndarray(shape, x.dtype, x, strides=strides)  # NumPy's as_strided takes 6 µs for it


@lru_cache(maxsize=1024)  # a network asks for the same ones at every step
def _geometry(shape: Shape, strides: Shape, size: Shape, stride: Shape, dilation: Shape) -> tuple[Shape, Shape]:
    n_before = len(shape) - 2 - len(size)
    space, steps = shape[n_before:-2], strides[n_before:-2]
    places = ((n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(space, size, stride, dilation, strict=True))
    between, within = map(mul, steps, stride), map(mul, steps, dilation)
    return (
        (*shape[:n_before], *places, *size, *shape[-2:]),
        (*strides[:n_before], *between, *within, *strides[-2:]),
    )


def rows_met(window: Window, places: slice) -> slice:
    """Where a window at some places along the first axis of space begins and ends."""
    stride, reach = window.stride[0], window.dilation[0] * (window.size[0] - 1) + 1
    return slice(places.start * stride, (places.stop - 1) * stride + reach)


def correlated(x: np.ndarray, dy: np.ndarray, size: Shape, stride: Shape, dilation: Shape) -> Array:
    """
    Sums over places and images of what a window sees times what comes of it: (*before, *size, C, O).

    A product goes over the images at all places along the last axis of space, for which they come before channels.

    Parameters
    ----------
    x : array, shape (*before, *space, N, C)
        Contiguous.
    dy : array, shape (*before, *places, N, O)

    Examples
    --------
    >>> x, dy = np.arange(5.0).reshape(5, 1, 1), np.ones((3, 1, 1))
    >>> correlated(x, dy, (2,), (1,), (2,))[:, 0, 0]
    array([3., 9.])
    """
    if not size:
        return np.matmul(x.swapaxes(-1, -2), dy)
    n_axes, n_before = len(size), x.ndim - 2 - len(size)
    places, cells = (range(n_before + i * n_axes, n_before + (i + 1) * n_axes) for i in (0, 1))
    met = seen(x, size, stride, dilation).transpose(*range(n_before), *cells, *places, -2, -1)
    met = met.reshape(*met.shape[:-3], -1, x.shape[-1])  # a view where the stride is 1
    made = dy.reshape(*dy.shape[:n_before], *(1,) * n_axes, *dy.shape[n_before:-3], -1, dy.shape[-1])
    products = np.matmul(met.swapaxes(-1, -2), made)
    return np.add.reduce(products, axis=tuple(range(n_before + n_axes, products.ndim - 2)))


def chunks(n: int, bytes_each: int) -> Iterator[slice]:
    """Slices of n, of a chunk or of one step at most."""
    length = max(1, CHUNK // max(1, bytes_each))
    return (slice(i, min(i + length, n)) for i in range(0, n, length))
