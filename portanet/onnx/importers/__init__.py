"""How nodes of ONNX become layers; one module a family."""

from portanet.onnx.importers import activations, norms, structure, windows
from portanet.onnx.importers.flow import Flow, Node, channels_first_axes
from portanet.onnx.importers.table import IMPORTERS, import_node, imports

FAMILIES = (activations, norms, structure, windows)
"""Each module adds its operators to the table."""

__all__ = ["IMPORTERS", "Flow", "Node", "channels_first_axes", "import_node", "imports"]
