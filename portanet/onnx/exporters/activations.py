"""Activations; the output has the order of axes of the input."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from portanet import layers
from portanet.onnx.exporters.graph import GraphBuilder, Value
from portanet.onnx.exporters.table import Exporter, exports

OPERATORS: dict[type[layers.Layer], tuple[str, Callable[[Any], dict[str, Any]]]] = {
    layers.ReLU: ("Relu", lambda layer: {}),
    layers.LeakyReLU: ("LeakyRelu", lambda layer: {"alpha": layer.negative_slope}),
    layers.ELU: ("Elu", lambda layer: {"alpha": layer.alpha}),
    layers.SELU: ("Selu", lambda layer: {}),
    layers.GELU: ("Gelu", lambda layer: {"approximate": "tanh" if layer.approximate else "none"}),
    layers.Mish: ("Mish", lambda layer: {}),
    layers.Hardswish: ("HardSwish", lambda layer: {}),
    layers.Softplus: ("Softplus", lambda layer: {}),
    layers.TanH: ("Tanh", lambda layer: {}),
    layers.Sigmoid: ("Sigmoid", lambda layer: {}),
}
"""Operators of one input, and their attributes, by layer."""


def _elementwise(operator: str, attributes: Callable[[Any], dict[str, Any]]) -> Exporter:
    def export(graph: GraphBuilder, layer: Any, x: Value) -> Value:
        return replace(x, name=graph.node(operator, x.name, **attributes(layer)))

    return export


for _kind, _entry in OPERATORS.items():
    exports(_kind)(_elementwise(*_entry))


@exports(layers.SiLU)
def export_silu(graph: GraphBuilder, layer: layers.SiLU, x: Value) -> Value:
    """Write ``x σ(x)``: operator set 21 has no Swish."""
    return replace(x, name=graph.node("Mul", x.name, graph.node("Sigmoid", x.name)))


@exports(layers.CELU)
def export_celu(graph: GraphBuilder, layer: layers.CELU, x: Value) -> Value:
    """Write ``α elu(x / α)`` in float64, which Celu does not take."""
    if graph.dtype == "float32":
        return replace(x, name=graph.node("Celu", x.name, alpha=layer.alpha))
    alpha = graph.constant(layer.alpha)
    return replace(x, name=graph.node("Mul", graph.node("Elu", graph.node("Div", x.name, alpha), alpha=1.0), alpha))


@exports(layers.LogSigmoid)
def export_log_sigmoid(graph: GraphBuilder, layer: layers.LogSigmoid, x: Value) -> Value:
    """Write ``log σ(x) = -softplus(-x)``."""
    return replace(x, name=graph.node("Neg", graph.node("Softplus", graph.node("Neg", x.name))))


@exports(layers.ReLU6)
def export_relu6(graph: GraphBuilder, layer: layers.ReLU6, x: Value) -> Value:
    """Clip to [0, 6]."""
    return replace(x, name=graph.node("Clip", x.name, graph.constant(0.0), graph.constant(6.0)))


@exports(layers.Hardtanh)
def export_hardtanh(graph: GraphBuilder, layer: layers.Hardtanh, x: Value) -> Value:
    """Clip to the range of the layer."""
    return replace(x, name=graph.node("Clip", x.name, graph.constant(layer.min_val), graph.constant(layer.max_val)))


@exports(layers.PReLU)
def export_prelu(graph: GraphBuilder, layer: layers.PReLU, x: Value) -> Value:
    """Reshape the slopes of channels if the channels are not the last axis."""
    slope = graph.weight(layer.weight)
    if layer.num_parameters > 1 and x.channel_axis != x.ndim - 1:
        slope = graph.node("Reshape", slope, graph.integers([-1, *(1,) * (x.ndim - 2)]))
    return replace(x, name=graph.node("PRelu", x.name, slope))


@exports(layers.Softmax)
def export_softmax(graph: GraphBuilder, layer: layers.Softmax, x: Value) -> Value:
    """Normalize over the channels."""
    return replace(x, name=graph.node("Softmax", x.name, axis=x.channel_axis))


@exports(layers.LogSoftmax)
def export_log_softmax(graph: GraphBuilder, layer: layers.LogSoftmax, x: Value) -> Value:
    """Normalize over the channels."""
    return replace(x, name=graph.node("LogSoftmax", x.name, axis=x.channel_axis))


@exports(layers.GLU)
def export_glu(graph: GraphBuilder, layer: layers.GLU, x: Value) -> Value:
    """Write ``a σ(b)`` of the halves of the channels."""
    a, b = graph.node_with_outputs("Split", x.name, n_outputs=2, axis=x.channel_axis, num_outputs=2)
    return Value(graph.node("Mul", a, graph.node("Sigmoid", b)), layer.output_shape(x.shape), x.is_channels_first)
