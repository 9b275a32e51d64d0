"""ONNX's own backend tests: all pass on each device, except those that are left out here with a reason."""

import math
import re
import unittest
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnx.backend.test.loader import load_model_tests
from onnx.backend.test.runner import Runner

import portanet as pn
from portanet.onnx import Backend

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator", "real")
FEWEST = {"node": 450, "simple": 7, "pytorch-converted": 55, "pytorch-operator": 30, "real": 9}
"""Fewest tests of each kind that run."""

OPERATORS_LEFT_OUT = {
    "no layer has such attention, or a cache of it": "FlexAttention LinearAttention TensorScatter CausalConvWithState",
    "graphs inside of nodes": "If Loop Scan SequenceMap",
    "no recurrent layer needs it": "ReverseSequence",
    "values that are sequences, or may be missing": "SequenceInsert SequenceErase SequenceAt SequenceConstruct "
    "SequenceEmpty SequenceLength SplitToSequence ConcatFromSequence OptionalGetElement OptionalHasElement",
    "quantized numbers": "QuantizeLinear DequantizeLinear DynamicQuantizeLinear QLinearConv QLinearMatMul ConvInteger "
    "MatMulInteger BitCast",
    "texts and compressed images": "StringConcat StringSplit StringNormalizer RegexFullMatch TfIdfVectorizer "
    "ImageDecoder",
    "models other than networks": "ArrayFeatureExtractor Binarizer LabelEncoder TreeEnsemble",
    "signals in the frequency domain": "DFT STFT MelWeightMatrix BlackmanWindow HammingWindow HannWindow",
    "positions within images that are no numbers of pixels": "AffineGrid GridSample DeformConv RoiAlign "
    "NonMaxSuppression",
    "the Array API cannot write to a list of positions": "Scatter ScatterElements ScatterND Col2Im MaxUnpool",
    "random numbers without expected values": "Bernoulli RandomUniformLike",
    "no layer needs it": "CumProd Einsum Det GatherND Unique",
    "a graph that is differentiated as a node": "Gradient",
}
"""Operators that PortaNet does not have, by the reason."""

DTYPES_LEFT_OUT = {
    "networks are float32 or float64": "FLOAT16 BFLOAT16 FLOAT8E4M3FN FLOAT8E4M3FNUZ FLOAT8E5M2 FLOAT8E5M2FNUZ "
    "FLOAT8E8M0 FLOAT4E2M1",
    "numbers of less than a byte": "INT2 UINT2 INT4 UINT4",
    "no array of a device holds texts": "STRING",
}
"""Dtypes that PortaNet does not compute with, by the reason."""

OTHERS_LEFT_OUT = {
    "values that are sequences, or may be missing": "test_identity_sequence test_identity_opt",
}
"""Further tests, by the reason."""


def words(table: dict[str, str]) -> set[str]:
    return {word for text in table.values() for word in text.split()}


class OnNumpy(Backend):
    devices: ClassVar = {"CPU": "cpu"}

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device == "CPU"


class OnStrict(OnNumpy):
    devices: ClassVar = {"CPU": "strict"}


BACKENDS = {"cpu": OnNumpy, "strict": OnStrict}


