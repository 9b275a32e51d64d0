"""Files of several inputs and outputs, or of other joins than Residual and Parallel, as a Graph."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import portanet as pn
from portanet.graph.joins import MAX_INPUTS
from portanet.onnx import Backend, export, load
from portanet.tree import tree_map
from tests.cases import LAYERS
from tests.onnx.test_onnx_export_graph import CASES, export_graph

RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype("float32")


def dense(n_in: int, n_out: int) -> pn.Sequential:
    return pn.Sequential(pn.Linear(n_in, n_out), pn.ReLU())


def image_features() -> pn.Sequential:
    """With a Flatten of several positions and channels, of which files have another order."""
    return pn.Sequential(pn.Conv2D(2, 3, 3), pn.SiLU(), pn.Flatten())


NOT_LOADED = {
    "attention to another sequence": r"\(MatMul\) .*no layer that joins branches",
    "attention with padding": r"\(Abs\) .*no layer for this operator",
}
"""Graphs whose nodes are no layers of their own, with the error."""

GRAPHS: dict[str, tuple[pn.Graph, dict[str, np.ndarray]]] = {
    **{name: (copy.deepcopy(net), x) for name, (net, x) in CASES.items() if name not in NOT_LOADED},
    **{
        repr(net): (copy.deepcopy(net), {net.inputs[0]: x.astype("float32")})
        for net, x in LAYERS
        if isinstance(net, pn.Graph)
    },
    "users and items": (
        pn.Graph(
            (pn.Embedding(50, 8), "user", "u"),
            (pn.Sequential(dense(6, 16), pn.Linear(16, 8)), "item", "v"),
            (pn.Dot(), ("u", "v"), "score"),
        ),
        {"user": RNG.integers(0, 50, 4), "item": normal(4, 6)},
    ),
    "an auto-encoder with a head": (
        pn.Graph((dense(8, 4), "image", "code"), (pn.Linear(4, 8), "code", "copy"), (pn.Linear(4, 3), "code", "label")),
        {"image": normal(4, 8)},
    ),
    "the functional model": (
        pn.Graph(
            *((dense(8, 6), "image", "a"), (dense(3, 4), "size", "b"), (pn.Concatenate(), ("a", "b"), "c")),
            *((pn.Linear(10, 10), "c", "digit"), (pn.Linear(10, 1), "c", "odd")),
        ),
        {"image": normal(4, 8), "size": normal(4, 3)},
    ),
    "features of images and rows": (
        pn.Graph(
            *((image_features(), "image", "a"), (dense(3, 4), "size", "b")),
            *((pn.Concatenate(), ("b", "a", "b"), "c"), (pn.Linear(26, 5), "c", "y")),
        ),
        {"image": normal(4, 5, 4, 2), "size": normal(4, 3)},
    ),
    "features of two images": (
        pn.Graph(
            *((image_features(), "left", "a"), (image_features(), "right", "b"), (pn.Multiply(), ("a", "b"), "c")),
            *((pn.Add(), ("a", "b", "c", "c"), "d"), (pn.Linear(18, 5), "d", "y")),
        ),
        {"left": normal(4, 5, 4, 2), "right": normal(4, 5, 4, 2)},
    ),
    "formulas between joins": (
        pn.Graph(
            *((pn.Sequential(pn.Linear(4, 6), pn.Mish(), pn.GLU(), pn.RMSNorm(3)), "x", "a"), (pn.SiLU(), "z", "b")),
            *((pn.Multiply(), ("a", "b"), "c"), (pn.Multiply(), ("c", "c"), "d"), (pn.Add(), ("d", "d", "z"), "y")),
        ),
        {"x": normal(4, 4), "z": normal(4, 3)},
    ),
    "a residual network and one image": (
        pn.Graph(
            (pn.Sequential(pn.Residual(pn.Conv2D(2, 2, 3, padding=1)), pn.AdaptiveAvgPool2D(2)), "image", "a"),
            (pn.Parallel(pn.Conv2D(2, 2, 2), pn.MaxPool2D(2, stride=1)), "small", "b"),
            *((pn.Concatenate(), ("a", "b"), "y"), (pn.Sequential(pn.GlobalAvgPool(), pn.Softmax()), "y", "p")),
            outputs=("p", "y"),
        ),
        {"image": normal(4, 5, 5, 2), "small": normal(4, 3, 3, 2)},
    ),
    "all states and the last one": (
        pn.Graph(
            (pn.GRU(3, 4, return_sequences=True, return_state=True), "x", ("all", "h")),
            (pn.LSTM(4, 2, return_sequences=True, return_state=True, go_backwards=True), "all", ("y", "s", "c")),
            (pn.Linear(4, 2), "h", "z"),
            (pn.Multiply(), ("z", "c"), "p"),
            outputs=("y", "p"),
        ),
        {"x": normal(4, 5, 3)},
    ),
    "only the cell of an LSTM": (
        pn.Graph((pn.LSTM(3, 2, return_state=True), "x", ("y", "h", "c")), outputs="c"),
        {"x": normal(4, 5, 3)},
    ),
    "texts and numbers": (
        pn.Graph(
            *((pn.Embedding(9, 4), "text", "e"), (pn.Bidirectional(pn.LSTM(4, 3)), "e", "a"), (pn.GRU(4, 6), "e", "b")),
            *((pn.Conv1D(2, 6, 3), "signal", "c"), (pn.GlobalMaxPool(), "c", "d"), (pn.Add(), ("a", "b", "d"), "y")),
        ),
        {"text": RNG.integers(0, 9, (4, 5)), "signal": normal(4, 7, 2)},
    ),
}


def trained(net: pn.Layer, x: Any) -> dict[str, np.ndarray]:
    """Return the outputs after a step of training, by name."""
    optimizer = pn.SGD(0.01).bind(net)
    y, pullback = net.vjp(x)
    net.zero_grad()
    pullback(tree_map(np.ones_like, y), need_dx=False)
    optimizer.step()
    return by_name(net.predict(x))


def by_name(y: Any) -> dict[str, np.ndarray]:
    return y if isinstance(y, dict) else {"": y}


def assert_equal(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        np.testing.assert_allclose(found[key], values, rtol=1e-5, atol=1e-6, err_msg=key)


@pytest.mark.parametrize("channels_first", [True, False])
@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_are_loaded_as_they_were_exported_and_train_on(name: str, channels_first: bool, tmp_path: Path) -> None:
    net, x = GRAPHS[name]
    export_graph(net, x, tmp_path / "net.onnx", channels_first=channels_first)
    loaded = load(tmp_path / "net.onnx")
    given: Any = x if isinstance(loaded, pn.Graph) else next(iter(x.values()))
    assert_equal(by_name(loaded.predict(given)), by_name(net.predict(x)))
    if net.topology.parameter_list:
        assert_equal(trained(loaded, given), trained(net, x))


@pytest.mark.parametrize("name", NOT_LOADED)
def test_graphs_of_other_layers_are_refused(name: str, tmp_path: Path) -> None:
    net, x = CASES[name]
    export_graph(net, x, tmp_path / "net.onnx")
    with pytest.raises(pn.FileFormatError, match=NOT_LOADED[name]):
        load(tmp_path / "net.onnx")


def test_an_lstm_takes_both_first_states_or_none(tmp_path: Path) -> None:
    net = pn.Graph((pn.LSTM(3, 4), ("x", "h", "c"), "y")).initialize(seed=1)
    x = {"x": normal(2, 5, 3), "h": normal(2, 4), "c": normal(2, 4)}
    export(net, tmp_path / "net.onnx", {key: values.shape[1:] for key, values in x.items()})
    loaded = load(tmp_path / "net.onnx")
    assert_equal(by_name(loaded.predict(x)), by_name(net.predict(x)))
    assert_equal(trained(loaded, x), trained(net, x))
    model = onnx.load(tmp_path / "net.onnx")
    next(each for each in model.graph.node if each.op_type == "LSTM").input[6] = ""
    model.graph.node.remove(next(each for each in model.graph.node if each.input[0] == "c"))
    del model.graph.input[2]
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(pn.FileFormatError, match=r"\(LSTM\) .*needs a tuple \(x, h, c\)"):
        load(tmp_path / "net.onnx")


def test_a_first_state_needs_an_axis_of_directions(tmp_path: Path) -> None:
    net, x = CASES["a state that is given"]
    export(net, tmp_path / "net.onnx", {key: values.shape[1:] for key, values in x.items()})
    model = onnx.load(tmp_path / "net.onnx")
    next(each for each in model.graph.node if each.input[0] == "h").op_type = "Add"
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(pn.FileFormatError, match=r"\(GRU\) .*its input 5 is no constant"):
        load(tmp_path / "net.onnx")


def test_joins_and_the_layers_between_them_are_nodes(tmp_path: Path) -> None:
    net, _ = GRAPHS["users and items"]
    export(net.initialize(seed=1), tmp_path / "net.onnx", {"user": (), "item": (6,)})
    copy = load(tmp_path / "net.onnx")
    tower = "Sequential(Linear(6, 16), ReLU(), Linear(16, 8))"
    assert repr(copy) == (
        f"Graph((Embedding(50, 8), 'user', 'embedding'), ({tower}, 'item', 'linear'), "
        "(Dot(), ('embedding', 'linear'), 'score'), outputs='score')"
    )
    copy.save(tmp_path / "net.safetensors")
    assert repr(pn.load(tmp_path / "net.safetensors")) == repr(copy)


def value(name: str, shape: list[Any], dtype: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def node(operator: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), outputs.split(), name=f"the {operator}", **attributes)


def write(
    path: Path,
    inputs: list[onnx.ValueInfoProto],
    nodes: list[onnx.NodeProto],
    outputs: dict[str, int],
    arrays: dict[str, np.ndarray] | None = None,
) -> onnx.ModelProto:
    """Write a model; ``outputs`` are names with numbers of axes."""
    tensors = [numpy_helper.from_array(array, name) for name, array in (arrays or {}).items()]
    ends = [value(name, [f"n{i}" for i in range(ndim)]) for name, ndim in outputs.items()]
    graph = helper.make_graph(nodes, "g", inputs, ends, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    path.write_bytes(model.SerializeToString())
    return model


def last(x: np.ndarray) -> np.ndarray:
    return np.moveaxis(x, 1, -1)


def test_each_input_has_its_own_order_of_axes(tmp_path: Path) -> None:
    """As PyTorch writes it: images (N, C, H, W), and sequences (N, T, D)."""
    inputs = [value("image", ["N", 2, 5, 4]), value("more", ["N", 2, 5, 4]), value("texts", ["N", 7, 3])]
    nodes = [
        *(node("MatMul", "texts w", "s"), node("Relu", "s", "states"), node("Add", "more image", "both")),
        *(node("Conv", "both k", "i"), node("Tanh", "i", "maps")),
    ]
    arrays = {"w": normal(3, 6), "k": normal(4, 2, 3, 3)}
    model = write(tmp_path / "f.onnx", inputs, nodes, {"states": 3, "maps": 4}, arrays)
    x = {"image": normal(2, 2, 5, 4), "more": normal(2, 2, 5, 4), "texts": normal(2, 7, 3)}
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    y = load(tmp_path / "f.onnx").predict({"image": last(x["image"]), "more": last(x["more"]), "texts": x["texts"]})
    runs: list[Any] = [session.run(None, x), ReferenceEvaluator(model).run(None, x)]
    for states, maps in runs:
        assert_equal(y, {"states": states, "maps": last(maps)})


def test_inputs_that_only_joins_take_have_the_order_of_the_others(tmp_path: Path) -> None:
    inputs = [value("a", ["N", 7, 3]), value("b", ["N", 7, 3])]
    nodes = [node("MatMul", "a w", "c"), node("Mul", "b c", "d"), node("Softmax", "d", "y", axis=2)]
    model = write(tmp_path / "f.onnx", inputs, nodes, {"y": 3}, {"w": normal(3, 3)})
    a, b = normal(2, 7, 3), normal(2, 7, 3)
    y = load(tmp_path / "f.onnx").predict({"a": a, "b": b})
    np.testing.assert_allclose(y, Backend.run_model(model, [a, b])[0], rtol=1e-5, atol=1e-6)


def test_one_input_with_branches_that_share_nodes(tmp_path: Path) -> None:
    nodes = [
        *(node("Relu", "x", "a"), node("Conv", "a k", "b"), node("Concat", "a b x", "c", axis=1)),
        *(node("Conv", "c l", "d"), node("Mul", "d d", "e"), node("Sum", "e d d", "y")),
    ]
    arrays = {"k": normal(3, 2, 1, 1), "l": normal(4, 7, 2, 2)}
    model = write(tmp_path / "f.onnx", [value("x", ["N", 2, 5, 4])], nodes, {"y": 4}, arrays)
    x = normal(3, 2, 5, 4)
    net = load(tmp_path / "f.onnx")
    assert isinstance(net, pn.Graph)
    assert (net.inputs, net.outputs) == (("x",), "y")
    np.testing.assert_allclose(net.predict(last(x)), last(Backend.run_model(model, [x])[0]), rtol=1e-5, atol=1e-6)


def test_names_of_the_file_become_names_of_a_graph(tmp_path: Path) -> None:
    inputs = [value(name, ["N", 3]) for name in ("input.1", "input/1", "2nd", "relu")]
    nodes = [
        *(node("Relu", "input.1", "a"), node("Relu", "input/1", "b"), node("Sum", "a b 2nd relu", "sum:0")),
        node("Identity", "sum:0", "\x1b[2J"),
    ]
    write(tmp_path / "f.onnx", inputs, nodes, {"sum:0": 2, "\x1b[2J": 2})
    net = load(tmp_path / "f.onnx")
    assert isinstance(net, pn.Graph)
    assert net.inputs == ("input_1", "input_1_2", "_2nd", "relu")
    assert [gives for *_, gives in net.nodes] == ["relu_2", "relu_3", "sum_0", "__2J"]
    assert net.outputs == ("sum_0", "__2J")


def test_a_value_that_is_used_many_times(tmp_path: Path) -> None:
    n = 1000
    nodes = [
        *(node("Relu", "x", "a"), *(node("Tanh", "a", f"t{i}") for i in range(n))),
        *(node("Sum", " ".join(f"t{i}" for i in range(n)), "y"), node("Sum", " ".join(["a"] * n), "z")),
    ]
    model = write(tmp_path / "f.onnx", [value("x", ["N", 3])], nodes, {"y": 2, "z": 2})
    x = normal(2, 3)
    y, z = Backend.run_model(model, [x])
    found = load(tmp_path / "f.onnx").predict(x)
    np.testing.assert_allclose(found["y"], y, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(found["z"], z, rtol=1e-4, atol=1e-3)


def test_sums_that_are_nested_deeply(tmp_path: Path) -> None:
    """Sums of a value and of what is computed of it, more than Residual may hold."""
    n = 60
    nodes = [node("Relu", "x", "a0"), node("Tanh", "x", "b0")]
    for i in range(n):
        nodes += [node("Add", f"a{i} b{i}", f"s{i}"), node("Sum", f"a{i} b{i} x", f"t{i}")]
        nodes += [node("Tanh", f"s{i}", f"a{i + 1}"), node("Tanh", f"t{i}", f"b{i + 1}")]
    model = write(tmp_path / "f.onnx", [value("x", ["N", 3])], [*nodes, node("Add", f"a{n} b{n}", "y")], {"y": 2})
    x = normal(2, 3)
    expected = Backend.run_model(model, [x])[0]
    np.testing.assert_allclose(load(tmp_path / "f.onnx").predict(x), expected, rtol=1e-5, atol=1e-6)


X, Z, IMAGE = value("x", ["N", 4]), value("z", ["N", 4]), value("image", ["N", 2, 3, 4])
IDS = value("ids", ["N", 4], TensorProto.INT64)
W = {"w": np.ones((4, 3), "float32"), "axis": np.asarray([1]), "axes": np.asarray([1, 2])}
REFUSED: dict[str, tuple[list[onnx.ValueInfoProto], list[onnx.NodeProto], list[str], str]] = {
    "an input that no output needs": (
        *([X, Z], [node("Relu", "x", "y"), node("Tanh", "x", "t")], ["y", "t"]),
        "none of its outputs depends on its input 'z'",
    ),
    "an output that is an input": ([X], [node("Relu", "x", "y")], ["y", "x"], "its output 'x' is an input"),
    "an output that is a constant": ([X], [node("Relu", "x", "y")], ["y", "w"], "its output 'w' depends on no input"),
    "an output that is named twice": ([X], [node("Relu", "x", "y")], ["y", "y"], "its output 'y' is named twice|SSA"),
    "a cycle": (
        *([X, Z], [node("Add", "x b", "a"), node("Mul", "a z", "b")], ["b"]),
        "it is no valid model: Nodes in a graph must be topologically sorted",
    ),
    "a join that is no layer": ([X, Z], [node("Sub", "x z", "y")], ["y"], r"\(Sub\) .* no layer that joins branches"),
    "a constant in a join": ([X, Z], [node("Sum", "x z w", "y")], ["y"], r"\(Sum\) .*one of its inputs is constant"),
    "other shapes": (
        *([X, Z], [node("Gemm", "x w", "a"), node("Mul", "a z", "y")], ["y"]),
        r"\(Mul\) .*needs arrays of one shape, got \(N, 3\) and \(N, 4\)",
    ),
    "another number of axes": ([X, IMAGE], [node("Add", "x image", "y")], ["y"], "axes in different orders"),
    "another axis": (
        *([IMAGE, value("other", ["N", 2, 3, 4])], [node("Concat", "image other", "y", axis=2)], ["y"]),
        r"\(Concat\) .*axis 2 of its input is not that of the channels",
    ),
    "features in other orders": (
        [IMAGE, value("row", ["N", 24])],
        [node("MaxPool", "image", "a", kernel_shape=[1, 1]), node("Flatten", "a", "b"), node("Add", "b row", "y")],
        *(["y"], r"\(Add\) .*flattened in different orders"),
    ),
    "a sum over several axes": (
        *([X, Z], [node("Mul", "x z", "a"), node("ReduceSum", "a axes", "y")], ["y"]),
        r"\(ReduceSum\) .*no sum along one axis",
    ),
    "a sum that does not keep its axis": (
        *([X, Z], [node("Mul", "x z", "a"), node("ReduceSum", "a axis", "y", keepdims=0)], ["y"]),
        r"\(ReduceSum\) .*no sum along one axis",
    ),
    "a sum without a product": (
        *([X, Z], [node("Add", "x z", "a"), node("ReduceSum", "a axis", "y")], ["y"]),
        r"\(ReduceSum\) .*no layer for this operator",
    ),
    "several outputs of a node": (
        *([X], [node("Split", "x", "a b", axis=1, num_outputs=2), node("Add", "a b", "y")], ["y", "a"]),
        r"\(Split\) .*2 of its outputs are used, not one",
    ),
    "another output of a node": (
        *([X, Z], [node("Dropout", "x", "a b"), node("Sum", "b z", "y")], ["y"]),
        r"\(Dropout\) .*its output 'b' is not the first one",
    ),
    "integers that are added": (
        *([IDS, value("more", ["N", 4], TensorProto.INT64)], [node("Add", "ids more", "y")], ["y"]),
        "its input 'ids' is of integers, but no Embedding takes them",
    ),
    "floats that are ids": (
        *([X, Z], [node("Gather", "w x", "y"), node("Relu", "z", "t")], ["y", "t"]),
        r"Embedding\(4, 3\) takes 'x', which is no input of integers",
    ),
    "two dtypes": (
        *([X, value("d", ["N", 4], TensorProto.DOUBLE)], [node("Add", "x d", "y")], ["y"]),
        "it has inputs of float32 and of float64",
    ),
    "too many inputs": (
        [value(f"x{i}", ["N", 4]) for i in range(MAX_INPUTS + 1)],
        [node("Sum", " ".join(f"x{i}" for i in range(MAX_INPUTS + 1)), "y")],
        *(["y"], "it has 257 inputs, more than 256"),
    ),
    "no output": ([X], [node("Relu", "x", "y")], [], "no output"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_graph_is_refused(name: str, tmp_path: Path) -> None:
    inputs, nodes, outputs, message = REFUSED[name]
    tensors = [numpy_helper.from_array(array, key) for key, array in W.items()]
    graph = helper.make_graph(nodes, "g", inputs, [value(end, ["N", "C"]) for end in outputs], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    (tmp_path / "f.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(pn.FileFormatError, match=message):
        load(tmp_path / "f.onnx")
