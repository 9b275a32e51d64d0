"""How each layer is written as nodes of ONNX; one module a family."""

from portanet.onnx.exporters import activations, attention, embedding, merge, norms, recurrent, structure, windows
from portanet.onnx.exporters.graph import GraphBuilder, Value
from portanet.onnx.exporters.table import EXPORTERS, check_exportable, export_layer, exports

FAMILIES = (activations, attention, embedding, merge, norms, recurrent, structure, windows)
"""Each module adds its layers to the table."""

__all__ = ["EXPORTERS", "GraphBuilder", "Value", "check_exportable", "export_layer", "exports"]
