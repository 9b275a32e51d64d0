"""Losses of classes, whose scores lie on axis 1."""

from typing import Any

from portanet import kernels
from portanet.onnx.operators.registry import operator
from portanet.typing import Array


@operator("NegativeLogLikelihoodLoss")
def negative_log_likelihood_loss(
    xp: Any,
    log_p: Array,
    target: Array,
    weight: Array | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Array:
    """Return ``-log p`` of the class of each example, weighted by its class; the mean is over the weights."""
    counted = xp.ones(target.shape, dtype=log_p.dtype, device=log_p.device)
    if ignore_index is not None:
        counted = xp.astype(target != ignore_index, log_p.dtype)
        target = xp.where(target == ignore_index, 0, target)
    if weight is not None:
        counted = counted * xp.reshape(xp.take(weight, xp.reshape(target, (-1,))), target.shape)
    chosen = xp.take_along_axis(log_p, xp.expand_dims(target, axis=1), axis=1)
    chosen = xp.where(counted > 0, xp.squeeze(chosen, axis=1), 0.0)  # a score of -inf that does not count adds nothing
    loss = -chosen * counted
    if reduction == "none":
        return loss
    return xp.sum(loss) / xp.sum(counted) if reduction == "mean" else xp.sum(loss)


@operator("SoftmaxCrossEntropyLoss")
def softmax_cross_entropy_loss(
    xp: Any,
    scores: Array,
    labels: Array,
    weights: Array | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> tuple[Array, Array]:
    """Return the loss of the softmax of scores, and its logarithm."""
    log_p = xp.moveaxis(kernels.log_softmax(xp.moveaxis(scores, 1, -1)), -1, 1)
    options = {"ignore_index": ignore_index, "reduction": reduction}
    return negative_log_likelihood_loss(xp, log_p, labels, weights, **options), log_p
