"""Graphs of nodes, in ONNX's terms, become layers: the nodes of files and of traced modules; one module a family."""

from portanet.graph import activations, norms, recurrent, structure, windows
from portanet.graph.axes import channels_first_axes
from portanet.graph.flow import Flow, Node, NoLayer
from portanet.graph.table import IMPORTERS, import_node, imports

FAMILIES = (activations, norms, recurrent, structure, windows)
"""Each module adds its operators to the table."""

__all__ = ["IMPORTERS", "Flow", "NoLayer", "Node", "channels_first_axes", "import_node", "imports"]
