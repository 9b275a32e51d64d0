"""Whether inputs have channels: rows, ids and images without a channel axis keep their order of axes."""

from collections.abc import Iterable

from portanet import layers
from portanet.graph.flow import Node
from portanet.layers.base import Layer

ANY_ORDER = (layers.Activation, layers.Dropout, layers.Rescale)
"""Layers that compute the same in any order of axes."""

OPERATORS_OF_ANY_ORDER = {"Identity", "Relu", "Sigmoid", "Tanh", "Dropout", "Mul", "Add", "Sub", "Div", "Cast"}
FLATTENING = {"Flatten", "Reshape", "torch.nn.Flatten", "torch.nn.ReshapeChannelsLast"}


def flattens_first(net: Layer) -> bool:
    """
    Whether a network flattens or reshapes its input before a layer takes its last axis as channels.

    Examples
    --------
    >>> flattens_first(portanet.Sequential(portanet.Rescale(), portanet.Flatten(), portanet.Linear(64, 10)))
    True
    >>> flattens_first(portanet.Conv1D(1, 8, 3))
    False
    """
    if isinstance(net, layers.AutoEncoder):
        return flattens_first(net.encoder)
    if isinstance(net, layers.Sequential):
        first = next((layer for layer in net if not isinstance(layer, ANY_ORDER)), None)
        return first is not None and flattens_first(first)
    return isinstance(net, layers.Reshape)


def takes_ids(net: Layer) -> bool:
    """
    Whether a network takes integers that stand for vectors, such as the tokens of a text.

    Examples
    --------
    >>> takes_ids(portanet.Sequential(portanet.Embedding(9, 4), portanet.LSTM(4, 3)))
    True
    >>> takes_ids(portanet.LSTM(4, 3))
    False
    """
    if isinstance(net, layers.AutoEncoder):
        return takes_ids(net.encoder)
    if isinstance(net, layers.Sequential):
        first = next((layer for layer in net if not isinstance(layer, layers.Reshape)), None)
        return first is not None and takes_ids(first)
    if isinstance(net, layers.Parallel):
        return all(takes_ids(branch) for branch in net.branches)
    return isinstance(net, layers.Embedding)


def graph_flattens_first(nodes: Iterable[Node]) -> bool:
    """Whether a graph flattens or reshapes its input before a node that depends on the order of axes."""
    first = next((node for node in nodes if node.operator not in OPERATORS_OF_ANY_ORDER), None)
    return first is not None and first.operator in FLATTENING
