"""
Which positions of a sequence are padding.

Sequences of unequal length are made equal by positions whose features are all zero, as ``Embedding(padding_idx=0)``
returns them for the id 0. A layer with ``mask_zeros=True`` does not look at these positions, and its output there is
zero, so that the next layer sees them, too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from portanet.backends import namespace
from portanet.typing import Array


def padding_mask(x: Array, dtype: Any) -> Array:
    """
    Return 1 for each position of x (N, T, D) that holds data, and 0 for padding: shape (N, T, 1).

    Examples
    --------
    >>> padding_mask(np.asarray([[[0.0, 2.0], [0.0, 0.0]]]), "float64").tolist()
    [[[1.0], [0.0]]]
    """
    xp = namespace(x)
    return xp.astype(xp.any(x != 0, axis=-1, keepdims=True), dtype)


_mask: ContextVar[Array | None] = ContextVar("mask", default=None)


def current_mask() -> Array | None:
    """Return the mask of the layer around, or None."""
    return _mask.get()


@contextmanager
def mask_as(mask: Array | None) -> Iterator[None]:
    """Let the layers within know the mask, where their own input no longer shows it."""
    token = _mask.set(mask)
    try:
        yield
    finally:
        _mask.reset(token)
