"""Embedding, and positions added to a sequence."""

from typing import Any

import numpy as np

from portanet import layers
from portanet.onnx.exporters.graph import GraphBuilder, Value
from portanet.onnx.exporters.table import exports


def export_padding_mask(graph: GraphBuilder, name: str) -> str:
    """Add the mask of a sequence (N, T, D): 1 for each position that holds data, and 0 for padding, (N, T, 1)."""
    largest = graph.node("ReduceMax", graph.node("Abs", name), graph.integers([-1]), keepdims=1)
    return graph.node("Sign", largest)


@exports(layers.Embedding)
def export_embedding(graph: GraphBuilder, layer: layers.Embedding, x: Value) -> Value:
    """Write the vector of ``padding_idx`` as zeros; ONNX's Gather has no padding index."""

    def without_padding(values: np.ndarray) -> np.ndarray:
        is_padding = np.arange(layer.num_embeddings) == layer.padding_idx
        return np.where(is_padding[:, None], np.zeros_like(values), values)

    weight = graph.arranged(without_padding, layer.weight, form=("padding_idx", layer.padding_idx))
    return Value(graph.node("Gather", weight, graph.last(x), axis=0), layer.output_shape(x.shape))


@exports(layers.PositionalEncoding)
def export_positional_encoding(graph: GraphBuilder, layer: layers.PositionalEncoding, x: Value) -> Value:
    """Write the waves for the length of the input."""
    waves = layer._encoding(np.zeros((1, *x.shape), dtype=graph.dtype))
    return _add_positions(graph, layer, x, graph.constant(waves))


@exports(layers.PositionalEmbedding)
def export_positional_embedding(graph: GraphBuilder, layer: layers.PositionalEmbedding, x: Value) -> Value:
    """Write as many vectors as the input has positions."""
    layer.output_shape(x.shape)
    length = x.shape[0]
    vectors = graph.arranged(lambda values: values[:length], layer.weight, form=("positions", length))
    return _add_positions(graph, layer, x, vectors)


def _add_positions(graph: GraphBuilder, layer: Any, x: Value, positions: str) -> Value:
    """Add vectors of positions; padding stays zero."""
    name = graph.last(x)
    y = graph.node("Add", name, positions)
    return Value(graph.node("Mul", y, export_padding_mask(graph, name)) if layer.mask_zeros else y, x.shape)
