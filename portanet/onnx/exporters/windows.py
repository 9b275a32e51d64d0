"""Convolution, pooling, padding and up-sampling, channels-first; the padding holds for one input shape."""

import itertools
from typing import Any

from portanet import layers
from portanet.kernels.windows import Pads, Window
from portanet.layers.conv import Conv, ConvTranspose
from portanet.layers.padding import SOURCES, Pad
from portanet.onnx.exporters.graph import GraphBuilder, Value
from portanet.onnx.exporters.table import exports

MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
"""ONNX's names of the modes of :class:`portanet.Pad`."""


def pads_of(pads: Pads) -> list[int]:
    """Return padding in ONNX's order: all that is before an axis, then all that is after."""
    return [low for low, _ in pads] + [high for _, high in pads]


def window_attributes(window: Window) -> dict[str, Any]:
    """Return the attributes of a node with a window."""
    given = {"kernel_shape": window.size, "strides": window.stride, "pads": pads_of(window.pads)}
    return given if set(window.dilation) == {1} else {**given, "dilations": window.dilation}


@exports(layers.Conv1D, layers.Conv2D, layers.Conv3D)
def export_conv(graph: GraphBuilder, layer: Conv, x: Value) -> Value:
    """Transpose the weight (*size, C / groups, O) to (O, C / groups, *size)."""
    shape, n = layer.output_shape(x.shape), layer.n_axes
    weight = graph.weight(layer.weight, (n + 1, n, *range(n)))
    bias = [] if layer.bias is None else [graph.weight(layer.bias)]
    attributes = window_attributes(layer.window(x.shape[:-1]))
    return Value(graph.node("Conv", graph.first(x), weight, *bias, group=layer.groups, **attributes), shape, True)


@exports(layers.ConvTranspose1D, layers.ConvTranspose2D, layers.ConvTranspose3D)
def export_conv_transpose(graph: GraphBuilder, layer: ConvTranspose, x: Value) -> Value:
    """Transpose the weight (*size, C, O / groups) to (C, O / groups, *size)."""
    shape, n, window = layer.output_shape(x.shape), layer.n_axes, layer.window(x.shape[:-1])
    weight = graph.weight(layer.weight, (n, n + 1, *range(n)))
    bias = [] if layer.bias is None else [graph.weight(layer.bias)]
    axes = zip(window.padded_shape, x.shape, window.stride, window.dilation, window.size, strict=False)
    extra = [length - (m - 1) * s - d * (k - 1) - 1 for length, m, s, d, k in axes]
    attributes = window_attributes(window) | ({"output_padding": extra} if any(extra) else {})
    name = graph.node("ConvTranspose", graph.first(x), weight, *bias, group=layer.groups, **attributes)
    return Value(name, shape, True)


@exports(layers.MaxPool1D, layers.MaxPool2D, layers.MaxPool3D)
def export_max_pool(graph: GraphBuilder, layer: Any, x: Value) -> Value:
    """Write the padding that ``ceil_mode`` adds as numbers."""
    attributes = window_attributes(layer.window(x.shape))
    return Value(graph.node("MaxPool", graph.first(x), **attributes), layer.output_shape(x.shape), True)


@exports(layers.AvgPool1D, layers.AvgPool2D, layers.AvgPool3D)
def export_avg_pool(graph: GraphBuilder, layer: Any, x: Value) -> Value:
    """Write padding that counts as a node of its own: that of ``ceil_mode`` does not count."""
    window, name = layer.window(x.shape), graph.first(x)
    attributes = window_attributes(window)
    if layer.count_include_pad and window.is_padded:
        counted = layer.counted_pads(window)
        name = graph.node("Pad", name, graph.integers(pads_of(((0, 0), (0, 0), *counted))))
        rest = [(low - a, high - b) for (low, high), (a, b) in zip(window.pads, counted, strict=True)]
        attributes["pads"] = pads_of(tuple(rest))
    return Value(graph.node("AveragePool", name, **attributes), layer.output_shape(x.shape), True)


