"""Several layers that few calls of kernels compute together."""

from collections.abc import Sequence
from typing import Any

from portanet.parameters import Parameter
from portanet.typing import Array, Pullback


class Segment:
    """
    Base of segments: layers one after another, whose parameters are all trained and used nowhere else.

    The pullback overwrites the gradients, where that of a layer adds to them.

    Parameters
    ----------
    layers : sequence of Layer
        In order; they have weights.
    """

    trained = True

    def __init__(self, layers: Sequence[Any]):
        self.layers = tuple(layers)
        self.parameters: list[Parameter] = [parameter for layer in layers for parameter in layer.parameters()]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.layers))})"

    def forward(self, x: Array) -> Array:
        """Return the output of inference."""
        return self.vjp(x, train=False)[0]

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        """Return output and pullback."""
        raise NotImplementedError(f"{type(self).__name__} needs a method vjp(self, x, *, train=True)")
