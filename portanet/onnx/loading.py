"""ONNX files read as networks that train on."""

import math
from os import PathLike
from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto, ValueInfoProto, shape_inference

from portanet import layers
from portanet.backends import Backend, get_backend
from portanet.checks import check_path
from portanet.files import as_file_errors
from portanet.graph import Flow, Node
from portanet.graph.network import build_network, import_graph
from portanet.graph.order import takes_ids
from portanet.onnx.operators.arrays import DTYPES
from portanet.onnx.protos import array_of, attributes_of, constant_of, named
from portanet.onnx.reading import read_model
from portanet.onnx.runtime import inlined, operator_of, versions_of

__all__ = ["load"]

FOLDED = ("Identity", "Cast", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Gather", "Concat")
"""Operators that are computed while the file is read, if all inputs are constant."""

MIN_BUDGET = 2**16
"""Most numbers of all computed constants; four times as many as the file holds are added to it."""


def load(path: str | PathLike[str], *, device: str | Backend | None = None) -> layers.Sequential:
    """
    Read an ONNX file as a network, which predicts, trains and is saved as any other.

    The nodes become :class:`portanet.Sequential`; within it, sums of branches become :class:`portanet.Residual` and
    concatenations :class:`portanet.Parallel`. Inputs and outputs are channels-last, as everywhere in PortaNet: a file
    with inputs (N, C, H, W) becomes a network that takes (N, H, W, C). Integers are ids of an
    :class:`portanet.Embedding`. Attention is not recognized. Nothing in the file is run as code.

    Parameters
    ----------
    path : path-like
        The file; tensors in other files are read if these lie in the same folder.
    device : str, optional
        Where to put the network.

    Returns
    -------
    Sequential
        With the weights of the file.

    Raises
    ------
    OSError
        If the file cannot be read.
    FileFormatError
        If it is damaged, or a node cannot become a layer; the message names the node and its operator.
        :class:`portanet.onnx.Backend` may run such a file.

    Examples
    --------
    >>> net = portanet.Sequential(portanet.Conv2D(3, 8, 3), portanet.ReLU(), portanet.GlobalAvgPool())
    >>> portanet.onnx.export(net, "net.onnx", (32, 32, 3))
    >>> copy = load("net.onnx")
    >>> copy
    Sequential(Conv2D(3, 8, 3), ReLU(), GlobalAvgPool())
    >>> x = np.ones((5, 32, 32, 3), dtype="float32")
    >>> bool(np.allclose(copy(x), net(x)))
    True
    """
    path, backend = check_path("path", path), get_backend(device)
    model = read_model(Path(path))
    with as_file_errors(path):
        flow, dtype = to_layers(inlined(model))
        return build_network(flow, dtype, backend)


def to_layers(model: ModelProto) -> tuple[Flow, str]:
    """Return the layers of a model, and the dtype of the network."""
    source, target = _input(model), _output(model)
    dtype = DTYPES.get(source.type.tensor_type.elem_type, "")
    if dtype not in ("float32", "float64", "int32", "int64"):
        raise ValueError(f"its input {source.name!r} has another dtype than float32 and float64")
    nodes = _needed_nodes(model, _constants(model), source.name, target)
    n_examples, *lengths = [axis.dim_value for axis in source.type.tensor_type.shape.dim] or [0]
    if not lengths or min(lengths) < 1:
        raise ValueError(f"its input {source.name!r} does not give all lengths of one example")
    flow = import_graph(source.name, lengths, nodes, target, n_examples=n_examples)
    if dtype.startswith("int"):
        if not takes_ids(layers.Sequential(*flow.layers)):
            raise ValueError(f"its input {source.name!r} is of integers, but no Embedding takes them")
        constants = [array for node in nodes for array in node.constants if array is not None]
        dtype = next(str(array.dtype) for array in constants if array.dtype.kind == "f")
    return flow, dtype


def _input(model: ModelProto) -> ValueInfoProto:
    """Return the input, the only one that has no initializer."""
    given = {tensor.name for tensor in model.graph.initializer}
    inputs: list[ValueInfoProto] = [value for value in model.graph.input if value.name not in given]
    if len(inputs) != 1:
        raise ValueError(f"it has {len(inputs)} inputs without initializers, not one")
    return inputs[0]


def _output(model: ModelProto) -> str:
    if len(model.graph.output) != 1:
        raise ValueError(f"it has {len(model.graph.output)} outputs, not one")
    return str(model.graph.output[0].name)


def _constants(model: ModelProto) -> dict[str, np.ndarray]:
    """Return initializers, constants, shapes, and what nodes compute of them, by name."""
    constants = {tensor.name: array_of(tensor) for tensor in model.graph.initializer}
    versions = versions_of(model)
    budget = MIN_BUDGET + 4 * sum(array.size for array in constants.values())
    shapes = _shapes(model) if any(node.op_type == "Shape" for node in model.graph.node) else {}
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx"):
            continue
        if node.op_type == "Constant":
            constants[node.output[0]] = constant_of(node)
        elif node.op_type == "Shape" and node.input[0] in shapes:
            chosen = slice(attributes_of(node).get("start", 0), attributes_of(node).get("end"))
            constants[node.output[0]] = np.asarray(shapes[node.input[0]][chosen], "int64")
        elif node.op_type in FOLDED and all(name in constants for name in node.input):
            inputs = [constants[name] for name in node.input]
            budget -= _largest_size(node.op_type, inputs)
            if budget < 0:
                raise ValueError(f"{named(node)} computes too large a constant")
            constants[node.output[0]] = _folded(node, inputs, versions)
    return constants


def _folded(node: NodeProto, inputs: list[np.ndarray], versions: dict[str, int]) -> np.ndarray:
    """Compute a node of constants."""
    xp = get_backend("cpu").xp
    (result,) = operator_of(node, versions)(xp, inputs, attributes_of(node), 1)
    return np.asarray(result)


def _largest_size(operator: str, inputs: list[np.ndarray]) -> int:
    """Return the size of the largest output that an operator of :data:`FOLDED` can have."""
    sizes = [array.size for array in inputs]
    return math.prod(sizes) if operator == "Gather" else sum(sizes)


def _shapes(model: ModelProto) -> dict[str, list[int]]:
    """Return the shapes of all values whose lengths are known; 0 stands for the batch, as in the operator Reshape."""
    graph = shape_inference.infer_shapes(model).graph
    found = {}
    for value in (*graph.input, *graph.value_info):
        axes = value.type.tensor_type.shape.dim
        lengths = [0, *(axis.dim_value for axis in axes[1:])] if axes else []
        if lengths and min(lengths[1:], default=1) > 0:
            found[value.name] = lengths
    return found


def _needed_nodes(model: ModelProto, constants: dict[str, np.ndarray], source: str, target: str) -> list[Node]:
    """Return the nodes between the input and the output that are not constant, in order."""
    versions, needed, found = versions_of(model), {target}, []
    for node in reversed(model.graph.node):
        if needed & {*node.output} - constants.keys():
            needed |= {*node.input}
            arrays = [constants.get(name) for name in node.input]
            operator = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
            ends = tuple(node.input), tuple(node.output)
            found.append(Node(named(node), operator, *ends, attributes_of(node), arrays, versions.get("", 1)))
    if source not in needed:
        raise ValueError(f"its output {target!r} does not depend on its input {source!r}")
    return found[::-1]
