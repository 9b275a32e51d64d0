"""What the window of a convolution sees of a batch that lies last, as views where it can be."""

from collections.abc import Iterator
from functools import lru_cache
from operator import mul

import numpy as np

from portanet.backends.numpy.layout import batch_last
from portanet.kernels.windows import Window
from portanet.typing import Shape

CHUNK = 2**21
"""Bytes of copies of what a window sees, or of values in Winograd's way, to hold at once."""


def pad(x: np.ndarray, window: Window) -> np.ndarray:
    """(N, *space, C) in its padding, with the batch last: (*padded, C, N)."""
    last = batch_last(x)
    if not window.is_padded:
        return np.ascontiguousarray(last)
    padded = np.zeros((*window.padded, *last.shape[-2:]), x.dtype)
    padded[window.inside[1:-1]] = last
    return padded


def seen(x: np.ndarray, size: Shape, stride: Shape, dilation: Shape, *, cells_first: bool = False) -> np.ndarray:
    """
    View of a contiguous array (*before, *space, A, B) as what a window sees: (*before, *places, *size, A, B).

    Examples
    --------
    >>> seen(np.arange(5).reshape(5, 1, 1), (2,), (1,), (2,))[:, :, 0, 0]
    array([[0, 2],
           [1, 3],
           [2, 4]])
    """
    # NumPy's as_strided takes 6 µs for it
    shape, strides = _geometry(x.shape, x.strides, size, stride, dilation, cells_first=cells_first)
    return np.ndarray(shape, x.dtype, x, strides=strides)


@lru_cache(maxsize=1024)  # a network asks for the same ones at every step
def _geometry(
    shape: Shape, strides: Shape, size: Shape, stride: Shape, dilation: Shape, *, cells_first: bool
) -> tuple[Shape, Shape]:
    n_before = len(shape) - 2 - len(size)
    space, steps = shape[n_before:-2], strides[n_before:-2]
    places = tuple((n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(space, size, stride, dilation, strict=True))
    seen = [(places, tuple(map(mul, steps, stride))), (size, tuple(map(mul, steps, dilation)))]
    (first, first_steps), (then, then_steps) = reversed(seen) if cells_first else seen
    return (
        (*shape[:n_before], *first, *then, *shape[-2:]),
        (*strides[:n_before], *first_steps, *then_steps, *strides[-2:]),
    )


def chunks(n: int, bytes_each: int) -> Iterator[slice]:
    """Slices of n, of a chunk at most."""
    length = max(1, CHUNK // max(1, bytes_each))
    return (slice(i, min(i + length, n)) for i in range(0, n, length))
