"""Softmax and its gradients by the compiled kernels."""

from collections.abc import Callable
from typing import Any

import numpy as np

from portanet import kernels
from portanet.backends.numpy import kernels as plain
from portanet.backends.numpy.core import compiled
from portanet.backends.numpy.core.memory import is_supported
from portanet.kernels.elementwise import scaled_by

FEW_CLASSES = 256
"""With up to this many classes, the core is faster for any number of rows."""


def softmax(x: np.ndarray) -> np.ndarray:
    """See :func:`portanet.kernels.softmax`."""
    return _call(compiled.softmax, kernels.softmax.portable, x, min_rows=16)


def softmax_gradient(dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    """See :func:`portanet.kernels.softmax_gradient`."""
    return _call(compiled.softmax_gradient, kernels.softmax_gradient.portable, dy, y)


def log_softmax(x: np.ndarray) -> np.ndarray:
    """See :func:`portanet.kernels.log_softmax`."""
    return _call(compiled.log_softmax, kernels.log_softmax.portable, x, min_rows=16)


def log_softmax_gradient(dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    """See :func:`portanet.kernels.log_softmax_gradient`."""
    return _call(compiled.log_softmax_gradient, kernels.log_softmax_gradient.portable, dy, y)


def sparse_softmax_cross_entropy(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keep the layout of the logits: the layer before computes faster with a gradient of the layout of its output."""
    if not _takes(logits, min_rows=2):
        return plain.sparse_softmax_cross_entropy(logits, labels)
    return _cross_entropy(logits, labels, 1.0)


def mean_cross_entropy(logits: np.ndarray, labels: np.ndarray) -> tuple[Any, Callable[[Any], Any]]:
    """Compute the gradient of the mean with the losses."""
    if not _takes(logits, min_rows=2):
        result: tuple[Any, Callable[[Any], Any]] = kernels.mean_cross_entropy.portable(logits, labels)
        return result
    losses, gradient = _cross_entropy(logits, labels, 1 / labels.size)
    mean = np.add.reduce(losses, None) / labels.size
    return mean, scaled_by(gradient)


def _cross_entropy(logits: np.ndarray, labels: np.ndarray, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the losses, and ``factor`` times their gradient."""
    flat = np.ascontiguousarray(labels.reshape(-1), np.int64)
    losses, gradient = np.empty(labels.shape, logits.dtype), np.empty(logits.shape, logits.dtype)
    compiled.sparse_softmax_cross_entropy(_rows(logits), flat, factor, losses.reshape(-1), _rows(gradient))
    fortran = logits.flags.f_contiguous and not logits.flags.c_contiguous
    return losses, gradient.copy("F") if fortran else gradient


def _call(
    function: Callable[..., None], portable: Callable[..., np.ndarray], *arrays: np.ndarray, min_rows: int = 1
) -> np.ndarray:
    """Return the result of a function of the core, of the shape of the last array, or that of the portable form."""
    like = arrays[-1]
    if not _takes(like, min_rows) or not is_supported(like, *arrays):
        return portable(*arrays)
    result = np.empty(like.shape, like.dtype)
    function(*map(_rows, arrays), _rows(result))
    return result


def _takes(x: np.ndarray, min_rows: int) -> bool:
    """Whether the core computes the softmax of this array; with many classes, only for at least ``min_rows`` rows."""
    if x.ndim == 0 or x.size == 0 or not is_supported(x):
        return False
    n_classes: int = x.shape[-1]
    return n_classes <= FEW_CLASSES or x.size // n_classes >= min_rows


def _rows(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x).reshape(-1, x.shape[-1])
