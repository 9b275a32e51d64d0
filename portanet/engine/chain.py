"""Layers one after another, with what a pullback asks about them found once."""

from collections.abc import Sequence
from typing import Protocol

from portanet.typing import Array, Pullback


class Runnable(Protocol):
    """A layer, or a segment of layers."""

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]: ...
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
        self._first = self._trained.index(True) if any(self._trained) else len(layers)

    @property
    def trained(self) -> bool:
        """Whether any layer is trained."""
        return self._first < len(self.layers)

    def forward(self, x: Array) -> Array:
        """Return the output of inference."""
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        """Return output and pullback."""
        pullbacks = []
        for layer in self.layers:
            x, pullback = layer.vjp(x, train=train)
            pullbacks.append(pullback)

        def pullback_all(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            first = 0 if need_dx else self._first  # below the first trained layer, only dx asks for gradients
            for i in range(len(pullbacks) - 1, first - 1, -1):
                dy = pullbacks[i](dy, need_dx=need_dx or i > first, need_grads=need_grads and self._trained[i])
            return dy if need_dx else None

        return x, pullback_all


def is_trained(layer: Runnable) -> bool:
    """Whether a layer or segment has parameters that are not frozen."""
    topology = getattr(layer, "topology", None)
    return bool(topology.trainable if topology is not None else layer.trained)  # type: ignore[attr-defined]
