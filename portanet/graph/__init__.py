"""Graphs become layers: nodes of ONNX files, and of traced PyTorch modules in ONNX's terms; one module a family."""

from portanet.graph import activations, norms, recurrent, structure, windows
from portanet.graph.axes import channels_first_axes
from portanet.graph.flow import Flow, Node, NoLayer
from portanet.graph.table import IMPORTERS, import_node, imports

FAMILIES = (activations, norms, recurrent, structure, windows)
"""Each module adds its operators to the table."""

__all__ = ["IMPORTERS", "Flow", "NoLayer", "Node", "channels_first_axes", "import_node", "imports"]