@pytest.fixture(scope="module")
def models() -> dict[str, dict[str, onnx.ModelProto | None]]:
    """The model of each test by kind and name; None for real networks, which are read when they run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of making the expected outputs
        return {kind: {case.name: model_of(case) for case in load_model_tests(kind=kind)} for kind in KINDS}


def model_of(case: Any) -> onnx.ModelProto | None:
    if case.model is not None or case.model_dir is None:
        return case.model
    return onnx.load(Path(case.model_dir) / "model.onnx")


def dtypes_of(model: onnx.ModelProto) -> Iterator[str]:
    """Names of the dtypes of inputs, outputs and attributes."""
    for value in (*model.graph.input, *model.graph.output):
        yield TensorProto.DataType.Name(value.type.tensor_type.elem_type)
    for attribute in (a for node in model.graph.node for a in node.attribute):
        if attribute.name == "to":
            yield TensorProto.DataType.Name(attribute.i)
        yield TensorProto.DataType.Name(attribute.t.data_type)


def is_left_out(name: str, model: onnx.ModelProto | None) -> bool:
    if model is None:
        return False
    operators = {node.op_type for node in model.graph.node}
    return bool(
        operators & words(OPERATORS_LEFT_OUT)
        or set(dtypes_of(model)) & words(DTYPES_LEFT_OUT)
        or name in words(OTHERS_LEFT_OUT)
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("device", BACKENDS)
def test_onnx_tests_pass(
    device: str, kind: str, models: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONNX_HOME", str(tmp_path))
    names = [name for name, model in models[kind].items() if not is_left_out(name, model)]
    assert len(names) >= FEWEST[kind]
    tests = {name: case for case in Runner(BACKENDS[device], __name__).test_cases.values() for name in vars(case)}
    result = unittest.TestResult()
    for name in names:
        tests[f"{name}_cpu"](f"{name}_cpu").run(result)
    wrong = {case.id().rpartition(".")[2]: text for case, text in (*result.failures, *result.errors, *result.skipped)}
    assert not wrong, "\n".join(f"{name}: {text.strip().splitlines()[-1]}" for name, text in wrong.items())
    assert result.testsRun == len(names)


@pytest.mark.parametrize("device", BACKENDS)
def test_models_of_tests_that_are_left_out_are_refused(device: str, models: dict[str, Any]) -> None:
    left_out = [model for kind in KINDS for name, model in models[kind].items() if is_left_out(name, model)]
    assert not any(BACKENDS[device].is_compatible(model) for model in left_out)


def test_the_documentation_counts_the_tests(models: dict[str, Any]) -> None:
    text = (Path(__file__).parents[2] / "docs" / "howto" / "onnx.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\w-]+) \| (\d+) \| (\d+) \|$", text, re.MULTILINE)
    documented = {kind: (int(passed), int(total)) for kind, passed, total in rows}
    assert documented.keys() == set(KINDS)
    assert all(documented[kind][0] >= fewest for kind, fewest in FEWEST.items())
    version = re.search(r"ONNX\s+(\d[\d.]+\d):", text)
    assert version
    if version[1] == onnx.__version__:  # another version has other tests
        found = {kind: [not is_left_out(*item) for item in models[kind].items()] for kind in KINDS}
        assert documented == {kind: (sum(runs), len(runs)) for kind, runs in found.items()}


def test_every_reason_to_leave_tests_out_is_needed(models: dict[str, Any]) -> None:
    everything = [model for kind in KINDS for model in models[kind].values() if model is not None]
    operators = {node.op_type for model in everything for node in model.graph.node}
    dtypes = {dtype for model in everything for dtype in dtypes_of(model)}
    assert words(OPERATORS_LEFT_OUT) <= operators
    assert words(DTYPES_LEFT_OUT) <= dtypes
    assert words(OTHERS_LEFT_OUT) <= set(models["node"])


def value(name: str, shape: list[int | str] | None = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape or ["N", 2])


def model_with(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    return helper.make_model(helper.make_graph(nodes, "g", [value("x")], [value("y")]))


X = np.asarray([[-1.0, 2.0]], "float32")


def test_an_unknown_operator_is_named_with_its_node() -> None:
    model = model_with(helper.make_node("Det", ["x"], ["y"], name="volume"))
    with pytest.raises(ValueError, match=r"node 'volume' \(Det\) cannot be computed: PortaNet has no such operator"):
        Backend.prepare(model)


def test_a_node_without_a_name_is_named_by_its_output() -> None:
    with pytest.raises(ValueError, match=r"the node of 'y' \(Det\)"):
        Backend.prepare(model_with(helper.make_node("Det", ["x"], ["y"])))


def test_one_node_runs() -> None:
    (y,) = Backend.run_node(helper.make_node("Relu", ["x"], ["y"]), [X])
    assert y.tolist() == [[0.0, 2.0]]


def test_one_node_runs_in_an_old_operator_set() -> None:
    node = helper.make_node("Softmax", ["x"], ["y"])
    x = np.zeros((1, 2, 3), "float32")
    (old,), (new,) = Backend.run_node(node, [x], opset_version=11), Backend.run_node(node, [x])
    assert old[0, 0, 0] == pytest.approx(1 / 6)
    assert new[0, 0, 0] == pytest.approx(1 / 3)


OLD_BINARY = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide, "Pow": np.power}


@pytest.mark.parametrize("device", BACKENDS)
@pytest.mark.parametrize("name", OLD_BINARY)
def test_old_arithmetic_broadcasts_its_second_input_from_an_axis_on(name: str, device: str) -> None:
    rng = np.random.default_rng(0)
    a = rng.uniform(1, 2, size=(2, 3, 4, 5)).astype("float32")
    shapes: list[tuple[tuple[int, ...], int | None, tuple[int, ...]]] = [
        *(((3,), 1, (3, 1, 1)), ((3, 4), 1, (3, 4, 1)), ((2,), 0, (2, 1, 1, 1)), ((4, 5), -2, (4, 5))),
        *(((4, 5), None, (4, 5)), ((), None, ()), ((), 1, ())),
    ]
    for shape, axis, aligned in shapes:
        b = rng.uniform(1, 2, size=shape).astype("float32")
        options: Any = {} if axis is None else {"axis": axis}
        node = helper.make_node(name, ["a", "b"], ["y"], broadcast=1, **options)
        (y,) = BACKENDS[device].run_node(node, [a, b], opset_version=6)
        np.testing.assert_allclose(y, OLD_BINARY[name](a, b.reshape(aligned)), rtol=1e-6)


@pytest.mark.parametrize("name", OLD_BINARY)
def test_old_arithmetic_without_broadcast_refuses_two_shapes(name: str) -> None:
    node, ones = helper.make_node(name, ["a", "b"], ["y"]), np.ones((2, 3), "float32")
    (y,) = Backend.run_node(node, [ones, ones], opset_version=6)
    assert y.shape == (2, 3)
    with pytest.raises(ValueError, match=r"broadcast is 0, .* got \(2, 3\) and \(3,\)"):
        Backend.run_node(node, [ones, ones[0]], opset_version=6)
    node = helper.make_node(name, ["a", "b"], ["y"], broadcast=1, axis=1)
    with pytest.raises(ValueError, match=r"shape \(2, 3\) has more axes than there are from axis 1 on, of 2"):
        Backend.run_node(node, [ones, ones], opset_version=6)
    with pytest.raises(ValueError, match="its attribute 'axis' is not supported"):
        Backend.run_node(node, [ones, ones], opset_version=7)


@pytest.mark.parametrize("device", BACKENDS)
@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 4, 3)], ids=str)
def test_old_slopes_of_prelu_belong_to_the_channels(shape: tuple[int, ...], device: str) -> None:
    x, node = np.random.default_rng(0).normal(size=shape), helper.make_node("PRelu", ["x", "s"], ["y"])
    for slope in (np.asarray([0.5, 2.0, -1.0]), np.asarray([0.25])):
        (y,) = BACKENDS[device].run_node(node, [x, slope], opset_version=6)
        np.testing.assert_allclose(y, np.where(x < 0, x * slope.reshape(-1, *(1,) * (len(shape) - 2)), x))


INTEGER_REDUCTIONS: dict[str, Any] = {
    "ReduceMean": lambda x: x.mean(axis=1),
    "ReduceL2": lambda x: np.sqrt((x * x).sum(axis=1)),
    "ReduceLogSum": lambda x: np.log(x.sum(axis=1)),
    "ReduceLogSumExp": lambda x: np.log(np.exp(x).sum(axis=1)),
}


@pytest.mark.parametrize("device", BACKENDS)
@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("name", INTEGER_REDUCTIONS)
def test_reductions_of_integers_have_their_dtype(name: str, dtype: str, device: str) -> None:
    x = np.asarray([[1, 2, 4], [9, 9, 10], [30, 31, 32]], dtype)
    node = helper.make_node(name, ["x"], ["y"], axes=[1], keepdims=0)
    (y,) = BACKENDS[device].run_node(node, [x], opset_version=13)
    assert y.dtype == dtype
    assert y.tolist() == INTEGER_REDUCTIONS[name](x.astype("float64")).astype(dtype).tolist()


@pytest.mark.parametrize("device", BACKENDS)
@pytest.mark.parametrize("version", [11, 13])
@pytest.mark.parametrize("name", ["Softmax", "LogSoftmax", "Hardmax"])
def test_no_examples_and_no_classes_are_normalized_to_nothing(name: str, version: int, device: str) -> None:
    for shape in ((0, 3), (0, 3, 2), (2, 0), (0, 0)):
        node, x = helper.make_node(name, ["x"], ["y"], axis=1), np.zeros(shape, "float32")
        (y,) = BACKENDS[device].run_node(node, [x], opset_version=version)
        assert y.shape == shape


@pytest.mark.parametrize("device", BACKENDS)
def test_erf_keeps_the_digits_of_small_numbers(device: str) -> None:
    x = np.asarray([1e-30, -1e-9, 0.1, 3.0])
    (y,) = BACKENDS[device].run_node(helper.make_node("Erf", ["x"], ["y"]), [x])
    np.testing.assert_allclose(y, [math.erf(v) for v in x], rtol=1e-15)


@pytest.mark.parametrize("version", [9, 15])
def test_batch_normalization_in_training_updates_its_statistics(version: int) -> None:
    names = ["y", "m", "v", "sm", "sv"][: 5 if version < 14 else 3]
    options: Any = {"training_mode": 1} if version > 13 else {}
    node = helper.make_node("BatchNormalization", ["x", "s", "b", "m0", "v0"], names, momentum=0.5, **options)
    x, ones, zeros = X.T, np.ones(1, "float32"), np.zeros(1, "float32")
    outputs = Backend.run_node(node, [x, ones, zeros, zeros, ones], opset_version=version)
    np.testing.assert_allclose(outputs[0].ravel(), [-1, 1], rtol=1e-4)
    np.testing.assert_allclose([outputs[1][0], outputs[2][0]], [0.25, 0.5 + 0.5 * 2.25])


@pytest.mark.parametrize("device", BACKENDS)
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_recurrent_operators_of_both_directions_equal_onnxruntimes(kind: str, device: str) -> None:
    """With lengths, first states, a clip, and other activations, which ONNX's own tests lack."""
    n_gates, rng = {"RNN": 1, "GRU": 3, "LSTM": 4}[kind], np.random.default_rng(0)
    functions = {"RNN": ["Relu"], "GRU": ["Sigmoid", "Softsign"], "LSTM": ["Sigmoid", "Tanh", "Softsign"]}[kind]
    shapes = {"x": (4, 3, 2), "w": (2, 5 * n_gates, 2), "r": (2, 5 * n_gates, 5), "b": (2, 10 * n_gates)}
    shapes |= {"lens": (3,), "h": (2, 3, 5)} | ({"c": (2, 3, 5), "p": (2, 15)} if kind == "LSTM" else {})
    arrays = {name: rng.normal(size=shape).astype("float32") for name, shape in shapes.items()}
    arrays["lens"] = np.asarray([4, 1, 3], "int32")
    attributes: dict[str, Any] = {"direction": "bidirectional", "clip": 0.9, "activations": functions * 2}
    names = ["y", "yh", "yc"][: 3 if kind == "LSTM" else 2]
    node = helper.make_node(kind, list(shapes), names, hidden_size=5, **attributes)
    graph = helper.make_graph(
        [node],
        "g",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in arrays.items()
        ],
        [value(name, ["a", "b", "c", "d"] if name == "y" else ["a", "b", "c"]) for name in names],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs = BACKENDS[device].run_model(model, list(arrays.values()))
    for found, expected in zip(outputs, session.run(None, arrays), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_an_activation_that_is_not_supported_is_named() -> None:
    node = helper.make_node("RNN", ["x", "w", "r"], ["y"], activations=["Elu"], hidden_size=1, name="states")
    ones = np.ones((1, 1, 1), "float32")
    with pytest.raises(ValueError, match=r"its activation 'Elu' is not supported, only tanh") as error:
        Backend.run_node(node, [ones, ones, ones])
    assert error.value.__notes__ == ["in node 'states' (RNN)"]


def test_an_error_in_a_node_names_it() -> None:
    model = model_with(helper.make_node("MatMul", ["x", "x"], ["y"], name="square"))
    with pytest.raises(ValueError, match=r"matmul|shapes") as error:
        Backend.run_model(model, [X])
    assert error.value.__notes__ == ["in node 'square' (MatMul)"]


def test_a_wrong_number_of_inputs_is_refused() -> None:
    prepared = Backend.prepare(model_with(helper.make_node("Relu", ["x"], ["y"])))
    with pytest.raises(ValueError, match="inputs must be 1 arrays, for x, got 2"):
        prepared.run([X, X])


def test_inputs_on_a_device_give_outputs_on_it() -> None:
    strict = pn.get_backend("strict")
    prepared = OnStrict.prepare(model_with(helper.make_node("Relu", ["x"], ["y"])))
    assert prepared.run([strict.asarray(X)]).y.device == strict.device
    assert isinstance(prepared.run([X]).y, np.ndarray)


def test_functions_of_a_model_run() -> None:
    function = helper.make_function(
        "own", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 20)]
    )
    graph = helper.make_graph([helper.make_node("Twice", ["x"], ["y"], domain="own")], "g", [value("x")], [value("y")])
    imports = [helper.make_opsetid("", 20), helper.make_opsetid("own", 1)]
    model = helper.make_model(graph, functions=[function], opset_imports=imports)
    assert Backend.run_model(model, [X])[0].tolist() == [[-2.0, 4.0]]


def test_a_device_that_does_not_exist_is_not_supported() -> None:
    assert Backend.supports_device("CPU")
    assert not Backend.supports_device("FPGA")


def test_an_empty_model_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="model is not valid"):
        Backend.prepare(onnx.ModelProto())
