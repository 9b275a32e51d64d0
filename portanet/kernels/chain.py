"""Layers one after another: through each of them, and back through their pullbacks."""

from collections.abc import Sequence
from typing import Protocol

from portanet.kernels.dispatch import kernel
from portanet.typing import Array, Pullback


class Link(Protocol):
    """What a chain asks of a layer; :class:`portanet.Layer` says what each means."""

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]: ...
    def forward(self, x: Array) -> Array: ...
    def has_parameters(self) -> bool: ...


@kernel
def chain(x: Array, links: Sequence[Link], train: bool) -> tuple[Array, Pullback]:
    """Output of the last layer, and the pullback through all."""
    pullbacks = []
    for link in links:
        x, pullback = link.vjp(x, train=train)
        pullbacks.append(pullback)

    def pull(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
        # Below the first layer with parameters, only dx asks for gradients.
        first = 0 if need_dx else next((i for i, link in enumerate(links) if link.has_parameters()), len(links))
        for i in reversed(range(first, len(links))):
            dy = pullbacks[i](dy, need_dx=need_dx or i > first, need_grads=need_grads)
        return dy if need_dx else None

    return x, pull


@kernel
def chain_forward(x: Array, links: Sequence[Link]) -> Array:
    """Output of the last layer in inference; nothing is kept."""
    for link in links:
        x = link.forward(x)
    return x
