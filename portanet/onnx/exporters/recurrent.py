"""Recurrent layers, by ONNX's operators of the same names."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from onnx import helper

from portanet import layers
from portanet.graph.recurrent import GATES, to_onnx
from portanet.onnx.exporters.embedding import export_padding_mask
from portanet.onnx.exporters.graph import GraphBuilder, Value
from portanet.onnx.exporters.table import exports


class _Packed(NamedTuple):
    """
    Sequences with their data before their padding.

    Parameters
    ----------
    x : str
        Positions in the order in which the layer reads them, then zeros, (N, T, D).
    order : str
        1 where position t is the i-th with data, else 0, (N, i, T).
    last : str
        1 for the last i with data, else 0, (N, 1, i).
    """

    x: str
    order: str
    last: str


@exports(layers.RNN, layers.GRU, layers.LSTM)
def export_recurrent(graph: GraphBuilder, layer: Any, x: Value | tuple[Value, ...]) -> Value | tuple[Value, ...]:
    """Write the operator of the same name; with ``mask_zeros``, put the data before the padding first."""
    x, *initial = x if isinstance(x, tuple) else (x,)
    state = (layer.hidden_size,)
    shape, name = (x.shape[0], *state) if layer.return_sequences else state, graph.last(x)
    if not layer.mask_zeros:
        direction = "reverse" if layer.go_backwards else "forward"
        sequences, *states = _operator(graph, layer, name, direction, [value.name for value in initial])
        last = [Value(graph.node("Squeeze", one, graph.integers([0])), state) for one in states]
        y = Value(_sequences(graph, sequences), shape) if layer.return_sequences else last[0]
        return (y, *last) if layer.return_state else y
    if initial or layer.return_state:
        raise ValueError(f"net cannot be exported: ONNX has no padding mask for the states of {layer!r}")
    packed = _packed(graph, name, x.shape[0], layer.go_backwards)
    h = _sequences(graph, _operator(graph, layer, packed.x, "forward")[0])
    if layer.return_sequences:
        return Value(graph.node("MatMul", graph.node("Transpose", packed.order, perm=(0, 2, 1)), h), shape)
    return Value(graph.node("Squeeze", graph.node("MatMul", packed.last, h), graph.integers([1])), shape)


def _operator(graph: GraphBuilder, layer: Any, name: str, direction: str, initial: Sequence[str] = ()) -> list[str]:
    """
    Add the operator, which takes (T, N, D), and return h of all steps, (T, 1, N, H), and the last states, (1, N, H).

    ``initial`` names the states before the first step, (N, H).
    """
    kind = type(layer).__name__
    weights = [
        graph.arranged(lambda values: to_onnx(kind, values)[None], weight, form="ONNX")
        for weight in (layer.weight_ih, layer.weight_hh)
    ]
    biases = graph.arranged(
        lambda *both: np.concatenate([to_onnx(kind, values) for values in both])[None],
        *(layer.bias_ih, layer.bias_hh),
        form="ONNX",
    )
    attributes = {"hidden_size": layer.hidden_size, "direction": direction, **GATES[kind].attributes}
    steps = graph.node("Transpose", name, perm=(1, 0, 2))
    states = [graph.node("Unsqueeze", state, graph.integers([0])) for state in initial]
    inputs = steps, *weights, biases, *(("", *states) if states else ())  # "" stands for the lengths
    return graph.node_with_outputs(kind, *inputs, n_outputs=1 + layer.n_states, **attributes)


def _sequences(graph: GraphBuilder, states: str) -> str:
    """Turn (T, 1, N, H) into (N, T, H)."""
    return graph.node("Transpose", graph.node("Squeeze", states, graph.integers([1])), perm=(1, 0, 2))


def _packed(graph: GraphBuilder, name: str, length: int, go_backwards: bool) -> _Packed:
    """Put the data before the padding, by a product with a matrix of zeros and ones."""
    dtype = helper.np_dtype_to_tensor_dtype(np.dtype(graph.dtype))
    mask = graph.node("Squeeze", export_padding_mask(graph, name), graph.integers([2]))
    counted = graph.node("CumSum", mask, graph.integers(1), reverse=int(go_backwards))
    ranks = graph.node("Unsqueeze", graph.node("Mul", counted, mask), graph.integers([1]))  # from 1; 0 for padding
    positions = graph.constant(np.arange(1, length + 1))
    column = graph.node("Unsqueeze", positions, graph.integers([1]))
    order = graph.node("Cast", graph.node("Equal", ranks, column), to=dtype)
    rows = graph.node("Unsqueeze", mask, graph.integers([1]))
    n_data = graph.node("ReduceSum", rows, graph.integers([2]), keepdims=1)
    last = graph.node("Cast", graph.node("Equal", n_data, positions), to=dtype)
    return _Packed(graph.node("MatMul", order, name), order, last)
