"""Layers applied one after another, and their pullbacks in reverse order."""

from collections.abc import Sequence
from typing import Protocol

from portanet.kernels.dispatch import kernel
from portanet.typing import Array, Pullback


class Chainable(Protocol):
    """The methods of :class:`portanet.Layer` that a chain calls."""

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]: ...
    def forward(self, x: Array) -> Array: ...
    def has_parameters(self) -> bool: ...


@kernel
def chain(x: Array, layers: Sequence[Chainable], train: bool) -> tuple[Array, Pullback]:
    """Output of the last layer, and the pullback through all layers."""
    pullbacks = []
    for layer in layers:
        x, layer_pullback = layer.vjp(x, train=train)
        pullbacks.append(layer_pullback)

    def pullback(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
        # Without need_dx, layers before the first one with parameters have nothing to compute.
        first = 0 if need_dx else next((i for i, layer in enumerate(layers) if layer.has_parameters()), len(layers))
        for i in reversed(range(first, len(layers))):
            dy = pullbacks[i](dy, need_dx=need_dx or i > first, need_grads=need_grads)
        return dy if need_dx else None

    return x, pullback


@kernel
def chain_forward(x: Array, layers: Sequence[Chainable]) -> Array:
    """Output of the last layer in inference; nothing is kept for a gradient."""
    for layer in layers:
        x = layer.forward(x)
    return x