@exports(layers.GlobalAvgPool)
def export_global_avg_pool(graph: GraphBuilder, layer: layers.GlobalAvgPool, x: Value) -> Value:
    """Flatten, since ONNX keeps the pooled axes."""
    name = graph.node("GlobalAveragePool", graph.first(x))
    return Value(graph.node("Flatten", name), layer.output_shape(x.shape))


@exports(layers.GlobalMaxPool)
def export_global_max_pool(graph: GraphBuilder, layer: layers.GlobalMaxPool, x: Value) -> Value:
    """Flatten, since ONNX keeps the pooled axes."""
    return Value(graph.node("Flatten", graph.node("GlobalMaxPool", graph.first(x))), layer.output_shape(x.shape))


@exports(layers.AdaptiveAvgPool1D, layers.AdaptiveAvgPool2D, layers.AdaptiveAvgPool3D)
def export_adaptive_avg_pool(graph: GraphBuilder, layer: Any, x: Value) -> Value:
    """Write means of windows."""
    return _adaptive(graph, layer, x, "AveragePool", "ReduceMean")


@exports(layers.AdaptiveMaxPool1D, layers.AdaptiveMaxPool2D, layers.AdaptiveMaxPool3D)
def export_adaptive_max_pool(graph: GraphBuilder, layer: Any, x: Value) -> Value:
    """Write maxima of windows."""
    return _adaptive(graph, layer, x, "MaxPool", "ReduceMax")


def _adaptive(graph: GraphBuilder, layer: Any, x: Value, pool: str, reduce: str) -> Value:
    """Pool with windows of one length if the lengths allow it; else axis by axis, with a node for each output."""
    shape, name = layer.output_shape(x.shape), graph.first(x)
    lengths = list(zip(x.shape[:-1], shape[:-1], strict=True))
    if all(n % m == 0 for n, m in lengths):
        size = [n // m for n, m in lengths]
        return Value(graph.node(pool, name, kernel_shape=size, strides=size), shape, True)
    for axis, (n, m) in enumerate(lengths, start=2):
        if n != m:
            along = graph.integers([axis])
            spans = [(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]
            parts = [graph.node("Slice", name, graph.integers([a]), graph.integers([b]), along) for a, b in spans]
            name = graph.node("Concat", *(graph.node(reduce, part, along, keepdims=1) for part in parts), axis=axis)
    return Value(name, shape, True)


@exports(layers.Upsample)
def export_upsample(graph: GraphBuilder, layer: layers.Upsample, x: Value) -> Value:
    """Repeat positions, or interpolate between their centres."""
    shape = layer.output_shape(x.shape)
    scales = graph.constant([1, 1, *(m / n for n, m in zip(x.shape[:-1], shape[:-1], strict=True))], "float32")
    how = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    if layer.mode == "nearest":
        how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return Value(graph.node("Resize", graph.first(x), "", scales, **how), shape, True)


@exports(layers.Pad)
def export_pad(graph: GraphBuilder, layer: Pad, x: Value) -> Value:
    """Write Pad; where the padding is longer than an axis, gather the positions one by one."""
    window, shape, name = layer.window(x.shape), layer.output_shape(x.shape), graph.first(x)
    if layer.mode != "constant" and any(max(pair) >= n for pair, n in zip(window.pads, x.shape, strict=False)):
        for axis, n, (low, high) in zip(itertools.count(2), x.shape[:-1], window.pads, strict=False):
            positions = [SOURCES[layer.mode](i, n) for i in range(-low, n + high)]
            name = graph.node("Gather", name, graph.integers(positions), axis=axis)
        return Value(name, shape, True)
    value = [graph.constant(layer.value)] if layer.mode == "constant" else []
    pads = graph.integers(pads_of(((0, 0), (0, 0), *window.pads)))
    return Value(graph.node("Pad", name, pads, *value, mode=MODES[layer.mode]), shape, True)
