"""What ``fit`` with ``truncated_bptt_steps`` needs: sequences of one length, and layers that go on in the next part."""

from collections.abc import Mapping
from typing import Any

from portanet.checks import shown
from portanet.distributed import Communicator
from portanet.layers import Layer, MultiHeadAttention
from portanet.layers.causal import layer_that_looks_ahead
from portanet.layers.recurrent import Recurrent
from portanet.training.data import Data
from portanet.training.scores import needs_all


def check_sequences(net: Layer, data: Data, metrics: Mapping[str, Any], communicator: Communicator) -> None:
    """
    Refuse what cannot be trained part by part.

    Raises
    ------
    ValueError
        If the arrays are not sequences of one length, or a layer or metric needs the whole.
    """
    shapes = [tuple(array.shape) for array in (data.arrays if data.sample_weight is None else data.arrays[:-1])]
    found = " and ".join(map(str, shapes))
    if any(len(shape) < 2 for shape in shapes) or len({shape[1] for shape in shapes}) > 1:
        raise ValueError(f"truncated_bptt_steps needs x (N, T, ...) and y (N, T, ...), got {found}")
    if communicator.size > 1:
        raise ValueError("truncated_bptt_steps trains in one process: give the Trainer communicator=None")
    attention = (name for name, layer in net.topology.layers.items() if isinstance(layer, MultiHeadAttention))
    if (name := next(attention, layer_that_looks_ahead(net, trust_own=True))) is not None:
        layer = net.topology.layers[name]
        raise ValueError(f"truncated_bptt_steps gives the net parts, but layer {name!r} needs the whole: {layer!r}")
    if net.topology.reuses_layers:
        raise ValueError("truncated_bptt_steps needs layers that are used once: a layer keeps one state")
    if names := [name for name, metric in metrics.items() if needs_all(metric)]:
        raise ValueError(f"truncated_bptt_steps measures each part, but metric {names[0]!r} needs all predictions")


def check_carried(net: Layer, carried: Any, n: int) -> None:
    """
    Refuse other arrays than the states of the recurrent layers for n examples, or none.

    Raises
    ------
    ValueError
        If their numbers or shapes differ.
    """
    layers = [layer for layer in net.topology.layers.values() if isinstance(layer, Recurrent)]
    wanted = [[(n, layer.hidden_size)] * layer.n_states for layer in layers] if n else []
    found = [[tuple(array.shape) for array in arrays] for arrays in carried]
    if found != wanted:
        raise ValueError(f"the states that it carries have shapes {shown(found)}, but must have {shown(wanted)}")
