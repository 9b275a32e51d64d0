"""
Batch-last memory layout of images.

An array of images keeps its shape (N, *spatial, C) and its indices, but its strides are those of (*spatial, C, N). A
window along one spatial axis is then one contiguous run of memory, and along more axes one run for each of its rows.
NumPy's inner loops run over the channels of all images at once.

Without it, a training step takes 2.43 times as long on 004-cnn, and 1.16 times in the geometric mean of 14 networks
(``python -m bench mechanisms``, two threads, before the compiled kernels).
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np


def batch_last(x: np.ndarray) -> np.ndarray:
    """
    View of (N, *spatial, C) as (*spatial, C, N).

    Examples
    --------
    >>> batch_last(np.zeros((5, 28, 28, 1))).shape
    (28, 28, 1, 5)
    """
    return x.transpose(*range(1, x.ndim), 0)


def batch_first(x: np.ndarray) -> np.ndarray:
    """
    View of (*spatial, C, N) as (N, *spatial, C).

    Examples
    --------
    >>> batch_first(np.zeros((28, 28, 1, 5))).shape
    (5, 28, 28, 1)
    """
    return x.transpose(-1, *range(x.ndim - 1))


def is_batch_last(x: np.ndarray) -> bool:
    """
    Whether an array (N, *spatial, C) is contiguous in batch-last order, and not also in C order.

    Examples
    --------
    >>> x = np.zeros((5, 28, 28, 1))
    >>> is_batch_last(x), is_batch_last(to_batch_last(x))
    (False, True)
    """
    return x.ndim > 2 and not x.flags.c_contiguous and batch_last(x).flags.c_contiguous


def is_batch_last_slice(x: np.ndarray) -> bool:
    """
    Whether examples are adjacent in memory: a batch-last array, or a slice of one.

    Examples
    --------
    >>> x = to_batch_last(np.zeros((5, 28, 28, 1)))
    >>> is_batch_last_slice(x), is_batch_last_slice(x[:, 1:-1]), is_batch_last_slice(x.copy())
    (True, True, False)
    """
    return x.ndim > 2 and not x.flags.c_contiguous and x.strides[0] == x.itemsize


def to_batch_last(x: np.ndarray) -> np.ndarray:
    """Return an array (N, *spatial, C) in batch-last order; copy it only if it is not."""
    return batch_first(np.ascontiguousarray(batch_last(x)))


def in_layout_of(values: Any, x: np.ndarray) -> np.ndarray:
    """
    Return values in the shape and memory order of an array; copy, or broadcast, them only if they differ in these.

    Examples
    --------
    >>> x = to_batch_last(np.zeros((5, 28, 28, 1)))
    >>> is_batch_last(in_layout_of(np.ones((5, 28, 28, 1), "uint16"), x))
    True
    """
    given = values if isinstance(values, np.ndarray) and values.shape == x.shape and values.flags.aligned else None
    if given is not None and given.strides == x.strides and given.itemsize == x.itemsize:
        return given
    like = np.empty_like(x, dtype=getattr(values, "dtype", x.dtype))
    if given is not None and given.strides == like.strides:
        return given
    like[...] = values
    return like


def is_dense(x: np.ndarray) -> bool:
    """Whether an array is in C, Fortran or batch-last order, without gaps: :func:`memory_order` takes it."""
    return x.flags.forc or is_batch_last(x)


def memory_order(x: np.ndarray) -> np.ndarray:
    """
    View an array in C, Fortran or batch-last order as it lies in memory, in C order.

    Examples
    --------
    >>> memory_order(to_batch_last(np.zeros((5, 28, 28, 1)))).shape
    (28, 28, 1, 5)
    """
    return x if x.flags.c_contiguous else batch_last(x) if is_batch_last(x) else x.T


def as_one_image(x: np.ndarray) -> np.ndarray:
    """Return a batch-last array (N, *spatial, C) as one image with C N channels, (1, *spatial, C N)."""
    return np.ascontiguousarray(batch_last(x)).reshape(1, *x.shape[1:-1], -1)


def channelwise(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """
    Decorator for a function of arrays, and of settings after them, that treats all channels alike, such as pooling.

    A batch-last batch is passed to it as one image with C N channels, and so is its result. The layout of the last
    array decides for all.
    """

    @wraps(function)
    def wrapper(*args: Any) -> np.ndarray:
        arrays = [value for value in args if isinstance(value, np.ndarray)]
        settings, like = args[len(arrays) :], arrays[-1]
        if not is_batch_last(like):
            return function(*args)
        y = function(*map(as_one_image, arrays), *settings)
        return batch_first(y.reshape(*y.shape[1:-1], like.shape[-1], len(like)))

    return wrapper
