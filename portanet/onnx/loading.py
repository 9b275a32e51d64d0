"""ONNX files read as networks that train on."""

import math
from collections.abc import Sequence
from contextlib import suppress
from os import PathLike
from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto, ValueInfoProto, shape_inference

from portanet import layers
from portanet.backends import Backend, get_backend
from portanet.checks import check_path
from portanet.files import as_file_errors
from portanet.graph import Node
from portanet.graph.flow import Arrays
from portanet.graph.joins import Source, import_joins
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


def load(path: str | PathLike[str], *, device: str | Backend | None = None) -> layers.Sequential | layers.Graph:
    """
    Read an ONNX file as a network, which predicts, trains and is saved as any other.

    The nodes become :class:`portanet.Sequential`; within it, sums of branches become :class:`portanet.Residual` and
    concatenations :class:`portanet.Parallel`. A file with several inputs or outputs, or with other joins, becomes
    :class:`portanet.Graph`. Inputs and outputs are channels-last, as everywhere in PortaNet: a file with inputs
    (N, C, H, W) becomes a network that takes (N, H, W, C). Integers are ids of an :class:`portanet.Embedding`.
    Attention is not recognized. Nothing in the file is run as code.

    Parameters
    ----------
    path : path-like
        The file; tensors in other files are read if these lie in the same folder.
    device : str, optional
        Where to put the network.

    Returns
    -------
    Sequential or Graph
        With the weights of the file. The inputs and outputs of a Graph have the names of the file, with _ in place of
        other characters than letters and digits.

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

    Two inputs:

    >>> net = portanet.Graph(
    ...     (portanet.Embedding(50, 8), "user", "u"),
    ...     (portanet.Linear(6, 8), "item", "v"),
    ...     (portanet.Dot(), ("u", "v"), "score"),
    ... )
    >>> portanet.onnx.export(net, "net.onnx", {"user": (), "item": (6,)})
    >>> load("net.onnx").inputs
    ('user', 'item')
    """
    path, backend = check_path("path", path), get_backend(device)
    model = read_model(Path(path))
    with as_file_errors(path):
        return build_network(*to_network(inlined(model)), backend)


def to_network(model: ModelProto) -> tuple[layers.Sequential | layers.Graph, Arrays, str]:
    """Return a model as a network, the values of its layers, and its dtype."""
    sources, targets = _sources(model), [str(value.name) for value in model.graph.output]
    nodes = _needed_nodes(model, _constants(model), targets)
    dtype = _dtype(model, nodes)
    if len(sources) == len(targets) == 1:
        with suppress(ValueError):  # a Graph has other joins, and names the node that is no layer
            return *_chain(sources, nodes, targets[0]), dtype
    return *import_joins(sources, nodes, targets), dtype


def _chain(sources: dict[str, Source], nodes: list[Node], target: str) -> tuple[layers.Sequential, Arrays]:
    """Return a model of one input and one output as layers one after the other."""
    ((name, source),) = sources.items()
    flow = import_graph(name, source.lengths, nodes, target, n_examples=source.n_examples)
    net = layers.Sequential(*flow.layers)
    if source.is_ids and not takes_ids(net):
        raise ValueError(f"its input {name!r} is of integers, but no Embedding takes them")
    return net, flow.arrays


def _inputs(model: ModelProto) -> list[ValueInfoProto]:
    """Return the inputs that have no initializer."""
    given = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in given]


def _sources(model: ModelProto) -> dict[str, Source]:
    """Return the inputs with their shapes."""
    if not (inputs := _inputs(model)) or not model.graph.output:
        raise ValueError("it has no input without initializer, or no output")
    sources = {}
    for value in inputs:
        shape = [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        is_ids = _dtype_of(value).startswith("int")
        if not shape or min(shape[1:], default=int(is_ids)) < 1:
            raise ValueError(f"its input {value.name!r} does not give all lengths of one example")
        sources[value.name] = Source(tuple(shape[1:]), shape[0], is_ids)
    return sources


def _dtype_of(value: ValueInfoProto) -> str:
    """Return the dtype of an input: of floats, or of ids."""
    dtype = DTYPES.get(value.type.tensor_type.elem_type, "")
    if dtype not in ("float32", "float64", "int32", "int64"):
        raise ValueError(f"its input {value.name!r} has another dtype than float32 and float64")
    return dtype


def _dtype(model: ModelProto, nodes: list[Node]) -> str:
    """Return the dtype of the network: that of the inputs of floats, or of the weights."""
    found = {dtype: None for value in _inputs(model) if (dtype := _dtype_of(value)).startswith("float")}
    if len(found) > 1:
        raise ValueError("it has inputs of float32 and of float64")
    arrays = (array for node in nodes for array in node.constants if array is not None)
    return next(iter(found), next((str(array.dtype) for array in arrays if array.dtype.kind == "f"), "float32"))


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


def _needed_nodes(model: ModelProto, constants: dict[str, np.ndarray], targets: Sequence[str]) -> list[Node]:
    """Return the nodes that the outputs need and that are not constant, in order."""
    versions, needed, found = versions_of(model), {*targets}, []
    for node in reversed(model.graph.node):
        if needed & {*node.output} - constants.keys():
            needed |= {*node.input}
            arrays = [constants.get(name) for name in node.input]
            operator = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
            ends = tuple(node.input), tuple(node.output)
            found.append(Node(named(node), operator, *ends, attributes_of(node), arrays, versions.get("", 1)))
    return found[::-1]
