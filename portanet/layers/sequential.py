"""Layers one after another."""

from collections.abc import Iterator
from typing import Any, overload

from portanet import kernels
from portanet.layers.base import Layer, check_layer
from portanet.typing import Array, Pullback, Shape


class Sequential(Layer):
    """
    A network: each layer takes the output of the one before.

    It is a list: ``net[0]`` is a layer, ``net[:2]`` a network that shares its weights (its output is a hidden
    representation), and layers may be nested, appended and popped.

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
        for layer in layers:
            check_layer(layer)
        self.layers = list(layers)

    def arguments(self) -> dict[str, Any]:
        given = super().arguments()  # a subclass has arguments of its own, from which it makes its layers
        return {**given, "layers": tuple(self.layers)} if "layers" in given else given

    def children(self) -> Iterator[tuple[str, Layer]]:
        return ((str(i), layer) for i, layer in enumerate(self.layers))

    def output_shape(self, shape: Shape) -> Shape:
        for i, layer in enumerate(self.layers):
            try:
                shape = layer.output_shape(shape)
            except ValueError as error:
                where = f"layer {i}, after {self.layers[i - 1]!r}" if i else "layer 0"
                raise ValueError(f"{where}: {error}") from None
        return shape

    def forward(self, x: Array) -> Array:
        return kernels.chain_forward(x, self._in_order())

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        return kernels.chain(x, self._in_order(), train)

    def _in_order(self) -> list[Layer]:
        """Layers as they are computed: a maximum before a rising curve, which then has fewer numbers to go through."""
        layers = list(self.layers)
        for i in range(len(layers) - 1):
            if layers[i].rising and layers[i + 1].takes_maximum:
                layers[i], layers[i + 1] = layers[i + 1], layers[i]
        return layers

    def by_example(self, train: bool) -> bool:
        return all(layer.by_example(train) for layer in self.layers)

    def append(self, layer: Layer) -> None:
        """
        Add a layer at the end; the weights of the others stay.

        Examples
        --------
        >>> net = Sequential(portanet.Linear(4, 3))
        >>> net.append(portanet.TanH())
        >>> net
        Sequential(Linear(4, 3), TanH())
        """
        check_layer(layer)
        self.layers.append(layer)
        self._flat = None

    def pop(self, index: int = -1) -> Layer:
        """Take a layer out and return it, with its weights."""
        layer = self.layers.pop(index)
        self._flat = None
        return layer

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
