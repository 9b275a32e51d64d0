"""Attention and transformer blocks, by their formulas."""

import math

import numpy as np

from portanet import layers
from portanet.onnx.exporters.embedding import export_padding_mask
from portanet.onnx.exporters.graph import GraphBuilder, Value
from portanet.onnx.exporters.table import export_layer, exports


@exports(layers.MultiHeadAttention)
def export_attention(graph: GraphBuilder, layer: layers.MultiHeadAttention, x: Value | tuple[Value, Value]) -> Value:
    """Write ``softmax(q kᵀ / √d) v`` of each head; the score of a key that is not seen makes its weight 0."""
    target, memory = (Value(graph.last(value), value.shape) for value in (x if isinstance(x, tuple) else (x, x)))
    mask = _mask(graph, layer, target, None if isinstance(x, tuple) else graph.mask)
    seen = _mask(graph, layer, memory, None) if isinstance(x, tuple) else mask
    length, n_keys, d = target.shape[0], memory.shape[0], layer.embed_dim // layer.num_heads
    q = _heads(graph, layer, target, "q_proj", (0, 2, 1, 3))
    k = _heads(graph, layer, memory, "k_proj", (0, 2, 3, 1))
    v = _heads(graph, layer, memory, "v_proj", (0, 2, 1, 3))
    scores = graph.node("MatMul", graph.node("Mul", q, graph.constant(1 / math.sqrt(d))), k)
    hidden = float(np.finfo(graph.dtype).min) / 2
    if seen is not None:
        unseen = graph.node("Mul", graph.node("Sub", graph.constant(1.0), seen), graph.constant(hidden))
        scores = graph.node("Add", scores, graph.node("Reshape", unseen, graph.integers([-1, 1, 1, n_keys])))
    if layer.is_causal:
        scores = graph.node("Add", scores, graph.constant(hidden * np.triu(np.ones((length, n_keys)), 1)))
    p = graph.node("Softmax", scores, axis=-1)
    p = graph.node("Dropout", p, graph.constant(layer.dropout)) if layer.dropout else p
    joined = graph.node("Transpose", graph.node("MatMul", p, v), perm=(0, 2, 1, 3))
    rows = graph.node("Reshape", joined, graph.integers([-1, length, layer.embed_dim]))
    y = export_layer(graph, layer.out_proj, Value(rows, target.shape), "out_proj")
    return y if mask is None else Value(graph.node("Mul", y.name, mask), y.shape)


def _mask(graph: GraphBuilder, layer: layers.MultiHeadAttention, x: Value, known: str | None) -> str | None:
    """Return the name of the padding mask of a sequence, which a layer around may know; None without ``mask_zeros``."""
    if not layer.mask_zeros:
        return None
    return export_padding_mask(graph, x.name) if known is None else known


def _heads(graph: GraphBuilder, layer: layers.MultiHeadAttention, x: Value, name: str, axes: tuple[int, ...]) -> str:
    """Return a projection of x as (N, T, num_heads, d), with its axes in another order."""
    projected = export_layer(graph, getattr(layer, name), x, name)
    shape = [-1, x.shape[0], layer.num_heads, layer.embed_dim // layer.num_heads]
    return graph.node("Transpose", graph.node("Reshape", projected.name, graph.integers(shape)), perm=axes)


@exports(layers.TransformerBlock)
def export_transformer_block(graph: GraphBuilder, layer: layers.TransformerBlock, x: Value) -> Value:
    """Write both halves; the padding mask is that of the input of the block, since normalization changes the zeros."""
    x, outer = Value(graph.last(x), x.shape), graph.mask
    graph.mask = mask = export_padding_mask(graph, x.name) if layer.mask_zeros else None
    y = export_layer(graph, layer.attention, x, "attention")
    y = export_layer(graph, layer.feed_forward, y, "feed_forward")
    graph.mask = outer
    return y if mask is None else Value(graph.node("Mul", y.name, mask), y.shape)
