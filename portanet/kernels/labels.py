"""Kernels of class labels: one-hot vectors and accuracy."""

from typing import Any

from portanet.backends import namespace
from portanet.kernels.dispatch import kernel
from portanet.typing import Array


@kernel
def one_hot(labels: Array, n_classes: int, dtype: Any) -> Array:
    """One-hot vectors of class indices, shape (*labels.shape, n_classes); an index out of range gives zeros."""
    xp = namespace(labels)
    classes = xp.arange(n_classes, dtype=xp.int64, device=labels.device)  # in the dtype of labels it might overflow
    return xp.astype(xp.expand_dims(xp.astype(labels, xp.int64, copy=False), axis=-1) == classes, dtype)


@kernel
def accuracy(scores: Array, labels: Array) -> Array:
    """
    Fraction of rows whose largest score is at the label.

    NaN in a row, or a label out of range, counts as wrong; among equal scores, the first counts.

    Parameters
    ----------
    scores : array of float, shape (..., C)
    labels : array of int, shape (...)

    Returns
    -------
    array of float32, shape ()

    Examples
    --------
    >>> accuracy(np.asarray([[0.1, 0.9], [0.8, 0.2]]), np.asarray([1, 1]))
    np.float32(0.5)
    """
    xp = namespace(scores)
    hits = (xp.argmax(scores, axis=-1) == labels) & ~xp.isnan(xp.max(scores, axis=-1))
    return xp.mean(xp.astype(hits, xp.float32))
