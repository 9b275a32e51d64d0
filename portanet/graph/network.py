"""A graph with one input and one output as a network with its weights."""

from collections.abc import Sequence

import numpy as np

from portanet import layers
from portanet.backends import Backend
from portanet.graph.axes import channels_first_axes
from portanet.graph.blocks import import_nodes
from portanet.graph.flow import Flow, Node, WrongOrder
from portanet.graph.order import graph_flattens_first
from portanet.graph.recurrent import join_recurrent
from portanet.layers.base import Layer

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
    if len(nodes) > MAX_NODES:
        raise ValueError(f"it has {len(nodes):,} nodes, more than {MAX_NODES:,}")
    nodes = join_recurrent(nodes, target)
    ndim, (first, *others) = len(lengths) + 1, lengths
    orders = [Flow((*others, first), channels_first_axes(ndim), n_examples=n_examples)]
    if ndim > 2:
        orders.append(Flow(tuple(lengths), tuple(range(ndim)), n_examples=n_examples))
    if ndim == 3 and graph_flattens_first(nodes):
        orders.reverse()
    errors = []
    for flow in orders:
        try:
            import_nodes(flow, source, nodes, target)
            if flow.features is not None or not (flow.is_channels_first or flow.is_channels_last):
                raise ValueError(f"its output {target!r} has neither the order (N, C, ...) nor (N, ..., C)")
            return flow
        except ValueError as error:
            errors.append(error)
    raise next((error for error in errors if not isinstance(error, WrongOrder)), errors[0])


def build_network(flow: Flow, dtype: str, backend: Backend) -> layers.Sequential:
    """
    Return the layers as a network with their values, on a backend.

    Raises
    ------
    ValueError
        If a value is NaN or infinite in the dtype.
    """
    net = layers.Sequential(*flow.layers)
    arrays = _arrays_of(net, flow, dtype)
    net._bind_arrays(backend, dtype, arrays)
    return net


def _arrays_of(net: Layer, flow: Flow, dtype: str) -> dict[str, np.ndarray]:
    """Return the values of a network by name: those of the graph, and first values of buffers that it lacks."""
    rng, arrays = np.random.default_rng(0), {}
    for name, array in net._named_arrays().items():
        values = flow.arrays[array] if array in flow.arrays else array.init(array.shape, rng)
        with np.errstate(over="ignore"):  # it becomes infinite, which is refused
            arrays[name] = values.astype(dtype) if values.dtype.kind == "f" else values
        if not np.all(np.isfinite(arrays[name])):
            raise ValueError(f"{name} holds NaN or infinity")
    return arrays
