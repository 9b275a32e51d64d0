"""Layers one after another, with what a pullback asks about them found once."""

from collections.abc import Sequence
from typing import Protocol

from portanet.layers.sequential import Differentiable, vjp_of_chain
from portanet.typing import Array, Pullback


class Runnable(Differentiable, Protocol):
    """A layer, or a segment of layers."""

    def forward(self, x: Array) -> Array: ...


class Chain:
    """
    Layers one after another, as in :class:`portanet.Sequential`.

    Parameters
    ----------
    layers : sequence of layers or segments
        In order.
    """

    def __init__(self, layers: Sequence[Runnable]):
        self.layers = tuple(layers)
        self._trained = [is_trained(layer) for layer in layers]
        self.trained = any(self._trained)

    def forward(self, x: Array) -> Array:
        """Return the output of inference."""
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        """Return output and pullback."""
        return vjp_of_chain(self.layers, self._trained, x, train=train)


def is_trained(layer: Runnable) -> bool:
    """Whether a layer or segment has parameters that are not frozen."""
    topology = getattr(layer, "topology", None)
    return bool(topology.trainable if topology is not None else layer.trained)  # type: ignore[attr-defined]
