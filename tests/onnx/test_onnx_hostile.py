"""ONNX files that attack the reader: each is refused by one error, with little memory, and without other files."""

import os
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import portanet as pn
from portanet import files
from portanet.onnx import export, load
from portanet.onnx.runtime import inlined

MEMORY = 8 * 2**20
"""Most memory for a file of a few kilobytes, in bytes."""


def value(name: str, shape: list[Any]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def node(operator: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), outputs.split(), name=f"the {operator}", **attributes)


def model_of(
    nodes: list[onnx.NodeProto], shape: list[Any], arrays: dict[str, np.ndarray] | None = None, **options: Any
) -> onnx.ModelProto:
    tensors = [numpy_helper.from_array(array, name) for name, array in (arrays or {}).items()]
    graph = helper.make_graph(nodes, "g", [value("x", shape)], [value("y", ["N", "D"])], tensors)
    return helper.make_model(graph, **{"opset_imports": [helper.make_opsetid("", 21)], "ir_version": 10, **options})


def refusal_of(path: Path, model: onnx.ModelProto) -> str:
    """Message of the error, after a check of the memory."""
    path.write_bytes(model.SerializeToString())
    tracemalloc.start()
    with pytest.raises(pn.FileFormatError) as error:
        load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MEMORY
    return str(error.value)


def a_cycle() -> onnx.ModelProto:
    return model_of([node("Add", "x b", "a"), node("Relu", "a", "b"), node("Relu", "b", "y")], ["N", 3])


def a_missing_initializer() -> onnx.ModelProto:
    return model_of([node("Gemm", "x w", "y")], ["N", 3])


def a_huge_input() -> onnx.ModelProto:
    nodes = [node("Flatten", "x", "a"), node("Gemm", "a w", "y")]
    return model_of(nodes, ["N", 10**4, 10**4, 10**4], {"w": np.zeros((3, 2), "float32")})


def a_huge_normalization() -> onnx.ModelProto:
    nodes = [node("LayerNormalization", "x s", "y", axis=1)]
    return model_of(nodes, ["N", 10**12], {"s": np.ones(1, "float32")})


def a_huge_tensor() -> onnx.ModelProto:
    model = model_of([node("Gemm", "x w", "y")], ["N", 3], {"w": np.zeros((3, 2), "float32")})
    model.graph.initializer[0].dims[:] = [10**6, 10**6]
    return model


def a_huge_reshape() -> onnx.ModelProto:
    nodes = [node("Gemm", "x w", "a"), node("Reshape", "a s", "b"), node("Conv", "b k", "y")]
    arrays = {"w": np.ones((2, 2), "float32"), "s": np.asarray([-1, 10**9, 10**9]), "k": np.ones((1, 1, 1), "float32")}
    return model_of(nodes, ["N", 2], arrays)


def recurrent_model(w: np.ndarray, r: np.ndarray, steps: np.ndarray) -> onnx.ModelProto:
    nodes = [
        *(node("Transpose", "x", "a", perm=[1, 0, 2]), helper.make_node("LSTM", ["a", "w", "r"], ["", "c"])),
        node("Squeeze", "c s", "y"),
    ]
    return model_of(nodes, ["N", 3, 2], {"w": w, "r": r, "s": steps})


ZERO, W, SMALL_R = np.asarray([0]), np.ones((1, 8, 2), "float32"), np.ones((1, 8, 2), "float32")
"""Axes, and the weights of an LSTM from 2 to 2 numbers."""


def weights_without_axes() -> onnx.ModelProto:
    return recurrent_model(np.ones((), "float32"), SMALL_R, ZERO)


def weights_of_too_many_directions() -> onnx.ModelProto:
    return recurrent_model(np.repeat(W, 3, axis=0), SMALL_R, ZERO)


def weights_of_no_gates() -> onnx.ModelProto:
    return recurrent_model(W[:, :7], SMALL_R, ZERO)


def recurrent_weights_of_integers() -> onnx.ModelProto:
    return recurrent_model(W.astype("int64"), SMALL_R, ZERO)


def axes_that_are_no_numbers() -> onnx.ModelProto:
    return recurrent_model(W, SMALL_R, np.asarray([np.nan]))


def axes_without_end() -> onnx.ModelProto:
    return recurrent_model(W, SMALL_R, np.zeros(10**5, "int64"))


def ids_of_no_vectors() -> onnx.ModelProto:
    model = model_of([node("Gather", "w x", "y")], ["N", 3], {"w": np.zeros((0, 2), "float32")})
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    return model


