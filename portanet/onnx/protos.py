"""Attributes, tensors and names of ONNX models as Python and NumPy values, which are checked first."""

import math
from typing import Any

import numpy as np
from onnx import AttributeProto, NodeProto, TensorProto, helper, numpy_helper

from portanet.graph.flow import shortest
from portanet.onnx.operators.arrays import DTYPES
from portanet.onnx.operators.registry import OBSOLETE

MAX_ELEMENTS = 2**40
"""Most elements of a tensor."""


def named(node: NodeProto) -> str:
    """
    Return the name and the operator of a node, for messages; without a name, its first output.

    Examples
    --------
    >>> named(helper.make_node("Relu", ["x"], ["y"], name="first")), named(helper.make_node("Relu", ["x"], ["y"]))
    ("node 'first' (Relu)", "the node of 'y' (Relu)")
    """
    operator = f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type
    if node.name:
        return f"node {node.name!r} ({operator})"
    return f"the node of {next(filter(None, node.output), '')!r} ({operator})"


def attributes_of(node: NodeProto) -> dict[str, Any]:
    """Return the attributes of a node: numbers, texts, lists of them, or NumPy arrays."""
    return {a.name: _attribute_value(node, a) for a in node.attribute if a.name not in OBSOLETE}


def _attribute_value(node: NodeProto, attribute: AttributeProto) -> Any:
    value = helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, TensorProto):
        return array_of(value)
    if attribute.type == AttributeProto.FLOAT:
        return shortest(value)
    if attribute.type in (AttributeProto.INTS, AttributeProto.FLOATS):
        return list(value)
    if attribute.type == AttributeProto.STRINGS:
        return [text.decode() for text in value]
    if attribute.type != AttributeProto.INT:
        raise ValueError(f"{named(node)} has an attribute {attribute.name!r}, which is no number, text or tensor")
    return value


def array_of(tensor: TensorProto) -> np.ndarray:
    """
    Return a tensor as a NumPy array.

    Raises
    ------
    ValueError
        If it holds no numbers, or fewer or more than its shape says.
    """
    if tensor.data_type not in DTYPES:
        raise ValueError(f"tensor {tensor.name!r} has a dtype that is not supported")
    if tensor.data_location == TensorProto.EXTERNAL:
        raise ValueError(f"tensor {tensor.name!r} lies in another file: load the model from its path")
    shape = tuple(tensor.dims)
    if any(n < 0 for n in shape) or math.prod(shape) > MAX_ELEMENTS:
        raise ValueError(f"tensor {tensor.name!r} has shape {shape}")
    if tensor.HasField("raw_data"):
        expected = math.prod(shape) * np.dtype(DTYPES[tensor.data_type]).itemsize
        if len(tensor.raw_data) != expected:
            raise ValueError(f"tensor {tensor.name!r} of shape {shape} has {len(tensor.raw_data)} bytes of {expected}")
    array: np.ndarray = numpy_helper.to_array(tensor)
    return array


def constant_of(node: NodeProto) -> np.ndarray:
    """Return the array of a node Constant."""
    attributes = attributes_of(node)
    for name, kind in (("value_float", "float32"), ("value_floats", "float32"), ("value_int", "int64")):
        if name in attributes:
            return np.asarray(attributes[name], kind)
    if "value_ints" in attributes:
        return np.asarray(attributes["value_ints"], "int64")
    if not isinstance(attributes.get("value"), np.ndarray):
        raise ValueError(f"{named(node)} holds no numbers")
    value: np.ndarray = attributes["value"]
    return value
