"""Graphs, and layers that make one array of several."""

from dataclasses import replace
from functools import reduce
from typing import Any

from portanet import layers
from portanet.layers.graph import name_values, take_values
from portanet.onnx.exporters.graph import GraphBuilder, Value
from portanet.onnx.exporters.table import export_layer, exports

Values = tuple[Value, ...]


@exports(layers.Graph)
def export_graph(graph: GraphBuilder, layer: layers.Graph, x: Any) -> Any:
    """Write one node after the other."""
    values = layer.by_name(x)
    for (name, _), (inner, takes, gives) in zip(layer._members(), layer.nodes, strict=True):
        values |= name_values(gives, export_layer(graph, inner, take_values(values, takes), name))
    return (
        take_values(values, layer.outputs) if isinstance(layer.outputs, str) else {n: values[n] for n in layer.outputs}
    )


@exports(layers.Add)
def export_add(graph: GraphBuilder, layer: layers.Add, x: Values) -> Value:
    """Write the sum."""
    return replace(x[0], name=graph.node("Sum", *_in_one_order(graph, x)))


@exports(layers.Multiply)
def export_multiply(graph: GraphBuilder, layer: layers.Multiply, x: Values) -> Value:
    """Write one product after the other."""
    return replace(x[0], name=reduce(lambda a, b: graph.node("Mul", a, b), _in_one_order(graph, x)))


@exports(layers.Dot)
def export_dot(graph: GraphBuilder, layer: layers.Dot, x: Values) -> Value:
    """Write the sum of the products along the channels."""
    product = graph.node("Mul", *_in_one_order(graph, x))
    name = graph.node("ReduceSum", product, graph.integers([x[0].channel_axis]), keepdims=1)
    return replace(x[0], name=name, shape=layer.output_shape(tuple(value.shape for value in x)))


@exports(layers.Concatenate)
def export_concatenate(graph: GraphBuilder, layer: layers.Concatenate, x: Values) -> Value:
    """Join the inputs along the channels."""
    name = graph.node("Concat", *_in_one_order(graph, x), axis=x[0].channel_axis)
    return replace(x[0], name=name, shape=layer.output_shape(tuple(value.shape for value in x)))


def _in_one_order(graph: GraphBuilder, x: Values) -> list[str]:
    """Return the names of values in the order of axes of the first one."""
    return [graph.in_order(value, channels_first=x[0].is_channels_first) for value in x]
