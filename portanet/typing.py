"""Types that are used in signatures."""

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

Array: TypeAlias = Any
"""An array of any backend. The Array API has no importable type, and a protocol would only restate it."""

Shape: TypeAlias = tuple[int, ...]

Shapes: TypeAlias = Any
"""A shape, or a tuple or dict of shapes, for layers that take or return several arrays."""


class Pullback(Protocol):
    """The function that ``layer.vjp`` returns with its output: it takes the gradient of the output to that of x."""

    def __call__(self, dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
        """Add to the parameters' gradients if ``need_grads``; return dx if ``need_dx``, else None."""


LossPullback: TypeAlias = Callable[..., Array]
"""``pullback(dloss=1.0)``: d loss / d prediction, times ``dloss``."""


class Ranks(Protocol):
    """What layers and models need of a :class:`portanet.distributed.Communicator`."""

    rank: int
    size: int

    def all_reduce(self, array: Array) -> None: ...
    def all_gather(self, value: Any, what: str = ...) -> list[Any]: ...
