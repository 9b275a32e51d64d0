"""Networks with several inputs and outputs, and branches that meet again."""

from collections.abc import Iterator
from typing import Any, TypeAlias

from portanet.backends import namespace
from portanet.checks import shown
from portanet.layers.base import Layer, check_layer
from portanet.layers.sequential import first_layer
from portanet.tree import is_shape, is_tree
from portanet.typing import Array, Pullback, Shapes

__all__ = ["Graph"]

Names: TypeAlias = str | tuple[str, ...]
"""One name, or those of a tuple of arrays."""

Node: TypeAlias = tuple[Layer, Names, Names]
"""A layer, what it takes, and what it gives."""


class Graph(Layer):
    """
    A network of nodes, each a layer with the names of what it takes and of what it gives.

    Names that no node gives are the inputs. With several inputs, x is a dict of arrays, or a tuple in the order of
    ``net.inputs``; with several outputs, y is a dict. Back-propagation visits the nodes in reverse order; the gradient
    of a value is the sum over the nodes that take it.

    Parameters
    ----------
    *nodes : tuple (layer, takes, gives)
        ``takes`` and ``gives`` are names. A layer of several arrays takes a tuple of names, and one that returns a
        tuple gives one. Nodes come after those whose values they take.
    outputs : str or tuple of str, optional
        By default the values that no node takes.

    Raises
    ------
    ValueError
        If a name is given twice, or taken before it is given.

    Examples
    --------
    Two inputs, one output:

    >>> net = Graph(
    ...     (portanet.Linear(6, 4), "user", "u"),
    ...     (portanet.Linear(9, 4), "item", "v"),
    ...     (portanet.Dot(), ("u", "v"), "score"),
    ... )
    >>> x = {"user": np.ones((2, 6), dtype="float32"), "item": np.ones((2, 9), dtype="float32")}
    >>> net.inputs, net.outputs, net(x).shape
    (('user', 'item'), 'score', (2, 1))

    One input, two outputs:

    >>> net = Graph(
    ...     (portanet.Linear(6, 2), "x", "code"),
    ...     (portanet.Linear(2, 6), "code", "copy"),
    ...     (portanet.Linear(2, 3), "code", "label"),
    ... )
    >>> {name: y.shape for name, y in net(x["user"]).items()}
    {'copy': (2, 6), 'label': (2, 3)}
    """

    takes_several = True

    def __init__(self, *nodes: Node, outputs: Names | None = None):
        if not nodes:
            raise ValueError("Graph needs at least one node (layer, takes, gives)")
        self.nodes: tuple[Node, ...] = tuple(_check_node(i, node) for i, node in enumerate(nodes))
        taken = dict.fromkeys(name for _, takes, _ in self.nodes for name in _tuple(takes))
        given = dict.fromkeys(name for _, _, gives in self.nodes for name in _tuple(gives))
        self.inputs: tuple[str, ...] = tuple(name for name in taken if name not in given)
        known = set(self.inputs)
        for i, (_, takes, gives) in enumerate(self.nodes):
            if early := [name for name in _tuple(takes) if name not in known]:
                raise ValueError(
                    f"node {i} takes {early[0]!r}, which it or a later node gives: take what is given before"
                )
            if twice := [name for name in _tuple(gives) if name in known or _tuple(gives).count(name) > 1]:
                raise ValueError(f"node {i} gives {twice[0]!r}, which is given already: choose another name")
            known.update(_tuple(gives))
        ends = tuple(name for name in given if name not in taken)
        self.outputs: Names = (
            (ends[0] if len(ends) == 1 else ends) if outputs is None else _check_names("outputs", outputs)
        )
        if unknown := [name for name in _tuple(self.outputs) if name not in given]:
            raise ValueError(f"outputs names {unknown[0]!r}, which no node gives: choose among {', '.join(given)}")

    def vjp(self, x: Any, *, train: bool = True) -> tuple[Any, Pullback]:
        values, pullbacks = self.by_name(x), []
        for layer, takes, gives in self.nodes:
            y, pullback = layer.vjp(take_values(values, takes), train=train)
            values |= name_values(gives, y)
            pullbacks.append(pullback)

        def pullback_all(dy: Any, *, need_dx: bool = True, need_grads: bool = True) -> Any:
            gradients = dict(dy) if isinstance(self.outputs, tuple) else {self.outputs: dy}
            needed = self._needed(need_dx)
            for (layer, takes, gives), pull in zip(reversed(self.nodes), reversed(pullbacks), strict=True):
                taken, given = {*_tuple(takes)}, {*_tuple(gives)}
                if not gradients.keys() & given or not needed & given:
                    continue
                dgiven = {name: gradients.pop(name, None) for name in _tuple(gives)}
                filled = {name: _zeros(values[name]) if d is None else d for name, d in dgiven.items()}
                options = {"need_dx": bool(needed & taken), "need_grads": need_grads and layer.topology.trainable}
                dtaken = pull(take_values(filled, gives), **options)
                if options["need_dx"]:
                    pairs = zip(takes, dtaken, strict=True) if isinstance(takes, tuple) else [(takes, dtaken)]
                    for name, d in pairs:  # a node may take a value twice
                        gradients[name] = gradients[name] + d if name in gradients else d
            return self._like(x, gradients, values) if need_dx else None

        return self._output(values), pullback_all

    def forward(self, x: Any) -> Any:
        values = self.by_name(x)
        for layer, takes, gives in self.nodes:
            values |= name_values(gives, layer.forward(take_values(values, takes)))
        return self._output(values)

    def output_shape(self, shape: Shapes) -> Shapes:
        shapes = self.by_name(shape)
        for i, (layer, takes, gives) in enumerate(self.nodes):
            try:
                shapes |= name_values(gives, layer.output_shape(take_values(shapes, takes)))
            except ValueError as error:
                raise ValueError(f"node {i}, {takes!r} to {gives!r}: {error}") from None
        return self._output(shapes)

    def _members(self) -> Iterator[tuple[str, Any]]:
        return (("_".join(_tuple(gives)), layer) for layer, _, gives in self.nodes)

    def _children_with_shapes(self, shape: Shapes) -> Iterator[tuple[str, Layer, Shapes]]:
        shapes = self.by_name(shape)
        for name, (layer, takes, gives) in zip(dict(self._members()), self.nodes, strict=True):
            yield name, layer, take_values(shapes, takes)
            shapes |= name_values(gives, layer.output_shape(take_values(shapes, takes)))

    def by_name(self, x: Any) -> dict[str, Any]:
        """Return the inputs, or their shapes, by name."""
        if isinstance(x, dict):
            if x.keys() != {*self.inputs}:
                raise ValueError(f"x must have the arrays {', '.join(self.inputs)}, got {', '.join(map(str, x))}")
            return dict(x)
        if len(self.inputs) == 1 and not (isinstance(x, tuple) and len(x) == 1 and not is_shape(x)):
            return {self.inputs[0]: x}
        if not isinstance(x, tuple) or len(x) != len(self.inputs) or any(isinstance(one, int) for one in x):
            names = ", ".join(self.inputs)
            raise ValueError(f"x must be a dict with the arrays {names}, or a tuple of them, got {shown(x)}")
        return dict(zip(self.inputs, x, strict=True))

    def _like(self, x: Any, gradients: dict[str, Any], values: dict[str, Any]) -> Any:
        """Return the gradients of the inputs in the structure of x."""
        dx = {name: gradients[name] if name in gradients else _zeros(values[name]) for name in self.inputs}
        if isinstance(x, dict):
            return {name: dx[name] for name in x}
        return tuple(dx.values()) if isinstance(x, tuple) else dx[self.inputs[0]]

    def _output(self, values: dict[str, Any]) -> Any:
        several = isinstance(self.outputs, tuple)
        return {name: values[name] for name in self.outputs} if several else values[str(self.outputs)]

    def _needed(self, need_dx: bool) -> set[str]:
        """Return the names of values whose gradients lead to a parameter, or to x if that is asked for."""
        needed = {*self.inputs} if need_dx else set()
        for layer, takes, gives in self.nodes:
            if layer.topology.trainable or needed & {*_tuple(takes)}:
                needed.update(_tuple(gives))
        return needed


