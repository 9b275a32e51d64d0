"""Softmax, log-softmax, and the cross-entropy of softmax with class labels."""

import math
from collections.abc import Callable

from portanet.backends import namespace
from portanet.kernels.dispatch import kernel
from portanet.kernels.labels import one_hot
from portanet.typing import Array


@kernel
def softmax(x: Array) -> Array:
    """``exp(x) / sum(exp(x))`` over the last axis, in the shape of ``x``."""
    xp = namespace(x)
    if 0 in x.shape:  # an axis of length 0 has no maximum
        return xp.zeros_like(x)
    e = xp.exp(x - xp.max(x, axis=-1, keepdims=True))  # cannot overflow
    return e / xp.sum(e, axis=-1, keepdims=True)


@kernel
def softmax_gradient(dy: Array, y: Array) -> Array:
    """Return dx of ``y = softmax(x)``: ``y (dy - sum(y dy))``."""
    return y * (dy - namespace(y).sum(y * dy, axis=-1, keepdims=True))


@kernel
def log_softmax(x: Array) -> Array:
    """``x - log(sum(exp(x)))`` over the last axis, in the shape of ``x``."""
    xp = namespace(x)
    if 0 in x.shape:  # an axis of length 0 has no maximum
        return xp.zeros_like(x)
    shifted = x - xp.max(x, axis=-1, keepdims=True)  # so that exp cannot overflow
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True))


@kernel
def log_softmax_gradient(dy: Array, y: Array) -> Array:
    """Return dx of ``y = log_softmax(x)``: ``dy - exp(y) sum(dy)``."""
    xp = namespace(y)
    return dy - xp.exp(y) * xp.sum(dy, axis=-1, keepdims=True)


@kernel
def mean_cross_entropy(logits: Array, labels: Array) -> tuple[Array, Callable[[float | Array], Array]]:
    """
    Mean of :func:`sparse_softmax_cross_entropy`, and its pullback.

    Parameters
    ----------
    logits : array of float, shape (..., C)
    labels : array of int, shape (...)
        Class indices. An index out of range has loss and gradient 0, and counts in the mean.

    Returns
    -------
    mean : array, shape ()
    pullback : callable
        Returns the gradient of ``dloss`` times the mean with respect to the logits, shape (..., C).

    Examples
    --------
    >>> mean, pullback = mean_cross_entropy(np.zeros((2, 2)), np.asarray([1, 0]))
    >>> mean.round(4), pullback(1.0)
    (np.float64(0.6931), array([[ 0.25, -0.25],
           [-0.25,  0.25]]))
    """
    losses, gradient = sparse_softmax_cross_entropy(logits, labels)
    n = max(1, math.prod(losses.shape))
    return namespace(losses).sum(losses) / n, lambda dloss: gradient * (dloss / n)


@kernel
def sparse_softmax_cross_entropy(logits: Array, labels: Array) -> tuple[Array, Array]:
    """
    Cross-entropy of softmax with the class label of each row, and its gradient.

    Parameters
    ----------
    logits : array of float, shape (..., C)
    labels : array of int, shape (...)
        Class indices. An index out of range has loss and gradient 0.

    Returns
    -------
    losses : array, shape (...)
        ``-log softmax(logits)[label]`` in nats, not reduced.
    gradient : array, shape (..., C)
        Of each loss with respect to its logits: ``softmax(logits) - one_hot(label)``.

    Examples
    --------
    >>> losses, gradient = sparse_softmax_cross_entropy(np.zeros((1, 2)), np.asarray([1]))
    >>> losses.round(4), gradient
    (array([0.6931]), array([[ 0.5, -0.5]]))
    """
    xp, log_p = namespace(logits), log_softmax(logits)
    target = one_hot(labels, logits.shape[-1], logits.dtype)
    # Not target * log_p: a logit of -inf, a masked class, would give 0 * -inf = NaN.
    losses = -xp.sum(xp.where(target > 0, log_p, 0.0), axis=-1)
    return losses, xp.exp(log_p) * xp.sum(target, axis=-1, keepdims=True) - target
