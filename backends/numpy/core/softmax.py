"""Softmax and sigmoid by the compiled kernels."""

import numpy as np

from portanet import kernels
from portanet.backends.numpy import kernels as plain
from portanet.backends.numpy.core import compiled
from portanet.backends.numpy.layout import batch_last, is_batch_last

FEW_CLASSES = 256
"""Up to so many classes, a block of rows takes no longer than NumPy, however few of its rows there are."""


def log_softmax(x: np.ndarray) -> np.ndarray:
    """See :func:`portanet.kernels.log_softmax`."""
    if not _takes(x, min_rows=16):
        result: np.ndarray = kernels.log_softmax.portable(x)
        return result
    y = np.empty(x.shape, x.dtype)
    compiled.log_softmax(_rows(x), _rows(y))
    return y


def sparse_softmax_cross_entropy(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keep the layout of the logits: the layer before computes faster with a gradient of the layout of its output."""
    if not _takes(logits, min_rows=2):
        return plain.sparse_softmax_cross_entropy(logits, labels)
    flat = np.ascontiguousarray(labels.reshape(-1), np.int64)
    losses, gradient = np.empty(labels.shape, logits.dtype), np.empty(logits.shape, logits.dtype)
    compiled.sparse_softmax_cross_entropy(_rows(logits), flat, losses.reshape(-1), _rows(gradient))
    fortran = logits.flags.f_contiguous and not logits.flags.c_contiguous
    return losses, gradient.copy("F") if fortran else gradient


def sigmoid(x: np.ndarray) -> np.ndarray:
    """See :func:`portanet.kernels.sigmoid`."""
    if x.dtype.char not in "fd" or not (x.flags.forc or is_batch_last(x)):
        return plain.sigmoid(x)
    y = np.empty_like(x)
    if x.flags.c_contiguous:
        compiled.sigmoid(x, y)
    elif x.flags.f_contiguous:
        compiled.sigmoid(x.T, y.T)
    else:
        compiled.sigmoid(batch_last(x), batch_last(y))
    return y


def _takes(x: np.ndarray, min_rows: int) -> bool:
    """Whether the core computes the softmax of this array: of many classes, if there are so many rows."""
    if x.ndim == 0 or x.size == 0 or x.dtype.char not in "fd":
        return False
    n_classes: int = x.shape[-1]
    return n_classes <= FEW_CLASSES or x.size // n_classes >= min_rows


def _rows(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x).reshape(-1, x.shape[-1])