def _tuple(names: Names) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names


def take_values(values: dict[str, Any], names: Names) -> Any:
    """
    Return one value, or a tuple of several.

    Examples
    --------
    >>> take_values({"a": 1, "b": 2}, "a"), take_values({"a": 1, "b": 2}, ("b", "a"))
    (1, (2, 1))
    """
    return values[names] if isinstance(names, str) else tuple(values[name] for name in names)


def name_values(names: Names, values: Any) -> dict[str, Any]:
    """
    Return one value, or the values of a tuple, by name.

    Examples
    --------
    >>> name_values("a", 1), name_values(("a", "b"), (1, 2))
    ({'a': 1}, {'a': 1, 'b': 2})
    """
    if isinstance(names, str):
        return {names: values}
    if not isinstance(values, tuple) or len(values) != len(names):
        raise ValueError(
            f"{', '.join(names)} must come from a layer that returns a tuple of {len(names)}, got {shown(values)}"
        )
    return dict(zip(names, values, strict=True))


def _zeros(array: Array) -> Array:
    return namespace(array).zeros_like(array)


def _check_names(name: str, value: Any) -> Names:
    names = tuple(value) if isinstance(value, (list, tuple)) else value
    listed = names if isinstance(names, tuple) else (names,)
    if not listed or not all(isinstance(one, str) and one.isidentifier() for one in listed):
        raise ValueError(f"{name} must be a name of letters, digits and _, or a tuple of names, got {shown(value)}")
    return names


def _check_node(i: int, node: Any) -> Node:
    if not isinstance(node, (list, tuple)) or len(node) != 3:
        raise ValueError(f"node {i} must be a tuple (layer, takes, gives), got {shown(node)}")
    layer, takes, gives = node
    if isinstance(takes, (list, tuple)) and isinstance(layer, Layer) and not layer._accepts_several():
        raise ValueError(f"node {i}: {layer!r} takes one array, got {', '.join(map(str, takes))}")
    return (
        check_layer(f"node {i}", layer),
        _check_names(f"node {i} takes", takes),
        _check_names(f"node {i} gives", gives),
    )


def first_layers(net: Layer, x: Any) -> list[Layer]:
    """
    Return the layer that takes each array of x; none, if that is not known.

    Examples
    --------
    >>> net = Graph((portanet.Embedding(9, 4), "ids", "a"), (portanet.Linear(2, 4), "sizes", "b"))
    >>> first_layers(net, {"sizes": 0, "ids": 1})
    [Linear(2, 4), Embedding(9, 4)]
    """
    first = first_layer(net)
    if isinstance(first, Graph):
        known = first.by_name(x)  # refuses other names
        return [_taker(first, name) for name in (x if isinstance(x, dict) else known)]
    return [] if is_tree(x) else [first]


def _taker(graph: Graph, name: str) -> Layer:
    """Return the first layer that takes a value, also in a graph within."""
    layer, takes, _ = next(node for node in graph.nodes if name in _tuple(node[1]))
    first = first_layer(layer)
    return _taker(first, first.inputs[_tuple(takes).index(name)]) if isinstance(first, Graph) else first
