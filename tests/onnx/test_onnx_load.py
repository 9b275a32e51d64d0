"""ONNX files as networks: equal outputs, layers with their weights, and training."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import portanet as pn
from bench.networks import NETWORKS
from portanet.graph import Node
from portanet.graph.network import import_graph
from portanet.onnx import Backend, export, load
from tests.cases import LAYERS
from tests.random_nets import random_net

LAYERS = copy.deepcopy(LAYERS)  # other tests change theirs

NOT_LOADED = {
    "Pad(8, mode='circular')": "Gather",
    "RandomCrop(3, 2)": "Slice",
    # With padding, a layer is many nodes, which a mask joins.
    "PositionalEncoding(4, mask_zeros=True)": "Abs",
    "PositionalEmbedding(7, 4, mask_zeros=True)": "Abs",
    "Sequential(Embedding(5, 4, padding_idx=0), PositionalEmbedding(3, 4, mask_zeros=True))": "Abs",
    "RNN(4, 3, mask_zeros=True)": "Abs",
    "Bidirectional(GRU(4, 2, return_sequences=True, mask_zeros=True))": "Abs",
    **{
        f"Sequential(Embedding(5, 4, padding_idx=0), {kind}(4, 3, return_sequences=True, mask_zeros=True))": "Abs"
        for kind in ("RNN", "GRU", "LSTM")
    },
    # Attention is many nodes, which products join.
    "MultiHeadAttention(4, 2)": "MatMul",
    "MultiHeadAttention(4, 2, dropout=0.4, is_causal=True, bias=False)": "MatMul",
    "MultiHeadAttention(4, 1, mask_zeros=True)": "Abs",
    "TransformerBlock(4, 2, dim_feedforward=5, dropout=0.2)": "MatMul",
    "TransformerBlock(4, 2, dim_feedforward=16, is_causal=True, mask_zeros=True)": "Abs",
    "Sequential(Embedding(5, 4, padding_idx=0), TransformerBlock(4, 2, dim_feedforward=16, mask_zeros=True))": "Abs",
}
"""Layers whose nodes are no layer of their own, with the operator that the error names."""


def trained(net: pn.Layer, x: np.ndarray) -> pn.Layer:
    """After a step, so that running statistics and biases are not those of the start."""
    net.initialize(seed=1)
    y, pullback = net.vjp(x)
    if net.topology.parameter_list:
        optimizer = pn.SGD(0.01).bind(net)
        net.zero_grad()
        pullback(np.ones_like(y), need_dx=False)
        optimizer.step()
    return net


@pytest.mark.parametrize("channels_first", [True, False])
@pytest.mark.parametrize(("layer", "x"), LAYERS, ids=[repr(layer) for layer, _ in LAYERS])
def test_every_layer_is_loaded_as_it_was_exported(
    layer: pn.Layer, x: np.ndarray, channels_first: bool, tmp_path: Path
) -> None:
    x = x.astype("float32") if x.dtype.kind == "f" else x
    trained(layer, x)
    export(layer, tmp_path / "net.onnx", x.shape[1:], channels_first=channels_first)
    if repr(layer) in NOT_LOADED:
        with pytest.raises(pn.FileFormatError, match=rf"\({NOT_LOADED[repr(layer)]}\) cannot become a layer"):
            load(tmp_path / "net.onnx")
        return
    net = load(tmp_path / "net.onnx")
    np.testing.assert_allclose(net.predict(x), layer.predict(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "transformer"])  # attention is not read
def test_every_network_of_the_experiments_is_loaded_and_trains_on(name: str, tmp_path: Path) -> None:
    network = NETWORKS[name]
    x = np.random.default_rng(0).uniform(size=(4, *network.input_shape)).astype("float32")
    net = trained(network.build(), x)
    export(net, tmp_path / "net.onnx", network.input_shape)
    copy = load(tmp_path / "net.onnx")
    kinds = [[type(layer) for layer in each.topology.layers.values()] for each in (copy, net)]
    assert kinds[0] == kinds[1]
    np.testing.assert_allclose(copy.predict(x), net.predict(x), rtol=1e-5, atol=1e-6)
    before = copy.get_weights()
    target = np.zeros(copy.predict(x).shape, "float32")
    pn.Trainer(copy, pn.MSELoss(), pn.SGD(0.1)).fit(x, target, epochs=1, progress=False)
    assert any(np.any(before[name] != values) for name, values in copy.get_weights().items())


@pytest.mark.parametrize("seed", range(60))
def test_random_networks_are_loaded_as_they_were_exported(seed: int, tmp_path: Path) -> None:
    net, x = random_net(seed)
    export(net, tmp_path / "net.onnx", x.shape[1:])
    expected = net.predict(x)
    np.testing.assert_allclose(load(tmp_path / "net.onnx").predict(x), expected, rtol=1e-7, atol=1e-9)
    y = Backend.run_model(onnx.load(tmp_path / "net.onnx"), [np.moveaxis(x, -1, 1)])[0]
    np.testing.assert_allclose(np.moveaxis(y, 1, -1), expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("first_layer", [pn.Flatten(), pn.Reshape(4, 6, 1), pn.Sequential(pn.Rescale(), pn.Flatten())])
def test_pictures_without_channels_keep_their_order(first_layer: pn.Layer, tmp_path: Path) -> None:
    net = pn.Sequential(first_layer, pn.Linear(1 if type(first_layer) is pn.Reshape else 24, 3))
    export(net, tmp_path / "net.onnx", (6, 4))
    x = normal(2, 6, 4)
    y = Backend.run_model(onnx.load(tmp_path / "net.onnx"), [x])[0]
    np.testing.assert_allclose(np.moveaxis(y, 1, -1), net.predict(x), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(load(tmp_path / "net.onnx").predict(x), net.predict(x), rtol=1e-5, atol=1e-6)


def value(name: str, shape: list[Any]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def write(
    path: Path,
    nodes: list[onnx.NodeProto],
    shape: list[Any],
    arrays: dict[str, np.ndarray] | None = None,
    *,
    ndim: int | None = None,
) -> onnx.ModelProto:
    """Write a model from x to y, which has ``ndim`` axes, as many as x by default."""
    tensors = [numpy_helper.from_array(array, name) for name, array in (arrays or {}).items()]
    lengths: list[Any] = [f"n{i}" for i in range(ndim or len(shape))]
    graph = helper.make_graph(nodes, "g", [value("x", shape)], [value("y", lengths)], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    path.write_bytes(model.SerializeToString())
    return model


rng = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype("float32")


def assert_loaded(path: Path, model: onnx.ModelProto, x: np.ndarray) -> Any:
    """Outputs of the network, channels-last, are those of the file for a channels-first input."""
    net = load(path)
    expected = Backend.run_model(model, [x])[0]
    y = net.predict(np.moveaxis(x, 1, -1))
    np.testing.assert_allclose(np.moveaxis(y, -1, 1), expected, rtol=1e-5, atol=1e-6)
    return net


def node(operator: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), outputs.split(), name=f"the {operator}", **attributes)


def test_a_linear_after_flatten_takes_the_channels_in_portanets_order(tmp_path: Path) -> None:
    nodes = [
        node("Flatten", "x", "a"),
        node("Relu", "a", "b"),
        node("Gemm", "b w c", "y", transB=1, alpha=0.5, beta=2.0),
    ]
    model = write(tmp_path / "f.onnx", nodes, ["N", 2, 3, 4], {"w": normal(5, 24), "c": normal(5)}, ndim=2)
    net = assert_loaded(tmp_path / "f.onnx", model, normal(2, 2, 3, 4))
    assert repr(net) == "Sequential(Flatten(), ReLU(), Linear(24, 5))"


def test_a_linear_before_a_reshape_to_channels_gives_portanets_order(tmp_path: Path) -> None:
    nodes = [
        node("Gemm", "x w", "a"),
        node("Relu", "a", "b"),
        node("Reshape", "b s", "c"),
        node("Conv", "c k", "y"),
    ]
    arrays = {"w": normal(5, 24), "s": np.asarray([-1, 2, 3, 4]), "k": normal(6, 2, 2, 2)}
    model = write(tmp_path / "f.onnx", nodes, ["N", 5], arrays, ndim=4)
    net = assert_loaded(tmp_path / "f.onnx", model, normal(2, 5))
    assert repr(net[2]) == "Reshape(3, 4, 2)"


def test_channels_last_files_are_loaded(tmp_path: Path) -> None:
    nodes = [node("MatMul", "x w", "a"), node("Add", "a c", "b"), node("Softmax", "b", "y")]
    write(tmp_path / "f.onnx", nodes, ["N", 7, 3], {"w": normal(3, 5), "c": normal(5)})
    assert repr(load(tmp_path / "f.onnx")) == "Sequential(Linear(3, 5), Softmax())"


def test_shapes_that_the_graph_computes_are_constant(tmp_path: Path) -> None:
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s zero", "n", axis=0),
        node("Unsqueeze", "n axes", "m"),
        node("Concat", "m rest", "t", axis=0),
        node("Reshape", "x t", "y"),
    ]
    arrays = {"zero": np.asarray(0), "axes": np.asarray([0]), "rest": np.asarray([-1])}
    write(tmp_path / "f.onnx", nodes, ["N", 7], arrays)
    assert repr(load(tmp_path / "f.onnx")) == "Sequential()"


def test_branches_become_residual_and_parallel(tmp_path: Path) -> None:
    nodes = [
        node("Conv", "x k", "a"),
        node("Relu", "a", "b"),
        node("Conv", "b k2", "c"),
        node("Add", "c a", "d"),
        node("Tanh", "d", "e"),
        node("Concat", "e d", "f", axis=1),
        node("GlobalAveragePool", "f", "g"),
        node("Flatten", "g", "y"),
    ]
    arrays = {"k": normal(3, 2, 3, 3), "k2": normal(3, 3, 1, 1)}
    model = write(tmp_path / "f.onnx", nodes, ["N", 2, 5, 5], arrays, ndim=2)
    net = assert_loaded(tmp_path / "f.onnx", model, normal(2, 2, 5, 5))
    assert [type(layer).__name__ for layer in net] == ["Conv2D", "Residual", "Parallel", "GlobalAvgPool"]


def test_branches_after_flatten_take_the_channels_in_portanets_order(tmp_path: Path) -> None:
    nodes = [
        node("MaxPool", "x", "p", kernel_shape=[1, 1]),
        node("Flatten", "p", "f"),
        node("Gemm", "f v", "a"),
        node("Gemm", "f w", "b"),
        node("Add", "a b", "c"),
        node("Gemm", "c u", "y"),
    ]
    arrays = {"v": normal(24, 24), "w": normal(24, 24), "u": normal(24, 5)}
    model = write(tmp_path / "f.onnx", nodes, ["N", 2, 3, 4], arrays, ndim=2)
    assert_loaded(tmp_path / "f.onnx", model, normal(2, 2, 3, 4))


def test_two_divisions_by_channels_are_not_one(tmp_path: Path) -> None:
    nodes = [node("Sub", "x m", "a"), node("Div", "a s", "b"), node("Div", "b s", "y")]
    write(tmp_path / "f.onnx", nodes, ["N", 3], {"m": normal(3), "s": np.abs(normal(3)) + 1})
    with pytest.raises(pn.FileFormatError, match="its constant is neither one number"):
        load(tmp_path / "f.onnx")


JOINED: list[tuple[pn.Layer, str]] = [
    (pn.Residual(pn.Sequential()), "Rescale(scale=2.0)"),
    (pn.Residual(pn.GaussianNoise(0.1)), "Rescale(scale=2.0)"),
    (pn.Parallel(pn.Sequential(), pn.Sequential()), "Parallel(Sequential(), Sequential())"),
    (pn.Parallel(pn.Conv1D(4, 3, 1)), "Conv1D(4, 3, 1)"),
    (
        pn.Parallel(pn.Conv1D(4, 3, 1), *(pn.Sequential(pn.LayerNorm(4), pn.Conv1D(4, 2, 1)) for _ in range(2))),
        "Parallel(Conv1D(4, 3, 1), Sequential(LayerNorm(4), Conv1D(4, 2, 1)), "
        "Sequential(LayerNorm(4), Conv1D(4, 2, 1)))",
    ),
]


@pytest.mark.parametrize(("layer", "expected"), JOINED, ids=[repr(layer) for layer, _ in JOINED])
def test_branches_that_do_little_or_share_a_transposition_are_loaded(
    layer: pn.Layer, expected: str, tmp_path: Path
) -> None:
    export(layer.initialize(seed=1), tmp_path / "net.onnx", (6, 4))
    net, x = load(tmp_path / "net.onnx"), normal(2, 6, 4)
    assert repr(net) == f"Sequential({expected})"
    np.testing.assert_allclose(net.predict(x), layer.predict(x), rtol=1e-5, atol=1e-6)


def test_residual_of_three_branches(tmp_path: Path) -> None:
    nodes = [node("Relu", "x", "a"), node("Tanh", "x", "b"), node("Sigmoid", "x", "c"), node("Sum", "a b c", "y")]
    model = write(tmp_path / "f.onnx", nodes, ["N", 3])
    assert_loaded(tmp_path / "f.onnx", model, normal(4, 3))


POOL = {"kernel_shape": [2, 2]}
FLOAT = np.float32
ONE_NODE: list[tuple[str, dict[str, Any], list[Any], str]] = [
    ("Clip", {}, [FLOAT(0), FLOAT(6)], "ReLU6()"),
    ("Clip", {}, [FLOAT(0)], "ReLU()"),
    ("Clip", {}, [FLOAT(-0.3), FLOAT(2)], "Hardtanh(min_val=-0.3, max_val=2.0)"),
    ("Dropout", {}, [FLOAT(0.3)], "Dropout(p=0.3)"),
    ("MaxPool", POOL | {"auto_pad": "VALID"}, [], "MaxPool2D(2, stride=1)"),
    ("MaxPool", POOL | {"strides": [2, 2], "ceil_mode": 1}, [], "MaxPool2D(2, ceil_mode=True)"),
    ("MaxPool", POOL | {"auto_pad": "SAME_UPPER"}, [], "MaxPool2D(2, stride=1, padding=((0, 1), (0, 1)))"),
    ("AveragePool", POOL | {"count_include_pad": 1}, [], "AvgPool2D(2, stride=1, count_include_pad=True)"),
    ("GlobalMaxPool", {}, [], "AdaptiveMaxPool2D(1)"),
    ("ReduceMean", {"keepdims": 0}, [np.asarray([2, 3])], "GlobalAvgPool()"),
    ("Resize", {"mode": "nearest"}, [np.zeros(0, FLOAT), np.asarray([1, 1, 2, 2], FLOAT)], "Upsample()"),
    ("Mul", {}, [FLOAT(2)], "Rescale(scale=2.0)"),
    ("Neg", {}, [], "Rescale(scale=-1.0)"),
    ("Softmax", {"axis": 1}, [], "Softmax()"),
    ("GroupNormalization", {"num_groups": 1, "epsilon": 1e-5}, [normal(2), normal(2)], "GroupNorm(1, 2)"),
    ("Cast", {"to": TensorProto.FLOAT}, [], ""),
    ("Gelu", {"approximate": "tanh"}, [], "GELU(approximate=True)"),
]


@pytest.mark.parametrize(
    ("operator", "attributes", "constants", "expected"), ONE_NODE, ids=[f"{item[0]}-{item[3]}" for item in ONE_NODE]
)
def test_one_node_becomes_one_layer(
    operator: str, attributes: dict[str, Any], constants: list[Any], expected: str, tmp_path: Path
) -> None:
    arrays = {f"c{i}": np.asarray(array) for i, array in enumerate(constants)}
    nodes = [node(operator, " ".join(["x", *arrays]), "y", **attributes)]
    model = write(tmp_path / "f.onnx", nodes, ["N", 2, 5, 5], arrays, ndim=2 if operator == "ReduceMean" else 4)
    net = assert_loaded(tmp_path / "f.onnx", model, normal(2, 2, 5, 5))
    assert repr(net) == f"Sequential({expected})"


@pytest.mark.parametrize(
    "after",
    [
        [node("GroupNormalization", "a s s", "y", num_groups=2, epsilon=1e-5)],
        [node("Split", "a", "b c", axis=1, num_outputs=2), node("Sigmoid", "c", "d"), node("Mul", "b d", "y")],
        [node("LayerNormalization", "a s", "y")],
        [node("Reshape", "a t", "y")],
    ],
    ids=lambda nodes: nodes[0].op_type,
)
def test_features_in_another_order_are_not_told_apart(after: list[onnx.NodeProto], tmp_path: Path) -> None:
    arrays = {"s": np.ones(8, "float32"), "t": np.asarray([-1, 4, 2])}
    pool = node("MaxPool", "x", "p", kernel_shape=[2, 2], strides=[2, 2])
    write(tmp_path / "f.onnx", [pool, node("Flatten", "p", "a"), *after], ["N", 2, 4, 4], arrays, ndim=2)
    with pytest.raises(pn.FileFormatError, match=r"flattened in the order|order \(N"):
        load(tmp_path / "f.onnx")


REFUSED: list[tuple[list[onnx.NodeProto], str]] = [
    ([node("Det", "x", "y")], r"node 'the Det' \(Det\) cannot become a layer"),
    ([node("Softmax", "x", "y", axis=2)], r"node 'the Softmax' \(Softmax\) .*axis 2 .* not that of the channels"),
    ([node("Transpose", "x", "y", perm=[1, 0, 2, 3])], "moves the axis of the batch"),
    ([node("Relu", "x", "a"), node("Sub", "a x", "y")], r"node 'the Sub' \(Sub\).* joins branches"),
    ([node("Conv", "x x", "y")], r"node 'the Conv' \(Conv\) .*input 1 is no constant"),
    (
        [node("AveragePool", "x", "y", kernel_shape=[2, 2], dilations=[2, 1])],
        r"node 'the AveragePool' .*: its dilations are \[2, 1\], not 1",
    ),
    ([node("MaxPool", "x", "y", kernel_shape=[9, 9])], r"node 'the MaxPool' .* does not fit"),
    ([node("Selu", "x", "y", alpha=2.0)], r"its alpha is 2.0, not 1.67326"),
    ([node("Transpose", "x", "y", perm=[0, 2, 1, 3])], "its output 'y' has neither the order"),
]


@pytest.mark.parametrize(("nodes", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_is_no_layer_is_named(nodes: list[onnx.NodeProto], message: str, tmp_path: Path) -> None:
    write(tmp_path / "f.onnx", nodes, ["N", 2, 5, 5])
    with pytest.raises(pn.FileFormatError, match=message):
        load(tmp_path / "f.onnx")


BLOCKS: dict[str, tuple[list[onnx.NodeProto], dict[str, np.ndarray], str]] = {
    "sum of two shapes": (
        [node("Gemm", "x v", "a"), node("Gemm", "x w", "b"), node("Add", "a b", "y")],
        {"v": np.ones((4, 2), "float32"), "w": np.ones((4, 3), "float32")},
        "Add",
    ),
    "GLU of an odd number": (
        [
            *(node("Gemm", "x w", "a"), node("Split", "a", "b c", axis=1, num_outputs=2)),
            *(node("Sigmoid", "c", "d"), node("Mul", "b d", "y")),
        ],
        {"w": np.ones((4, 3), "float32")},
        "Mul",
    ),
    "GLU of three parts": (
        [
            *(node("Gemm", "x w", "a"), node("Split", "a", "b c d", axis=1, num_outputs=3)),
            *(node("Sigmoid", "c", "e"), node("Mul", "b e", "y")),
        ],
        {"w": np.ones((4, 3), "float32")},
        "Split",
    ),
    "RMSNorm with a negative eps": (
        [
            *(node("Mul", "x x", "a"), node("ReduceMean", "a axes", "b"), node("Add", "b eps", "c")),
            *(node("Sqrt", "c", "d"), node("Div", "x d", "y")),
        ],
        {"axes": np.asarray([-1]), "eps": np.asarray(-1.0, "float32")},
        "Div",
    ),
}
"""Blocks of nodes whose layer cannot be made, with the operator that the error names."""


@pytest.mark.parametrize("name", BLOCKS)
def test_an_error_of_a_block_names_a_node(name: str, tmp_path: Path) -> None:
    nodes, arrays, operator = BLOCKS[name]
    graph = helper.make_graph(nodes, "g", [value("x", ["N", 4])], [value("y", ["N", "C"])])
    graph.initializer.extend(numpy_helper.from_array(array, key) for key, array in arrays.items())
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    (tmp_path / "f.onnx").write_bytes(model.SerializeToString())
    message = rf"node 'the {operator}' \({operator}\) cannot become a layer of PortaNet: \w"
    with pytest.raises(pn.FileFormatError, match=message):
        load(tmp_path / "f.onnx")


def test_a_reduction_of_the_whole_input_is_no_adaptive_pooling() -> None:
    join = Node("node 'j' (Concat)", "Concat", ("x", "b"), ("y",), {"axis": 2}, [None, None])
    cut = Node("cut", "Slice", ("x",), ("a",), {"starts": [0], "ends": [1], "axes": [2]}, [None])
    reduction = Node("max", "ReduceMax", ("a",), ("b",), {"axes": [2]}, [None])
    with pytest.raises(ValueError, match=r"node 'j' \(Concat\) cannot .* no reductions of slices along its axis"):
        import_graph("x", [3, 2], [cut, reduction, join], "y")


def test_old_operators_broadcast_from_an_axis_on(tmp_path: Path) -> None:
    def model_with(operator: onnx.NodeProto, shape: list[Any], values: np.ndarray) -> onnx.ModelProto:
        tensors = [numpy_helper.from_array(values, "c")]
        graph = helper.make_graph([operator], "g", [value("x", shape), value("c", [*values.shape])], [], tensors)
        graph.output.append(value("y", shape))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 6)], ir_version=3)
        (tmp_path / "f.onnx").write_bytes(model.SerializeToString())
        return model

    slopes = np.asarray([0.5, 2.0, -1.0], "float32")
    model = model_with(node("PRelu", "x c", "y"), ["N", 3, 4, 3], slopes)
    assert repr(assert_loaded(tmp_path / "f.onnx", model, normal(2, 3, 4, 3))) == "Sequential(PReLU(num_parameters=3))"
    model_with(node("Add", "x c", "y", broadcast=1, axis=1), ["N", 4, 4], np.ones(4, "float32"))
    with pytest.raises(pn.FileFormatError, match="its constant is neither one number nor what a layer holds"):
        load(tmp_path / "f.onnx")
    model = model_with(node("Add", "x c", "y", broadcast=1), ["N", 4, 4], np.ones(1, "float32"))
    assert_loaded(tmp_path / "f.onnx", model, normal(2, 4, 4))
    nodes = [node("MatMul", "x w", "a"), node("Add", "a b", "y", broadcast=1, axis=1)]
    arrays = {"w": normal(4, 3), "b": normal(3)}
    inputs = [value("x", ["N", 4]), *(value(name, [*array.shape]) for name, array in arrays.items())]
    tensors = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "g", inputs, [value("y", ["N", 3])], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 6)], ir_version=3)
    (tmp_path / "f.onnx").write_bytes(model.SerializeToString())
    assert repr(assert_loaded(tmp_path / "f.onnx", model, normal(2, 4))) == "Sequential(Linear(4, 3))"
    model_with(node("Add", "x c", "y"), ["N", 4, 4], np.ones(1, "float32"))
    with pytest.raises(pn.FileFormatError, match=r"\(Add\) .* must be constant and its broadcast 1"):
        load(tmp_path / "f.onnx")


def test_an_input_without_lengths_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "f.onnx", [node("Relu", "x", "y")], ["N", 2, "H", "W"])
    with pytest.raises(pn.FileFormatError, match="does not give all lengths"):
        load(tmp_path / "f.onnx")


def test_loaded_networks_are_on_the_device_and_can_be_saved(tmp_path: Path) -> None:
    net = pn.Sequential(pn.Linear(3, 2), pn.BatchNorm(2), pn.Dropout(0.25)).initialize(seed=1)
    export(net, tmp_path / "net.onnx", (3,))
    copy = load(tmp_path / "net.onnx", device="strict")
    assert copy.backend.name == "strict"
    assert repr(copy) == repr(net)
    copy.save(tmp_path / "net.safetensors")
    x = normal(2, 3)
    np.testing.assert_allclose(pn.load(tmp_path / "net.safetensors").predict(x), net.predict(x), rtol=1e-6)


def test_float64_files_give_float64_networks(tmp_path: Path) -> None:
    net = pn.Linear(3, 2).initialize(dtype="float64")
    export(net, tmp_path / "net.onnx", (3,))
    assert load(tmp_path / "net.onnx").flat.dtype == "float64"


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([node("Sigmoid", "x", "a"), node("Mul", "a x", "y")], "SiLU()"),
        ([node("Softplus", "x", "a"), node("Tanh", "a", "b"), node("Mul", "x b", "y")], "Mish()"),
        (
            [node("Split", "x", "a b", axis=1, num_outputs=2), node("Sigmoid", "b", "c"), node("Mul", "a c", "y")],
            "GLU()",
        ),
    ],
    ids=["SiLU", "Mish", "GLU"],
)
def test_formulas_of_activations_are_recognized(nodes: list[onnx.NodeProto], expected: str, tmp_path: Path) -> None:
    model = write(tmp_path / "f.onnx", nodes, ["N", 4])
    assert repr(assert_loaded(tmp_path / "f.onnx", model, normal(3, 4))) == f"Sequential({expected})"


def test_a_model_for_a_fixed_number_of_examples_takes_any_number(tmp_path: Path) -> None:
    nodes = [node("Reshape", "x s", "a"), node("Gemm", "a w", "y")]
    arrays = {"s": np.asarray([3, -1]), "w": normal(8, 2)}
    write(tmp_path / "f.onnx", nodes, [3, 2, 2, 2], arrays, ndim=2)
    assert load(tmp_path / "f.onnx").predict(normal(7, 2, 2, 2)).shape == (7, 2)


def recurrent_arrays(kind: str, n_directions: int = 1) -> dict[str, np.ndarray]:
    """Weights of an operator from 3 to 2 numbers."""
    n = 2 * {"RNN": 1, "GRU": 3, "LSTM": 4}[kind]
    return {"w": normal(n_directions, n, 3), "r": normal(n_directions, n, 2), "b": normal(n_directions, 2 * n)}


BATCH_FIRST = node("Transpose", "x", "a", perm=[1, 0, 2])
RECURRENT: list[Any] = [
    (
        "LSTM",
        {},
        "b",
        [node("Squeeze", "b one", "c"), node("Transpose", "c", "y", perm=[1, 0, 2])],
        "LSTM(3, 2, {all})",
    ),
    ("RNN", {}, " c", [node("Squeeze", "c zero", "y")], "RNN(3, 2)"),
    (
        *("GRU", {"linear_before_reset": 1, "direction": "reverse"}, " c", [node("Squeeze", "c zero", "y")]),
        "GRU(3, 2, go_backwards=True)",
    ),
    ("RNN", {"layout": 1}, "b", [node("Squeeze", "b two", "y")], "RNN(3, 2, {all})"),
    ("LSTM", {"layout": 1}, " c d", [node("Squeeze", "c one", "y")], "LSTM(3, 2)"),
    (
        *("LSTM", {"direction": "bidirectional"}, "b"),
        [
            *(node("Transpose", "b", "c", perm=[0, 2, 1, 3]), node("Reshape", "c joined", "d")),
            node("Transpose", "d", "y", perm=[1, 0, 2]),
        ],
        "Bidirectional(LSTM(3, 2, {all}))",
    ),
]
"""Operators with their attributes, outputs and nodes after them, as PyTorch and others write them."""


@pytest.mark.parametrize("case", RECURRENT, ids=[expected for *_, expected in RECURRENT])
def test_recurrent_operators_are_layers(case: Any, tmp_path: Path) -> None:
    kind, attributes, outputs, after, expected = case
    names = outputs.split(" ")
    start = "x" if "layout" in attributes else "a"
    operator = helper.make_node(kind, [start, "w", "r", "b0"], names, hidden_size=2, **attributes)
    weights = recurrent_arrays(kind, 2 if "bidirectional" in attributes.values() else 1)
    axes = {name: np.asarray([i]) for i, name in enumerate(("zero", "one", "two"))}
    arrays = {"w": weights["w"], "r": weights["r"], "b0": weights["b"], **axes, "joined": np.asarray([0, 0, -1])}
    nodes = [*([] if "layout" in attributes else [BATCH_FIRST]), operator, *after]
    model = write(tmp_path / "f.onnx", nodes, ["N", 5, 3], arrays, ndim=3 if "all" in expected else 2)
    net, x = load(tmp_path / "f.onnx"), normal(4, 5, 3)
    assert repr(net) == f"Sequential({expected.format(all='return_sequences=True')})"
    np.testing.assert_allclose(net.predict(x), Backend.run_model(model, [x])[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n_directions", [1, 2])
def test_stacked_operators_with_computed_zero_states_are_layers(n_directions: int, tmp_path: Path) -> None:
    """As PyTorch writes a GRU of two layers: the second takes (T, N, D), and the shape of the states is computed."""
    state = [
        *(node("Shape", "x", "s"), node("Gather", "s zero", "n"), node("Unsqueeze", "n zero_axis", "m")),
        *(node("Concat", "directions m hidden", "t", axis=0), node("Expand", "no_state t", "h")),
    ]
    direction = "bidirectional" if n_directions == 2 else "forward"
    steps: list[onnx.NodeProto] = []
    for i, start in enumerate(("a", "z0")):
        names = [start, f"w{i}", f"r{i}", f"b{i}", "", "h"]
        options: Any = {"hidden_size": 2, "linear_before_reset": 1, "direction": direction}
        steps.append(helper.make_node("GRU", names, [f"q{i}"], **options))
        if n_directions == 2:
            steps += [
                node("Transpose", f"q{i}", f"p{i}", perm=[0, 2, 1, 3]),
                node("Reshape", f"p{i} joined", f"z{i}"),
            ]
        else:
            steps.append(node("Squeeze", f"q{i} one", f"z{i}"))
    arrays = {name: np.asarray([i]) for name, i in (("one", 1), ("zero_axis", 0), ("directions", n_directions))}
    arrays |= {"zero": np.asarray(0), "hidden": np.asarray([2]), "joined": np.asarray([0, 0, -1])}
    arrays["no_state"] = np.zeros((), "float32")
    for i, n_in in enumerate((3, 2 * n_directions)):
        given = {"w": normal(n_directions, 6, n_in), "r": normal(n_directions, 6, 2), "b": normal(n_directions, 12)}
        arrays |= {f"{name}{i}": values for name, values in given.items()}
    nodes = [*state, BATCH_FIRST, *steps, node("Transpose", "z1", "y", perm=[1, 0, 2])]
    model = write(tmp_path / "f.onnx", nodes, ["N", 5, 3], arrays)
    net, x = load(tmp_path / "f.onnx"), normal(4, 5, 3)
    kind = pn.Bidirectional if n_directions == 2 else pn.GRU
    assert isinstance(net, pn.Sequential)
    assert [type(layer) for layer in net] == [kind, kind]
    np.testing.assert_allclose(net.predict(x), Backend.run_model(model, [x])[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "inputs", "attributes", "message"),
    [
        ("GRU", "", {}, "its linear_before_reset is 0, not 1"),
        ("RNN", "", {"activations": ["Relu"]}, r"its activations are \['Relu'\], not \['tanh'\]"),
        ("LSTM", "", {"clip": 3.0}, "its clip is 3.0, not None"),
        ("RNN", " lens", {}, "its input 4 gives lengths of sequences"),
        ("RNN", " - h", {}, "its input 5 gives a first state"),
    ],
)
def test_recurrent_operators_that_no_layer_computes_are_named(
    kind: str, inputs: str, attributes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    names = ["a", "w", "r", "b", *("" if name == "-" else name for name in inputs.split())]
    operator = helper.make_node(kind, names, ["", "c"], name="states", hidden_size=2, **attributes)
    arrays = {**recurrent_arrays(kind), "lens": np.asarray([5], "int32"), "h": normal(1, 1, 2), "zero": np.asarray([0])}
    write(tmp_path / "f.onnx", [BATCH_FIRST, operator, node("Squeeze", "c zero", "y")], ["N", 5, 3], arrays, ndim=2)
    with pytest.raises(pn.FileFormatError, match=rf"node 'states' \({kind}\) cannot become a layer .*{message}"):
        load(tmp_path / "f.onnx")


def write_ids(path: Path, nodes: list[onnx.NodeProto], shape: list[Any], ndim: int) -> None:
    """Write a model from int64 to floats, with a matrix ``w`` of 6 rows."""
    write(path, nodes, shape, {"w": normal(6, 3)}, ndim=ndim)
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    path.write_bytes(model.SerializeToString())


def test_ids_of_more_axes_keep_their_order(tmp_path: Path) -> None:
    write_ids(tmp_path / "f.onnx", [node("Gather", "w x", "y")], ["N", 2, 4], 4)
    ids = rng.integers(0, 6, size=(3, 2, 4))
    net, (expected,) = load(tmp_path / "f.onnx"), Backend.run_model(onnx.load(tmp_path / "f.onnx"), [ids])
    assert repr(net) == "Sequential(Embedding(6, 3))"
    np.testing.assert_array_equal(net.predict(ids), expected)


def test_integers_that_are_no_ids_are_refused(tmp_path: Path) -> None:
    write_ids(tmp_path / "f.onnx", [node("Cast", "x", "y", to=TensorProto.FLOAT)], ["N", 3], 2)
    with pytest.raises(pn.FileFormatError, match="its input 'x' is of integers, but no Embedding takes them"):
        load(tmp_path / "f.onnx")


X4 = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])


@pytest.mark.parametrize(
    ("nodes", "constants", "message"),
    [
        ([("Relu", ["x"], ["r"]), ("Sum", ["x", "r", "c"], ["y"])], {"c": np.ones(4)}, "one of its inputs is constant"),
        ([("Gemm", ["x", "w", "x"], ["y"])], {"w": np.eye(4)}, "its third input is no constant"),
        ([("Dropout", ["x"], ["d", "y"])], {}, "its output 'y' is not the first one"),
    ],
)
def test_an_input_or_output_that_no_layer_has_is_refused(
    tmp_path: Path, nodes: Any, constants: dict[str, np.ndarray], message: str
) -> None:
    initializers = [numpy_helper.from_array(values.astype("float32"), name) for name, values in constants.items()]
    kind = TensorProto.BOOL if nodes[0][0] == "Dropout" else TensorProto.FLOAT
    output = helper.make_tensor_value_info("y", kind, ["N", 4])
    graph = helper.make_graph([helper.make_node(*node) for node in nodes], "g", [X4], [output], initializers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]), tmp_path / "net.onnx")
    with pytest.raises(pn.FileFormatError, match=message):
        pn.onnx.load(tmp_path / "net.onnx")
