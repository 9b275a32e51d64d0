"""Softmax in the logarithm, which everything about class scores builds on."""

from portanet.backends import namespace
from portanet.kernels.dispatch import kernel
from portanet.typing import Array


@kernel
def log_softmax(x: Array) -> Array:
    """``x - log(sum(exp(x)))`` over the last axis; shifted by the maximum first, so that exp cannot overflow."""
    xp = namespace(x)
    shifted = x - xp.max(x, axis=-1, keepdims=True)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True))
