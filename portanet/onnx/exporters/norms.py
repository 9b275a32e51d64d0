"""Normalization layers."""

from dataclasses import replace
from typing import Any

import numpy as np

from portanet import layers
from portanet.onnx.exporters.graph import GraphBuilder, Value
from portanet.onnx.exporters.table import exports


def _affine(graph: GraphBuilder, layer: Any, n: int) -> tuple[str, str]:
    """Return the scale and the shift of n channels; ones and zeros if the layer learns none."""
    if layer.weight is None:
        return graph.constant(np.ones(n)), graph.constant(np.zeros(n))
    return graph.weight(layer.weight), graph.weight(layer.bias)


@exports(layers.BatchNorm)
def export_batch_norm(graph: GraphBuilder, layer: layers.BatchNorm, x: Value) -> Value:
    """Write one minus the momentum: ONNX's is the part that is kept."""
    statistics = graph.weight(layer.running_mean), graph.weight(layer.running_var)
    momentum = {} if layer.momentum is None else {"momentum": 1 - layer.momentum}
    inputs = graph.first(x), *_affine(graph, layer, layer.num_features), *statistics
    name = graph.node("BatchNormalization", *inputs, epsilon=layer.eps, **momentum)
    return replace(x, name=name, is_channels_first=x.ndim > 2)


@exports(layers.LayerNorm)
def export_layer_norm(graph: GraphBuilder, layer: layers.LayerNorm, x: Value) -> Value:
    """Normalize over the last axes of (N, ..., C)."""
    lengths = layer._lengths
    inputs = [graph.last(x)]
    if layer.weight is None or layer.bias is None:
        inputs.append(graph.constant(np.ones(lengths)))
    else:
        inputs += [graph.weight(layer.weight), graph.weight(layer.bias)]
    return Value(graph.node("LayerNormalization", *inputs, axis=-len(lengths), epsilon=layer.eps), x.shape)


@exports(layers.RMSNorm)
def export_rms_norm(graph: GraphBuilder, layer: layers.RMSNorm, x: Value) -> Value:
    """Write ``x / √(mean(x²) + eps)``: operator set 21 has no RMSNormalization."""
    name, axes = graph.last(x), graph.integers(list(range(-len(layer._lengths), 0)))
    eps = float(np.finfo(graph.dtype).eps) if layer.eps is None else layer.eps
    square = graph.node("ReduceMean", graph.node("Mul", name, name), axes, keepdims=1)
    root = graph.node("Sqrt", graph.node("Add", square, graph.constant(eps)))
    z = graph.node("Div", name, root)
    return Value(z if layer.weight is None else graph.node("Mul", z, graph.weight(layer.weight)), x.shape)


@exports(layers.GroupNorm)
def export_group_norm(graph: GraphBuilder, layer: layers.GroupNorm, x: Value) -> Value:
    """Normalize over each group of channels."""
    inputs = graph.first(x), *_affine(graph, layer, layer.num_channels)
    name = graph.node("GroupNormalization", *inputs, num_groups=layer.num_groups, epsilon=layer.eps)
    return replace(x, name=name, is_channels_first=x.ndim > 2)


@exports(layers.InstanceNorm)
def export_instance_norm(graph: GraphBuilder, layer: layers.InstanceNorm, x: Value) -> Value:
    """Normalize each channel over the positions."""
    inputs = graph.first(x), *_affine(graph, layer, layer.num_features)
    return replace(x, name=graph.node("InstanceNormalization", *inputs, epsilon=layer.eps), is_channels_first=True)
