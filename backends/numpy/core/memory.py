"""
Arrays that the core takes, and new ones that start at a cache line.

NumPy aligns to 16 bytes, so that each vector of 64 bytes lies in two cache lines. Convolutions read aligned arrays
faster.
"""

import math

import numpy as np

from portanet.backends.numpy.core import compiled
from portanet.backends.numpy.layout import batch_first, is_batch_last
from portanet.typing import Shape

CACHE_LINE = 64
"""Bytes."""

MIN_BYTES = 2**15
"""Smaller arrays are not aligned: aligning would take longer than it saves."""

MIN_ELEMENTS = 4096
"""Fewest numbers for which a call of the core is faster than the operations of NumPy that add or map numbers."""


def is_supported(first: np.ndarray, *others: np.ndarray | None) -> bool:
    """Whether the core takes these arrays: aligned, of native byte order, all float32 or all float64."""
    dtype = first.dtype
    if dtype.char not in "fd" or not dtype.isnative or not first.flags.aligned:
        return False
    return all([array is None or (array.dtype == dtype and array.flags.aligned) for array in others])


def empty(shape: Shape, dtype: np.dtype) -> np.ndarray:
    """
    Return a C-contiguous array of any values.

    Examples
    --------
    >>> empty((100, 100), np.dtype("float32")).ctypes.data % CACHE_LINE
    0
    """
    n_bytes = math.prod(shape) * dtype.itemsize
    if n_bytes < MIN_BYTES:
        return np.empty(shape, dtype)
    memory = np.empty(n_bytes + CACHE_LINE, np.uint8)
    return np.ndarray(shape, dtype, memory, -compiled.misalignment(memory, CACHE_LINE) % CACHE_LINE)


def empty_like(x: np.ndarray) -> np.ndarray:
    """Return an array of any values with the shape, dtype and memory order of x."""
    if x.nbytes < MIN_BYTES:
        return np.empty_like(x)
    if x.flags.c_contiguous:
        return empty(x.shape, x.dtype)
    if is_batch_last(x):
        return batch_first(empty((*x.shape[1:], len(x)), x.dtype))
    return np.empty_like(x)