def constants_that_grow() -> onnx.ModelProto:
    nodes = [node("Concat", f"c{i} c{i}", f"c{i + 1}", axis=0) for i in range(60)]
    return model_of([*nodes, node("Add", "x c60", "y")], ["N", 3], {"c0": np.ones(3, "float32")})


def functions_that_grow() -> onnx.ModelProto:
    imports = [helper.make_opsetid("", 21), helper.make_opsetid("own", 1)]

    def function(name: str, inner: str) -> onnx.FunctionProto:
        calls = [helper.make_node(inner, [a], [b], domain="own" if inner != "Relu" else "") for a, b in ("ab", "bc")]
        return helper.make_function("own", name, ["a"], ["c"], calls, imports)

    functions = [function("f0", "Relu"), *(function(f"f{i}", f"f{i - 1}") for i in range(1, 60))]
    call = helper.make_node("f59", ["x"], ["y"], domain="own")
    return model_of([call], ["N", 3], functions=functions, opset_imports=imports)


def a_function_that_calls_itself() -> onnx.ModelProto:
    imports = [helper.make_opsetid("", 21), helper.make_opsetid("own", 1)]
    call = helper.make_node("f", ["a"], ["b"], domain="own")
    function = helper.make_function("own", "f", ["a"], ["b"], [call], imports)
    nodes = [helper.make_node("f", ["x"], ["y"], domain="own")]
    return model_of(nodes, ["N", 3], functions=[function], opset_imports=imports)


def weights_of_integers() -> onnx.ModelProto:
    return model_of([node("Gemm", "x w", "y")], ["N", 3], {"w": np.ones((3, 2), "int64")})


def weights_of_nan() -> onnx.ModelProto:
    return model_of([node("Gemm", "x w", "y")], ["N", 3], {"w": np.full((3, 2), np.nan, "float32")})


def an_input_of_texts() -> onnx.ModelProto:
    model = model_of([node("Relu", "x", "y")], ["N", 3])
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING
    return model


def a_graph_in_a_node() -> onnx.ModelProto:
    inner = helper.make_graph([helper.make_node("Relu", ["x"], ["z"])], "inner", [], [value("z", ["N", 3])])
    condition = {"c": np.asarray(True)}
    return model_of([node("If", "c", "y", then_branch=inner, else_branch=inner)], ["N", 3], condition)


ATTACKS: dict[Callable[[], onnx.ModelProto], str] = {
    a_cycle: "it is no valid model: Nodes in a graph must be topologically sorted",
    a_missing_initializer: "it is no valid model: .*input 'w' of node",
    a_huge_input: r"node 'the Gemm' .* does not fit rows of 1000000000000 numbers",
    a_huge_normalization: r"its scale or shift has shape \(1,\)",
    a_huge_tensor: r"tensor 'w' of shape \(1000000, 1000000\) has 24 bytes of 4000000000000",
    a_huge_reshape: "does not keep the examples apart",
    constants_that_grow: "computes too large a constant",
    functions_that_grow: "its functions have more than 65536 nodes in all",
    a_function_that_calls_itself: "it is no valid model: Cycle detected",
    weights_of_integers: "weight of dtype int64",
    weights_of_nan: "0.weight holds NaN or infinity",
    an_input_of_texts: "has another dtype than float32 and float64",
    weights_without_axes: r"node of 'c' \(LSTM\) cannot become a layer .*weights of shapes \(\) and \(1, 8, 2\)",
    weights_of_too_many_directions: "it has weights of 3 and 1 directions, not 1",
    weights_of_no_gates: r"its weights of shapes \(1, 7, 2\) and \(1, 8, 2\) are not those of its gates",
    recurrent_weights_of_integers: "weight_ih of dtype int64",
    axes_that_are_no_numbers: "it moves the axis of the batch",
    axes_without_end: "it moves the axis of the batch",
    ids_of_no_vectors: r"node 'the Gather' \(Gather\) cannot become a layer .*num_embeddings",
    a_graph_in_a_node: r"node 'the If' \(If\) has an attribute 'else_branch'",
}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_hostile_models_are_refused(attack: Callable[[], onnx.ModelProto], tmp_path: Path) -> None:
    message = refusal_of(tmp_path / "f.onnx", attack())
    assert re.search(ATTACKS[attack], message), message


