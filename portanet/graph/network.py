"""A graph with one input and one output as layers, and layers as a network with its weights."""

from collections.abc import Collection, Iterable, Sequence
from typing import TypeVar

import numpy as np

from portanet.backends import Backend
from portanet.graph.axes import channels_first_axes
from portanet.graph.blocks import import_nodes
from portanet.graph.flow import Arrays, Flow, Node, WrongOrder
from portanet.graph.order import graph_flattens_first
from portanet.graph.recurrent import join_recurrent
from portanet.layers.base import Layer

Net = TypeVar("Net", bound=Layer)

MAX_NODES = 10_000
"""Most nodes of a graph; the largest published networks have some thousands."""


def import_graph(
    source: str, lengths: Sequence[int], nodes: Sequence[Node], target: str, *, n_examples: int = 0
) -> Flow:
    """
    Return the layers of a graph.

    Parameters
    ----------
    source, target : str
        Names of the input and the output.
    lengths : sequence of int
        Shape of one input in the graph. Three axes or more, with that of the batch, are taken as channels-first, and as
        channels-last if the layers do not fit. Three axes that are flattened first are images without a channel axis.
    nodes : sequence of Node
        In order, each after those that it needs.
    n_examples : int
        Number of examples for which the graph was written; 0 for any number.

    Raises
    ------
    ValueError
        If a node cannot become a layer, the output has neither order of axes, or there are too many nodes.
    """
    nodes = prepare(nodes, [source], [target])
    errors = []
    for flow in orders_of(lengths, nodes, n_examples=n_examples):
        try:
            import_nodes(flow, source, nodes, target)
            check_output(flow, target)
            return flow
        except ValueError as error:
            errors.append(error)
    raise next((error for error in errors if not isinstance(error, WrongOrder)), errors[0])


def prepare(nodes: Sequence[Node], sources: Collection[str], targets: Collection[str]) -> list[Node]:
    """Return nodes with each recurrent operator as one; refuse too many nodes, and an input that is not used."""
    if len(nodes) > MAX_NODES:
        raise ValueError(f"it has {len(nodes):,} nodes, more than {MAX_NODES:,}")
    nodes = join_recurrent(nodes, targets)
    used = {*targets, *(name for node in nodes for name in node.inputs)}
    if unused := [name for name in sources if name not in used]:
        raise ValueError(f"none of its outputs depends on its input {unused[0]!r}")
    return nodes


def orders_of(lengths: Sequence[int], nodes: Iterable[Node], *, n_examples: int = 0) -> list[Flow]:
    """Return an input that nodes take, in the orders of axes that it may have, the likeliest first."""
    ndim = len(lengths) + 1
    last = Flow(tuple(lengths), tuple(range(ndim)), n_examples=n_examples)
    if ndim < 3:
        return [last]
    first = Flow((*lengths[1:], lengths[0]), channels_first_axes(ndim), n_examples=n_examples)
    return [last, first] if ndim == 3 and graph_flattens_first(nodes) else [first, last]


def check_output(flow: Flow, target: str) -> None:
    """Refuse an output of which the order of axes is not known."""
    if flow.features is not None or not (flow.is_channels_first or flow.is_channels_last):
        raise ValueError(f"its output {target!r} has neither the order (N, C, ...) nor (N, ..., C)")


def build_network(net: Net, arrays: Arrays, dtype: str, backend: Backend) -> Net:
    """
    Return a network with the values of its layers, on a backend.

    Raises
    ------
    ValueError
        If a value is NaN or infinite in the dtype.
    """
    net._bind_arrays(backend, dtype, _named_values(net, arrays, dtype))
    return net


def _named_values(net: Layer, given: Arrays, dtype: str) -> dict[str, np.ndarray]:
    """Return the values of a network by name: those of the graph, and first values of buffers that it lacks."""
    rng, arrays = np.random.default_rng(0), {}
    for name, array in net._named_arrays().items():
        values = given[array] if array in given else array.init(array.shape, rng)
        with np.errstate(over="ignore"):  # it becomes infinite, which is refused
            arrays[name] = values.astype(dtype) if values.dtype.kind == "f" else values
        if not np.all(np.isfinite(arrays[name])):
            raise ValueError(f"{name} holds NaN or infinity")
    return arrays
