"""The operators of ONNX that PortaNet computes, over the Array API; one module a family."""

from portanet.onnx.operators import (
    activations,
    arithmetic,
    attention,
    indexing,
    losses,
    normalization,
    pooling,
    products,
    recurrent,
    reductions,
    resize,
    shapes,
    training,
)
from portanet.onnx.operators.registry import OPERATORS, Operator, find_operator, operator

FAMILIES = (
    *(activations, arithmetic, attention, indexing, losses, normalization),
    *(pooling, products, recurrent, reductions, resize, shapes, training),
)
"""Each module adds its operators to the table."""

__all__ = ["OPERATORS", "Operator", "find_operator", "operator"]
