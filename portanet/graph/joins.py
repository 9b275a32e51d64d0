"""Graphs of several inputs or outputs, or of joins that no Residual or Parallel has, as a :class:`portanet.Graph`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from portanet import layers
from portanet.graph.blocks import OTHER_JOIN, as_layer, import_nodes
from portanet.graph.flow import Arrays, Features, Flow, Node, WrongOrder
from portanet.graph.network import check_output, orders_of, prepare
from portanet.graph.order import takes_ids
from portanet.graph.parts import JOINS, Part, divide, join_dots
from portanet.graph.recurrent import GATES, import_with_states
from portanet.graph.table import as_node_errors
from portanet.layers.graph import Node as GraphNode
from portanet.typing import Shape

MAX_INPUTS = 256
"""Most inputs: parts of the graph are read again for each input of which the first order of axes does not fit."""


class Source(NamedTuple):
    """
    An input of a graph.

    Parameters
    ----------
    lengths : tuple of int
        Shape of one example in the graph.
    n_examples : int
        Number of examples for which the graph was written; 0 for any number.
    is_ids : bool
        Whether it holds integers for an Embedding.
    """

    lengths: Shape
    n_examples: int = 0
    is_ids: bool = False


def import_joins(
    sources: Mapping[str, Source], nodes: Sequence[Node], targets: Sequence[str]
) -> tuple[layers.Graph, Arrays]:
    """
    Return a graph as a :class:`portanet.Graph`, with the values of its layers.

    Each join is a node, and so are the layers between two joins. An input that the nodes do not take in one order of
    axes is taken in the other one, as in :func:`portanet.graph.network.import_graph`.

    Parameters
    ----------
    sources : dict of str to Source
        The inputs by name.
    nodes : sequence of Node
        In order, each after those that it needs.
    targets : sequence of str
        Names of the outputs.

    Raises
    ------
    ValueError
        If a node cannot become a layer, an output is an input or has neither order of axes, an input is not used, or
        there are too many nodes or inputs.
    """
    if len(sources) > MAX_INPUTS:
        raise ValueError(f"it has {len(sources):,} inputs, more than {MAX_INPUTS}")
    nodes = prepare(nodes, sources, targets)
    parts = divide(join_dots(nodes, targets), sources, targets)
    arrays: Arrays = {}
    orders = {name: [replace(flow, arrays=arrays) for flow in _orders(name, sources[name], nodes)] for name in sources}
    return _graph(parts, _import_parts(parts, orders, targets), sources, targets), arrays


def _orders(name: str, source: Source, nodes: Sequence[Node]) -> list[Flow]:
    """Return an input in the orders of axes that it may have; ids keep theirs."""
    if source.is_ids:
        return [Flow(source.lengths, tuple(range(len(source.lengths) + 1)), n_examples=source.n_examples)]
    return orders_of(source.lengths, _after(name, nodes), n_examples=source.n_examples)


def _after(name: str, nodes: Sequence[Node]) -> Iterator[Node]:
    """Yield the nodes that depend on a value."""
    known = {name}
    for node in nodes:
        if not known.isdisjoint(node.varying):
            known.update(node.outputs)
            yield node


def _import_parts(parts: Sequence[Part], orders: dict[str, list[Flow]], targets: Sequence[str]) -> dict[str, Flow]:
    """Return each value with the layers of its part; an input whose order of axes does not fit is read in the other."""
    flows = {name: first for name, (first, *_) in orders.items()}
    origins = {name: name for name in orders}  # for each value, the input from which it has its order of axes
    failures: list[tuple[bool, int, ValueError]] = []
    while True:
        try:
            for part in parts:
                if any(name not in flows for name in part.gives if name):
                    reordered = [name for name in part.takes if not flows[name].is_channels_last]
                    at = origins[(reordered or part.takes)[0]]
                    origins |= dict.fromkeys(part.gives, at)
                    found = _import_part(part, [flows[name] for name in part.takes])
                    flows |= zip(part.gives, found, strict=True)
            for target in targets:
                at = origins[target]
                check_output(flows[target], target)
            return flows
        except ValueError as error:
            failures.append((not isinstance(error, WrongOrder), len(flows), error))
            del orders[at][0]
            if not orders[at]:
                raise max(failures, key=lambda failure: failure[:2])[2] from None  # the one that came furthest
            _forget(at, parts, flows)
            flows[at] = orders[at][0]


def _forget(name: str, parts: Sequence[Part], flows: dict[str, Flow]) -> None:
    """Remove the values that depend on an input."""
    stale = {name}
    for part in parts:
        if not stale.isdisjoint(part.takes):
            stale.update(part.gives)
            for given in part.gives:
                flows.pop(given, None)


def _import_part(part: Part, flows: list[Flow]) -> list[Flow]:
    """Return the values that a part gives, with the layers of the part."""
    if not part.is_chain:
        with as_node_errors(part.nodes[0]):
            node = part.nodes[0]
            is_recurrent = node.operator in GATES and node.varying[0] == node.inputs[0]
            return import_with_states(flows, node) if is_recurrent else [_join(node, flows)]
    flow = replace(flows[0], layers=[])
    import_nodes(flow, part.takes[0], part.nodes, part.gives[0])
    return [flow]


def _join(node: Node, flows: list[Flow]) -> Flow:
    """Return the value of a join; the inputs must have one order of axes, and of features."""
    if node.operator not in JOINS:
        raise node.error(OTHER_JOIN)
    if len(flows) < len(node.inputs):
        raise node.error("one of its inputs is constant")
    first, layer = flows[0], JOINS[node.operator]()
    if any(flow.axes != first.axes for flow in flows):
        raise node.error("its inputs have their axes in different orders", WrongOrder)
    if node.operator != "Concat" and any(flow.features != first.features for flow in flows):
        raise node.error("its inputs were flattened in different orders")
    if node.operator in ("Concat", "Dot"):
        first.need_channels(node, node.get("axis"))
    features = {"Concat": _joined_features(flows), "Dot": None}.get(node.operator, first.features)
    shape = layer.output_shape(tuple(flow.shape for flow in flows))
    return replace(first, shape=shape, features=features, layers=[layer])


def _joined_features(flows: list[Flow]) -> Features | None:
    """Return the order of features of values side by side."""
    if all(flow.features is None for flow in flows):
        return None
    return tuple(piece for flow in flows for piece in flow.features or ((flow.shape, flow.axes),))


def _graph(
    parts: Sequence[Part], flows: dict[str, Flow], sources: Mapping[str, Source], targets: Sequence[str]
) -> layers.Graph:
    """Return the parts as nodes; one without layers, such as a transposition, is no node."""
    names = _Names()
    known, ends = {name: names.new(name) for name in sources}, {name: names.new(name) for name in targets}
    ids = {known[name] for name in sources if sources[name].is_ids}
    nodes: list[GraphNode] = []
    for part in parts:
        found = flows[max(part.gives)].layers  # a name that is not ""; all values of a part have its layers
        takes = tuple(known[name] for name in part.takes)
        known[part.gives[0]] = takes[0]
        if found or part.gives[0] in ends:
            gives = tuple(ends.get(name) or names.new(type(found[-1]).__name__.lower()) for name in part.gives)
            known |= zip(part.gives, gives, strict=True)
            nodes.append((as_layer(found), _one_or_all(takes), _one_or_all(gives)))
    graph = layers.Graph(*nodes, outputs=tuple(ends.values()) if len(ends) > 1 else ends[targets[0]])
    _check_ids(graph, ids)
    return graph


def _one_or_all(names: tuple[str, ...]) -> str | tuple[str, ...]:
    return names if len(names) > 1 else names[0]


def _check_ids(graph: layers.Graph, ids: set[str]) -> None:
    """Refuse integers that no Embedding takes, and an Embedding that takes other values than inputs of integers."""
    for layer, takes, _ in graph.nodes:
        given = {*takes} if isinstance(takes, tuple) else {takes}
        if given & ids and not takes_ids(layer):
            raise ValueError(f"its input {min(given & ids)!r} is of integers, but no Embedding takes them")
        if takes_ids(layer) and not given & ids:
            raise ValueError(f"{layer!r} takes {takes!r}, which is no input of integers")


class _Names:
    """Names of letters, digits and _, each once."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def new(self, name: str) -> str:
        """Return a name, with a number if it was returned before."""
        name = "".join(c if f"_{c}".isidentifier() else "_" for c in name)
        own = name = name if name.isidentifier() else f"_{name}"
        while own in self._counts:
            self._counts[name] += 1
            own = f"{name}_{self._counts[name]}"
        self._counts[own] = 1
        return own
