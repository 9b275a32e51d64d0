"""The types that signatures speak of."""

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

Array: TypeAlias = Any
"""An array of any backend. The Array API has no importable type, and a protocol would only restate it."""

Shape: TypeAlias = tuple[int, ...]


class Pullback(Protocol):
    """What ``layer.vjp`` returns beside its output: it carries a gradient back through the layer."""

    def __call__(self, dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
        """Add to the parameters' gradients if asked, and return dx if asked (else None)."""


LossPullback: TypeAlias = Callable[..., Array]
"""``pullback(dloss=1.0)``: d loss / d prediction, times ``dloss``."""
