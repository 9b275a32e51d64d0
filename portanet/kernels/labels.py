"""Class indices as vectors."""

from typing import Any

from portanet.backends import namespace
from portanet.kernels.dispatch import kernel
from portanet.typing import Array


@kernel
def one_hot(labels: Array, n_classes: int, dtype: Any) -> Array:
    """Rows of a unit matrix, shape (*labels.shape, n_classes); an index out of range gives zeros."""
    xp = namespace(labels)
    classes = xp.arange(n_classes, dtype=labels.dtype, device=labels.device)
    return xp.astype(xp.expand_dims(labels, axis=-1) == classes, dtype)
