"""Normalization by the compiled kernels, for arrays (N, S, G, C) in C order or with the batch last in memory."""

import numpy as np

from portanet import kernels
from portanet.backends.numpy.core import compiled
from portanet.backends.numpy.core.memory import is_supported
from portanet.backends.numpy.layout import batch_first, batch_last, is_batch_last_slice


def normalize(  # noqa: PLR0917
    x: np.ndarray,
    axes: tuple[int, ...],
    weight: np.ndarray | None,
    bias: np.ndarray | None,
    eps: float,
    statistics: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """See :func:`portanet.kernels.normalize`."""
    if not _takes(axes, x, weight, bias, *(statistics or ())):
        portable: tuple[np.ndarray, np.ndarray, np.ndarray] = kernels.normalize.portable(
            x, axes, weight, bias, eps, statistics
        )
        return portable
    last = is_batch_last_slice(x)
    shape = tuple(1 if axis in axes else length for axis, length in enumerate(x.shape))
    y, *empty = (_empty(s, x.dtype, last) for s in (x.shape, shape, shape))
    mean, variance = statistics or empty
    memory = (_memory(a, last) for a in (y, mean, variance))
    given, settings = statistics is not None, _settings(x.shape, axes, last)
    compiled.normalize(_memory(x, last), _contiguous(weight), _contiguous(bias), eps, given, *memory, settings)
    return y, mean, variance


def normalize_gradient(  # noqa: PLR0917
    dy: np.ndarray,
    x: np.ndarray,
    axes: tuple[int, ...],
    mean: np.ndarray,
    variance: np.ndarray,
    weight: np.ndarray | None,
    eps: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """See :func:`portanet.kernels.normalize_gradient`; dx has the layout of x."""
    if not _takes(axes, x, dy, mean, variance, weight):
        portable: tuple[np.ndarray, np.ndarray, np.ndarray] = kernels.normalize_gradient.portable(
            dy, x, axes, mean, variance, weight, eps
        )
        return portable
    last = is_batch_last_slice(x)
    dx = _empty(x.shape, x.dtype, last)
    dweight, dbias = np.empty((2, x.shape[2] * x.shape[3]), x.dtype)
    memory = (_memory(a, last) for a in (dy, x, mean, variance))
    settings = _settings(x.shape, axes, last)
    compiled.normalize_gradient(*memory, _contiguous(weight), eps, _memory(dx, last), dweight, dbias, settings)
    return dx, dweight, dbias


def _takes(axes: tuple[int, ...], x: np.ndarray, *others: np.ndarray | None) -> bool:
    """Whether the core normalizes these arrays over these axes: those of BatchNorm, GroupNorm and LayerNorm."""
    return axes in {(0, 1, 3), (1, 3), (3,)} and x.size > 0 and is_supported(x, *others)


def _empty(shape: tuple[int, ...], dtype: np.dtype, last: bool) -> np.ndarray:
    return batch_first(np.empty((*shape[1:], shape[0]), dtype)) if last else np.empty(shape, dtype)


def _memory(x: np.ndarray, last: bool) -> np.ndarray:
    """Return an array in the order of memory; copy it only if it has another layout."""
    return np.ascontiguousarray(batch_last(x) if last else x)


def _contiguous(x: np.ndarray | None) -> np.ndarray | None:
    return None if x is None else np.ascontiguousarray(x)


def _settings(shape: tuple[int, ...], axes: tuple[int, ...], last: bool) -> tuple[int, ...]:
    """Return the sizes that the core needs: see Normalization in kernels.hpp."""
    n, s, groups, channels = shape
    if last:  # (S, G, C, N)
        examples, images = 1 if 1 in axes else s, n
        reduced, width = (channels * n, 1) if 0 in axes else (channels, n)
        rows = s // examples
    else:
        examples, images = (1 if 0 in axes else n) * (1 if 1 in axes else s), 1
        reduced, width = channels, 1
        rows = n * s // examples
    kept, width = (groups, width) if reduced > 1 else (1, groups * width)
    return examples, rows, kept, reduced, width, images
