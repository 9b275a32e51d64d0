"""Class labels as one-hot vectors."""

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
