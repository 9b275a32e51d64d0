"""Networks in the ONNX format: a runtime, and files in both directions."""

from portanet.onnx.backend import Backend
from portanet.onnx.exporting import export
from portanet.onnx.loading import load

__all__ = ["Backend", "export", "load"]
