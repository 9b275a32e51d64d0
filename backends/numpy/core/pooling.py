"""Pooling by the compiled kernels."""

from collections.abc import Callable

import numpy as np

from portanet import kernels
from portanet.backends.numpy import pooling as plain
from portanet.backends.numpy.core import compiled
from portanet.backends.numpy.core.memory import empty, is_supported
from portanet.backends.numpy.layout import batch_first, batch_last, is_batch_last_slice
from portanet.kernels.windows import Window
from portanet.typing import Shape


def max_pool(x: np.ndarray, window: Window) -> np.ndarray:
    """See :func:`portanet.kernels.max_pool`."""
    if not _takes(window, x):
        portable: np.ndarray = kernels.max_pool.portable(x, window)
        return portable
    return _pool(compiled.max_pool, (x,), window, window.output_shape)


def max_pool_gradient(dy: np.ndarray, x: np.ndarray, y: np.ndarray, window: Window) -> np.ndarray:
    """See :func:`portanet.kernels.max_pool_gradient`."""
    if not _takes(window, dy, x, y):
        return plain.max_pool_gradient(dy, x, y, window)
    return _pool(compiled.max_pool_gradient, (dy, x, y), window, window.input_shape)


def sum_pool(x: np.ndarray, window: Window, factor: float = 1.0) -> np.ndarray:
    """See :func:`portanet.kernels.sum_pool`."""
    if not _takes(window, x):
        return plain.sum_pool(x, window, factor)
    return _pool(compiled.sum_pool, (x,), window, window.output_shape, factor)


def sum_pool_gradient(dy: np.ndarray, window: Window, factor: float = 1.0) -> np.ndarray:
    """See :func:`portanet.kernels.sum_pool_gradient`."""
    if not _takes(window, dy):
        return plain.sum_pool_gradient(dy, window, factor)
    return _pool(compiled.sum_pool_gradient, (dy,), window, window.input_shape, factor)


def _takes(window: Window, *arrays: np.ndarray) -> bool:
    """Whether the core pools these arrays."""
    return window.n_axes <= 3 and is_supported(*arrays)


def _pool(
    function: Callable[..., None], arrays: tuple[np.ndarray, ...], window: Window, spatial: Shape, *factor: float
) -> np.ndarray:
    """Call a function of the core for a result (N, *spatial, C), in the memory layout of the last array."""
    like = arrays[-1]
    n, channels = len(like), like.shape[-1]
    last = is_batch_last_slice(like)
    if last:
        arrays = tuple(map(batch_last, arrays))
    result = empty((*spatial, channels, n) if last else (n, *spatial, channels), like.dtype)
    contiguous = map(np.ascontiguousarray, arrays)
    function(*contiguous, result, last, window.size, window.stride, window.dilation, window.pads, *factor)
    return batch_first(result) if last else result
