"""
How images lie in memory: an array (N, *space, C) with the batch last, as if it were (*space, C, N).

Then what a window of a convolution sees is one run of memory, or one for each row of the window, and the loops of NumPy
go over all channels of all images at once. Layers see the same shapes and indices; only strides tell the difference.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np


def batch_last(x: np.ndarray) -> np.ndarray:
    """
    View of (N, *space, C) as (*space, C, N).

    Examples
    --------
    >>> batch_last(np.zeros((5, 28, 28, 1))).shape
    (28, 28, 1, 5)
    """
    return x.transpose(*range(1, x.ndim), 0)


def batch_first(x: np.ndarray) -> np.ndarray:
    """
    View of (*space, C, N) as (N, *space, C).

    Examples
    --------
    >>> batch_first(np.zeros((28, 28, 1, 5))).shape
    (5, 28, 28, 1)
    """
    return x.transpose(-1, *range(x.ndim - 1))


def lies_batch_last(x: np.ndarray) -> bool:
    """
    Whether an array (N, *space, C) has its batch last in memory, and no gaps.

    Examples
    --------
    >>> x = np.zeros((5, 28, 28, 1))
    >>> lies_batch_last(x), lies_batch_last(lay_batch_last(x))
    (False, True)
    """
    return x.ndim > 2 and not x.flags.c_contiguous and batch_last(x).flags.c_contiguous


def lay_batch_last(x: np.ndarray) -> np.ndarray:
    """The same array with its batch last in memory, copied where it is not."""
    return batch_first(np.ascontiguousarray(batch_last(x)))


def as_one_image(x: np.ndarray) -> np.ndarray:
    """An array (N, *space, C) with its batch last as a single image with C N channels, (1, *space, C N)."""
    return np.ascontiguousarray(batch_last(x)).reshape(1, *x.shape[1:-1], -1)


def channelwise(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """
    For a function of arrays (N, *space, C) and a window that takes channels alike, a batch that lies last is one image.

    The last of the arrays decides for all.
    """

    @wraps(function)
    def laid(*arguments: Any, **named: Any) -> np.ndarray:
        *arrays, window = *arguments, *named.values()
        like = arrays[-1]
        if not lies_batch_last(like):
            return function(*arrays, window)
        y = function(*map(as_one_image, arrays), window)
        return batch_first(y.reshape(*y.shape[1:-1], like.shape[-1], len(like)))

    return laid
