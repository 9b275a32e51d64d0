"""The table of exporters: which function writes the nodes of a layer."""

from collections.abc import Callable
from typing import Any, TypeAlias

from portanet.checks import shown
from portanet.layers.base import Layer
from portanet.onnx.exporters.graph import GraphBuilder

Exporter: TypeAlias = Callable[[GraphBuilder, Any, Any], Any]
"""
``exporter(graph, layer, x)`` adds the nodes of a layer in inference and returns its output.

x and the output are a :class:`Value`, or a tuple of them for layers that take or return several arrays.
"""

EXPORTERS: dict[type[Layer], Exporter] = {}


def exports(*kinds: type[Layer]) -> Callable[[Exporter], Exporter]:
    """Add a function to the table, for some classes of layers; it does not hold for classes derived from them."""

    def add(exporter: Exporter) -> Exporter:
        EXPORTERS.update(dict.fromkeys(kinds, exporter))
        return exporter

    return add


def check_exportable(net: Layer) -> None:
    """
    Refuse a network with a layer that has no exporter.

    Raises
    ------
    ValueError
        If ONNX has no operators for it, or its class is not one of PortaNet.
    """
    for layer in net.topology.layers.values():
        if type(layer) not in EXPORTERS:
            raise ValueError(f"net cannot be exported: there are no ONNX operators for the layer {shown(layer)}")


def export_layer(graph: GraphBuilder, layer: Layer, x: Any, name: str = "") -> Any:
    """Add the nodes of a layer; ``name`` is its name in the layer around it."""
    outer = graph.scope
    graph.scope = f"{outer}.{name}" if outer and name else outer or name
    y = EXPORTERS[type(layer)](graph, layer, x)
    graph.scope = outer
    return y
