"""Exported files of several inputs and outputs: the names and the outputs of the network."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

import portanet as pn
from portanet.onnx import Backend, export

RNG = np.random.default_rng(0)
TARGET, MEMORY = (RNG.normal(size=(3, n, 8)).astype("float32") for n in (4, 6))
IMAGES, ROWS, IDS = (
    RNG.normal(size=(3, 5, 4, 2)).astype("float32"),
    RNG.normal(size=(3, 6)).astype("float32"),
    RNG.integers(0, 9, (3, 5)),
)
STATE = RNG.normal(size=(3, 8)).astype("float32")


def zeroed(x: np.ndarray) -> np.ndarray:
    """With padding in the second sequence."""
    padded = x.copy()
    padded[1, 2:] = 0
    return padded


def decoder(kind: Any) -> pn.Graph:
    states = ("h",) if kind.n_states == 1 else ("h", "c")
    return pn.Graph(
        (kind(8, 8, return_state=True), "source", ("last", *states)),
        (kind(8, 8, return_sequences=True), ("target", *states), "y"),
        outputs=("y", "last"),
    )


CASES: dict[str, tuple[pn.Graph, dict[str, np.ndarray]]] = {
    "two towers": (
        pn.Graph(
            (pn.Sequential(pn.Embedding(9, 4), pn.GRU(4, 4)), "text", "u"),
            (pn.Sequential(pn.Linear(6, 4), pn.ReLU()), "item", "v"),
            (pn.Dot(), ("u", "v"), "score"),
        ),
        {"text": IDS, "item": ROWS},
    ),
    "two heads": (
        pn.Graph(
            (pn.Sequential(pn.Conv2D(2, 4, 3, padding=1), pn.ReLU()), "image", "code"),
            (pn.Conv2D(4, 2, 3, padding=1), "code", "copy"),
            (pn.Sequential(pn.GlobalAvgPool(), pn.Linear(4, 3)), "code", "label"),
        ),
        {"image": IMAGES},
    ),
    "images and their features": (
        pn.Graph(
            (pn.Conv2D(2, 2, 3, padding=1), "image", "a"),
            (pn.Add(), ("a", "image"), "b"),
            (pn.Multiply(), ("image", "b"), "c"),
            (pn.Concatenate(), ("a", "c"), "d"),
            (pn.Dot(), ("a", "c"), "e"),
            outputs=("d", "e", "a"),
        ),
        {"image": IMAGES},
    ),
    "attention to another sequence": (
        pn.Graph((pn.MultiHeadAttention(8, 2), ("target", "memory"), "y")),
        {"target": TARGET, "memory": MEMORY},
    ),
    "attention with padding": (
        pn.Graph((pn.MultiHeadAttention(8, 2, mask_zeros=True), ("target", "memory"), "y")),
        {"target": zeroed(TARGET), "memory": zeroed(MEMORY)},
    ),
    **{kind.__name__: (decoder(kind), {"source": MEMORY, "target": TARGET}) for kind in (pn.RNN, pn.GRU, pn.LSTM)},
    "a state that is given": (pn.Graph((pn.GRU(8, 8), ("x", "h"), "y")), {"x": TARGET, "h": STATE}),
    "an output that is a state": (
        pn.Graph((pn.GRU(8, 8, return_state=True), "x", ("y", "h"))),
        {"x": TARGET},
    ),
    "an output that is an input's": (
        pn.Graph((pn.RandomFlip(), "x", "same"), (pn.Rescale(), "x", "y")),
        {"x": IMAGES},
    ),
}


def first(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(x, -1, 1)) if x.ndim > 2 and x.dtype.kind == "f" else x


def export_graph(net: pn.Graph, x: dict[str, np.ndarray], path: Path, *, channels_first: bool = True) -> None:
    """Write a network with new weights, for inputs of the shapes of x."""
    shapes = {key: values.shape[1:] for key, values in x.items()}
    export(net.initialize(seed=1), path, shapes, channels_first=channels_first)


@pytest.mark.parametrize("channels_first", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_names_and_outputs_are_those_of_the_network(name: str, channels_first: bool, tmp_path: Path) -> None:
    net, x = CASES[name]
    export_graph(net, x, tmp_path / "net.onnx", channels_first=channels_first)
    model = onnx.load(tmp_path / "net.onnx")
    y = net.predict(x)
    expected = y if isinstance(y, dict) else {str(net.outputs): y}
    assert [value.name for value in model.graph.input] == list(net.inputs)
    assert [value.name for value in model.graph.output] == list(expected)
    given = {key: first(values) if channels_first else values for key, values in x.items()}
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    runs = (
        session.run(None, given),
        ReferenceEvaluator(model).run(None, given),
        Backend.run_model(model, [*given.values()]),
    )
    for outputs in runs:
        for found, (key, values) in zip(outputs, expected.items(), strict=True):
            wanted = first(values) if channels_first else values
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5, err_msg=key)


def test_several_arrays_need_names(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be a Graph to be exported with several inputs"):
        export(pn.MultiHeadAttention(8, 2), tmp_path / "net.onnx", ((4, 8), (6, 8)))
    with pytest.raises(ValueError, match="must be a Graph to be exported with several outputs"):
        export(pn.GRU(8, 8, return_state=True), tmp_path / "net.onnx", (4, 8))
    with pytest.raises(ValueError, match="no padding mask for the states"):
        export(pn.GRU(8, 8, return_state=True, mask_zeros=True), tmp_path / "net.onnx", (4, 8))
    assert not [*tmp_path.iterdir()]
