"""Layers made of layers, those that change the shape only, and those that do nothing in inference."""

from dataclasses import replace
from typing import Any

from portanet import layers
from portanet.onnx.exporters.graph import GraphBuilder, Value
from portanet.onnx.exporters.table import export_layer, exports


@exports(layers.Sequential)
def export_sequential(graph: GraphBuilder, layer: layers.Sequential, x: Any) -> Any:
    """Write one layer after the other."""
    for name, inner in layer.named_children():
        x = export_layer(graph, inner, x, name)
    return x


@exports(layers.AutoEncoder)
def export_autoencoder(graph: GraphBuilder, layer: layers.AutoEncoder, x: Any) -> Any:
    """Write the encoder, then the decoder."""
    return export_layer(graph, layer.decoder, export_layer(graph, layer.encoder, x, "encoder"), "decoder")


@exports(layers.Residual)
def export_residual(graph: GraphBuilder, layer: layers.Residual, x: Value) -> Value:
    """Write the sum of both branches."""
    y: Value = export_layer(graph, layer.branch, x, "branch")
    direct = x if layer.projection is None else export_layer(graph, layer.projection, x, "projection")
    return replace(y, name=graph.node("Add", graph.in_order(direct, channels_first=y.is_channels_first), y.name))


@exports(layers.Parallel, layers.Bidirectional)
def export_parallel(graph: GraphBuilder, layer: layers.Parallel, x: Value) -> Value:
    """Join the outputs of the branches along the channels."""
    outputs: list[Value] = [export_layer(graph, branch, x, name) for name, branch in layer.named_children()]
    order = outputs[0].is_channels_first
    names = [graph.in_order(y, channels_first=order) for y in outputs]
    y = replace(outputs[0], shape=layer.output_shape(x.shape))
    return replace(y, name=graph.node("Concat", *names, axis=y.channel_axis))


@exports(layers.Linear)
def export_linear(graph: GraphBuilder, layer: layers.Linear, x: Value) -> Value:
    """Write Gemm for rows, else MatMul along the last axis."""
    shape, weight = layer.output_shape(x.shape), graph.weight(layer.weight)
    bias = [] if layer.bias is None else [graph.weight(layer.bias)]
    if x.ndim == 2:
        return Value(graph.node("Gemm", x.name, weight, *bias), shape)
    name = graph.node("MatMul", graph.last(x), weight)
    return Value(graph.node("Add", name, *bias) if bias else name, shape)


@exports(layers.Reshape, layers.Flatten)
def export_reshape(graph: GraphBuilder, layer: layers.Reshape, x: Value) -> Value:
    """Reshape in the order of (N, ..., C)."""
    shape = layer.output_shape(x.shape)
    if len(shape) == 1:
        return Value(graph.node("Flatten", graph.last(x)), shape)
    return Value(graph.node("Reshape", graph.last(x), graph.integers([-1, *shape])), shape)


@exports(layers.Dropout)
def export_dropout(graph: GraphBuilder, layer: layers.Dropout, x: Value) -> Value:
    """Write a node that does nothing in inference, for programs that train the network."""
    return replace(x, name=graph.node("Dropout", x.name, graph.constant(layer.p)))


@exports(
    *(layers.SpatialDropout, layers.GaussianNoise, layers.RandomFlip),
    *(layers.RandomTranslation, layers.RandomRotation, layers.RandomZoom),
)
def export_nothing(graph: GraphBuilder, layer: layers.Layer, x: Value) -> Value:
    """Return the input, as inference does."""
    return x


@exports(layers.RandomCrop)
def export_crop(graph: GraphBuilder, layer: layers.RandomCrop, x: Value) -> Value:
    """Cut out the centre, as inference does."""
    starts = [(length - n) // 2 for length, n in zip(x.shape[:-1], layer.size, strict=True)]
    ends = [start + n for start, n in zip(starts, layer.size, strict=True)]
    axes = range(2, x.ndim) if x.is_channels_first else range(1, x.ndim - 1)
    name = graph.node("Slice", x.name, graph.integers(starts), graph.integers(ends), graph.integers(list(axes)))
    return replace(x, name=name, shape=layer.output_shape(x.shape))


@exports(layers.Rescale)
def export_rescale(graph: GraphBuilder, layer: layers.Rescale, x: Value) -> Value:
    """Write ``scale x + offset``."""
    scaled = graph.node("Mul", x.name, graph.constant(layer.scale))
    return replace(x, name=graph.node("Add", scaled, graph.constant(layer.offset)))


@exports(layers.Normalize)
def export_normalize(graph: GraphBuilder, layer: layers.Normalize, x: Value) -> Value:
    """Write ``(x - mean) / std`` of each channel."""
    name = graph.node("Sub", graph.last(x), graph.weight(layer.mean))
    return Value(graph.node("Div", name, graph.weight(layer.std)), x.shape)
