"""Softmax in the logarithm, which everything about class scores builds on."""

from portanet.backends import namespace
from portanet.kernels.dispatch import kernel
from portanet.kernels.labels import one_hot
from portanet.typing import Array


@kernel
def log_softmax(x: Array) -> Array:
    """``x - log(sum(exp(x)))`` over the last axis; shifted by the maximum first, so that exp cannot overflow."""
    xp = namespace(x)
    shifted = x - xp.max(x, axis=-1, keepdims=True)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True))


@kernel
def sparse_softmax_cross_entropy(scores: Array, labels: Array) -> tuple[Array, Array]:
    """
    Cross-entropy of softmax with the class of each row, and its gradient.

    Parameters
    ----------
    scores : array of float, shape (..., C)
    labels : array of int, shape (...)
        Index of the class; one out of range counts as no class.

    Returns
    -------
    terms : array, shape (...)
        ``-log softmax(scores)[label]``.
    gradient : array, shape (..., C)
        Of each term with respect to its scores: ``softmax(scores) - one_hot(label)``.

    Examples
    --------
    >>> terms, gradient = sparse_softmax_cross_entropy(np.zeros((1, 2)), np.asarray([1]))
    >>> terms.round(4), gradient
    (array([0.6931]), array([[ 0.5, -0.5]]))
    """
    xp, log_p = namespace(scores), log_softmax(scores)
    target = one_hot(labels, scores.shape[-1], scores.dtype)
    # A score of -inf, a class that is masked, has no part where its target is 0.
    terms = -xp.sum(xp.where(target > 0, log_p, 0.0), axis=-1)
    return terms, xp.exp(log_p) * xp.sum(target, axis=-1, keepdims=True) - target
