"""Layers one after another."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, overload

from portanet.layers.base import Layer, check_layer
from portanet.typing import Array, Pullback, Shape

__all__ = ["Sequential"]


class Differentiable(Protocol):
    """A layer, or what an executor makes of some."""

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]: ...


def vjp_of_chain(
    layers: Sequence[Differentiable], trained: Sequence[bool], x: Array, *, train: bool
) -> tuple[Array, Pullback]:
    """
    Return the output of layers one after another, and the pullback through them in reverse order.

    ``trained`` says which layers need gradients. Where nobody asks for dx, the pullback ends at the first of them.
    """
    pullbacks = []
    for layer in layers:
        x, pullback = layer.vjp(x, train=train)
        pullbacks.append(pullback)

    def pullback_all(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
        first = 0 if need_dx else trained.index(True) if True in trained else len(pullbacks)
        for i in range(len(pullbacks) - 1, first - 1, -1):
            dy = pullbacks[i](dy, need_dx=need_dx or i > first, need_grads=need_grads and trained[i])
        return dy if need_dx else None

    return x, pullback_all


class Sequential(Layer):
    """
    A network: each layer takes the output of the one before.

    ``y = fₙ(... f₂(f₁(x)))``, and the gradient goes back through the layers in reverse order. ``net[0]`` is a layer,
    ``net[:2]`` a network that shares its weights: its output is a hidden representation. Layers may be nested. As in a
    list, ``net[-1] = Linear(10)``, ``append``, ``insert`` and ``pop`` change the layers; the others keep their weights.

    Parameters
    ----------
    *layers : Layer
        In order.

    Examples
    --------
    >>> net = Sequential(portanet.Linear(784, 100), portanet.Sigmoid(), portanet.Linear(100, 10))
    >>> net(np.zeros((5, 784), dtype="float32")).shape
    (5, 10)
    >>> net[:2]
    Sequential(Linear(784, 100), Sigmoid())
    """

    def __init__(self, *layers: Layer):
        self.layers: list[Layer] = [check_layer(f"layer {i}", layer) for i, layer in enumerate(layers)]

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        return vjp_of_chain(self.layers, [layer.topology.trainable for layer in self.layers], x, train=train)

    def forward(self, x: Array) -> Array:
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def _accepts_several(self) -> bool:
        return bool(self.layers) and self.layers[0]._accepts_several()

    def _members(self) -> Iterator[tuple[str, Any]]:
        return ((str(i), layer) for i, layer in enumerate(self.layers))

    def output_shape(self, shape: Shape) -> Shape:
        for i, layer in enumerate(self.layers):
            try:
                shape = layer.output_shape(shape)
            except ValueError as error:
                where = f"layer {i}, after {self.layers[i - 1]!r}" if i else "layer 0"
                raise ValueError(f"{where}: {error}") from None
        return shape

    def _children_with_shapes(self, shape: Shape) -> Iterator[tuple[str, Layer, Shape]]:
        for i, layer in enumerate(self.layers):
            yield str(i), layer, shape
            shape = layer.output_shape(shape)

    def append(self, layer: Layer) -> None:
        """Add a layer at the end; the weights of the others stay."""
        self.insert(len(self.layers), layer)

    def insert(self, index: int, layer: Layer) -> None:
        """Add a layer before the one at an index; the weights of the others stay."""
        self.layers.insert(index, check_layer("layer", layer))
        if self.frozen:
            self.freeze()

    def pop(self, index: int = -1) -> Layer:
        """Take a layer out and return it, with its weights."""
        return self.layers.pop(index)

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    @overload
    def __getitem__(self, index: int) -> Layer: ...
    @overload
    def __getitem__(self, index: slice) -> "Sequential": ...
    def __getitem__(self, index: int | slice) -> Layer:
        return Sequential(*self.layers[index]) if isinstance(index, slice) else self.layers[index]

    def __setitem__(self, index: int, layer: Layer) -> None:
        self.layers[index] = check_layer("layer", layer)
        if self.frozen:
            self.freeze()

    def __delitem__(self, index: int) -> None:
        del self.layers[index]


def first_layer(net: Layer) -> Layer:
    """
    Return the layer that takes the input.

    Examples
    --------
    >>> first_layer(portanet.Sequential(portanet.Sequential(portanet.Normalize(4)), portanet.ReLU()))
    Normalize(4)
    """
    while isinstance(net, Sequential) and len(net):
        net = net[0]
    return net