def with_external_data(folder: Path, **entries: str) -> Path:
    """A model in ``folder/model`` whose weight lies in another file."""
    model = model_of([node("Gemm", "x w", "y")], ["N", 3], {"w": np.ones((3, 2), "float32")})
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in entries.items():
        tensor.external_data.add(key=key, value=text)
    (folder / "model").mkdir(exist_ok=True)
    path = folder / "model" / "f.onnx"
    path.write_bytes(model.SerializeToString())
    return path


WEIGHT = np.arange(6, dtype="float32")


def test_tensors_in_other_files_of_the_folder_are_read(tmp_path: Path) -> None:
    path = with_external_data(tmp_path, location="w.bin", offset="4", length="24")
    (path.parent / "w.bin").write_bytes(b"skip" + WEIGHT.tobytes())
    assert load(path).get_weights()["0.weight"].ravel().tolist() == WEIGHT.tolist()


@pytest.mark.parametrize("location", ["../w.bin", "{folder}/w.bin", "link", "linked/w.bin", "", "."])
def test_no_file_outside_of_the_folder_is_opened(
    location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "w.bin").write_bytes(WEIGHT.tobytes())
    path = with_external_data(tmp_path, location=location.format(folder=tmp_path))
    (path.parent / "link").symlink_to(tmp_path / "w.bin")
    (path.parent / "linked").symlink_to(tmp_path)
    opened = []
    really_open = files._open_without_waiting

    def watch(name: str, flags: int) -> int:
        opened.append(os.path.realpath(name))
        return really_open(name, flags)

    monkeypatch.setattr(files, "_open_without_waiting", watch)
    with pytest.raises(pn.FileFormatError, match="outside of the folder"):
        load(path)
    assert opened == [os.path.realpath(path)]


@pytest.mark.parametrize(
    "entries",
    [
        {"location": "missing"},
        {"location": "w.bin", "offset": "20", "length": "24"},
        {"location": "w.bin", "offset": "-4", "length": "24"},
        {"location": "w.bin", "length": str(10**12)},
        {"location": "w.bin", "offset": "one"},
        {"location": "folder"},
        {"location": "pipe"},
    ],
    ids=str,
)
def test_tensors_that_are_not_in_the_other_file_are_refused(entries: dict[str, str], tmp_path: Path) -> None:
    path = with_external_data(tmp_path, **entries)
    (path.parent / "w.bin").write_bytes(WEIGHT.tobytes())
    (path.parent / "folder").mkdir()
    os.mkfifo(path.parent / "pipe")
    with pytest.raises(pn.FileFormatError, match=r"tensor 'w' .* cannot be read|lies in|bytes of"):
        load(path)


def test_tensors_may_not_be_larger_than_their_file_together(tmp_path: Path) -> None:
    path = with_external_data(tmp_path, location="w.bin", length="24")
    (path.parent / "w.bin").write_bytes(WEIGHT.tobytes())
    model = onnx.load(path, load_external_data=False)
    again = model.graph.initializer.add()
    again.CopyFrom(model.graph.initializer[0])
    again.name = "again"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(pn.FileFormatError, match="larger than the file together"):
        load(path)


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x0a" * 50, bytes(1000)], ids=["empty", "text", "ir", "0"])
def test_other_files_are_no_onnx_files(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "f.onnx"
    path.write_bytes(content)
    with pytest.raises(pn.FileFormatError):
        load(path)


def test_a_missing_file_is_reported_as_such(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "f.onnx")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "f.onnx"
    export(pn.Linear(30, 20), path, (30,))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(pn.FileFormatError, match=r"it is no ONNX file|bytes of"):
        load(path)


def test_functions_of_a_model_are_put_in_place() -> None:
    imports = [helper.make_opsetid("", 21), helper.make_opsetid("own", 1)]
    call = helper.make_node("Relu", ["a"], ["b"])
    function = helper.make_function("own", "f", ["a"], ["b"], [call], imports)
    nodes = [helper.make_node("f", ["x"], ["y"], domain="own")]
    model = inlined(model_of(nodes, ["N", 3], functions=[function], opset_imports=imports))
    assert [node.op_type for node in model.graph.node] == ["Relu"]


def test_the_backend_refuses_a_split_into_another_number_of_parts() -> None:
    model = model_of([node("Split", "x", "y z", axis=1, num_outputs=2**40)], ["N", 4])
    with pytest.raises(ValueError, match=r"num_outputs is 1099511627776, but the node has 2 outputs"):
        pn.onnx.Backend.run_model(model, [np.ones((2, 4), "float32")])
