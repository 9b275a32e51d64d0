"""ONNX models changed as a hostile writer would: valid protobuf, with odd nodes, shapes and tensors."""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

import portanet as pn
from portanet.onnx.exporting import to_model

SIZES = [0, 1, -1, 2, 3, 7, 2**31, 2**40, 2**62, -(2**63)]
NAMES = ["", "x", "input", "output", "0.weight", "nothing", "../../x", "\x1b[2J"]
OPERATORS = ["Relu", "Conv", "Gemm", "Add", "Concat", "Flatten", "Reshape", "Transpose", "If", "Det", "Constant", ""]
LOCATIONS = ["/etc/passwd", "../hostile", "hostile", ".", "", "missing", "/dev/zero"]


def a_model() -> onnx.ModelProto:
    branch = pn.Sequential(pn.Conv2D(3, 3, 3, padding=1, bias=False), pn.BatchNorm(3), pn.SiLU())
    net = pn.Sequential(
        *(pn.Conv2D(1, 3, 2), pn.ReLU(), pn.Residual(branch), pn.MaxPool2D(2), pn.GroupNorm(3, 3)),
        *(pn.Parallel(pn.TanH(), pn.Sigmoid()), pn.Flatten(), pn.Linear(24, 4), pn.Dropout(0.3), pn.GLU()),
    )
    return to_model(net, (5, 5, 1))


def a_graph() -> onnx.ModelProto:
    """With ids and images as inputs, a join of features in two orders, a value that two nodes take, and two outputs."""
    image = pn.Sequential(pn.Conv2D(1, 3, 2), pn.SiLU(), pn.Flatten())
    net = pn.Graph(
        *((pn.Embedding(7, 4), "user", "a"), (image, "image", "b"), (pn.Concatenate(), ("a", "b"), "c")),
        *((pn.Linear(52, 4), "c", "d"), (pn.Multiply(), ("a", "d"), "product"), (pn.Dot(), ("a", "d"), "score")),
    )
    return to_model(net, {"user": (), "image": (5, 5, 1)})


def pick(rng: np.random.Generator, items: Any) -> Any:
    return items[int(rng.integers(len(items)))]


def changed_model(rng: np.random.Generator, model: onnx.ModelProto) -> onnx.ModelProto:
    """Change one to three parts of a model."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for _ in range(int(rng.integers(1, 4))):
        pick(rng, [change_node, change_node, change_attribute, change_tensor, change_input, change_graph])(rng, changed)
    return changed


def change_node(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    nodes = model.graph.node
    if not nodes:
        return
    node = pick(rng, nodes)
    values = [*NAMES, *(name for other in nodes for name in other.output)]
    match int(rng.integers(6)):
        case 0:
            node.op_type = pick(rng, OPERATORS)
        case 1 if node.input:
            node.input[int(rng.integers(len(node.input)))] = pick(rng, values)
        case 2:
            node.input.append(pick(rng, values))
        case 3 if node.input:
            del node.input[int(rng.integers(len(node.input)))]
        case 4:
            nodes.remove(node)
        case _:
            node.output[0] = pick(rng, values)


def change_attribute(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    attributes = [(node, attribute) for node in model.graph.node for attribute in node.attribute]
    if not attributes:
        return
    node, attribute = pick(rng, attributes)
    name = attribute.name
    value = pick(
        rng, [pick(rng, SIZES), [pick(rng, SIZES)] * 2, [pick(rng, SIZES)] * 4, 1e30, float("nan"), "same", [0.5], None]
    )
    node.attribute.remove(attribute)
    if value is not None:
        node.attribute.append(helper.make_attribute(name, value))


def change_tensor(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    if not model.graph.initializer:
        return
    tensor = pick(rng, model.graph.initializer)
    match int(rng.integers(6)):
        case 0 if tensor.dims:
            tensor.dims[int(rng.integers(len(tensor.dims)))] = pick(rng, SIZES)
        case 1:
            tensor.data_type = int(rng.integers(30))
        case 2:
            tensor.raw_data = tensor.raw_data[: int(rng.integers(len(tensor.raw_data) + 1))]
        case 3:
            tensor.data_location = TensorProto.EXTERNAL
            entries = {"location": pick(rng, LOCATIONS), "offset": str(pick(rng, SIZES)), "length": "4"}
            for key, value in entries.items():
                tensor.external_data.add(key=key, value=value)
        case 4:
            model.graph.initializer.remove(tensor)
        case _:
            values = np.full(tuple(tensor.dims), pick(rng, [np.nan, np.inf, 1e30, 0.0, -1.0]), "float32")
            tensor.raw_data = values.tobytes()


def change_input(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    value = pick(rng, [*model.graph.input, *model.graph.output])
    axes = value.type.tensor_type.shape.dim
    match int(rng.integers(4)):
        case 0 if axes:
            pick(rng, axes).dim_value = pick(rng, SIZES)
        case 1:
            axes.add(dim_value=pick(rng, SIZES))
        case 2:
            value.type.tensor_type.elem_type = int(rng.integers(30))
        case _:
            value.name = pick(rng, NAMES)


def change_graph(rng: np.random.Generator, model: onnx.ModelProto) -> None:
    match int(rng.integers(4)):
        case 0:
            model.opset_import[0].version = pick(rng, [*SIZES, 6, 9, 13])
        case 1:
            model.graph.node.append(pick(rng, model.graph.node))
        case 2:
            nodes = list(model.graph.node)
            rng.shuffle(nodes)
            del model.graph.node[:]
            model.graph.node.extend(nodes)
        case _:
            model.graph.input.append(pick(rng, [*model.graph.input, *model.graph.output]))
