"""Networks in the ONNX format: a runtime, and files in both directions."""

from portanet.onnx.backend import Backend

__all__ = ["Backend"]
