"""
How networks are run: everything about speed, apart from what the layers compute.

:func:`train_step` is the reference, in a dozen lines. Every other file is one mechanism that makes it faster; its first
lines say what it gains. All of them can be switched off, and results stay the same: ``PORTANET_DISABLE=engine``.
"""

from portanet.backends.disabled import enabled
from portanet.engine.program import Program, compiled, infer
from portanet.engine.rewrite import rewrite
from portanet.engine.step import train_step
from portanet.layers.base import Layer

__all__ = ["Program", "compiled", "infer", "rewrite", "train_step"]

if enabled("engine"):
    Layer._infer = staticmethod(infer)
