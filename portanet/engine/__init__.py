"""
How networks are run: everything about speed, apart from what the layers compute.

:func:`train_step` is the reference, in a dozen lines. The other files make it faster, one mechanism in each.
``PORTANET_DISABLE`` switches them off by name, and ``engine`` all but streaming; results stay the same, up to rounding.
"""

from portanet.backends.disabled import enabled
from portanet.engine.program import Program, compiled, infer
from portanet.engine.rewrite import rewrite
from portanet.engine.step import train_step
from portanet.layers.base import Layer

__all__ = ["Program", "compiled", "infer", "rewrite", "train_step"]

if enabled("engine"):
    Layer._infer = staticmethod(infer)
