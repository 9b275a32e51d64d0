"""Exported files: valid, and with the outputs of the network in onnxruntime, in ONNX's evaluator and in PortaNet."""

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

import portanet as pn
from bench.networks import NETWORKS
from experiments.mnist_1d import networks
from experiments.s001_autoencoder import autoencoder
from experiments.s001_further import convolution
from experiments.s004_fashion import improved
from experiments.sunspots import ensemble
from portanet.graph.order import takes_ids
from portanet.onnx import Backend, export
from portanet.onnx.exporters import EXPORTERS
from portanet.onnx.exporting import to_model
from portanet.version import __version__
from tests.cases import LAYERS, concrete, state_of

TOLERANCE: Any = {"rtol": 1e-5, "atol": 1e-5}
LAYERS = copy.deepcopy(LAYERS)  # other tests change theirs

NOT_IN_ONNX_EVALUATOR = {
    "MaxPool1D(3, stride=1, padding=1)": "ONNX's evaluator reads beyond padded signals with a stride of 1",
    "ConvTranspose2D(4, 6, (3, 2), stride=2, padding='same', groups=2)": (
        "ONNX's evaluator divides the weight of a transposed convolution with groups by outputs, not by inputs"
    ),
}
"""Layers whose nodes ONNX's evaluator (1.23) cannot compute, by the reason; onnxruntime can."""

FLOAT32_IN_ONNX_EVALUATOR = {pn.Hardswish, pn.ELU, pn.GELU, pn.LeakyReLU, pn.SELU, pn.LayerNorm, pn.GroupNorm}
"""Layers whose operators have float32 attributes, or are functions that ONNX's evaluator computes in float32."""


def first(x: np.ndarray) -> np.ndarray:
    """Channels-first order of (N, ..., C)."""
    return np.ascontiguousarray(np.moveaxis(x, -1, 1)) if x.ndim > 2 else x


def single(x: np.ndarray) -> np.ndarray:
    """Floats as float32; ids stay integers."""
    return x.astype("float32") if x.dtype.kind == "f" else x


def last(y: np.ndarray) -> np.ndarray:
    """Channels-last order of (N, C, ...)."""
    return np.moveaxis(y, 1, -1) if y.ndim > 2 else y


def with_random_values(net: pn.Layer) -> pn.Layer:
    """Add random numbers to all values, so that biases and running statistics are not those of the start."""
    rng = np.random.default_rng(0)
    values = net.get_weights()
    net.set_weights(
        {name: v + rng.uniform(0.1, 0.5, v.shape) if v.dtype.kind == "f" else v for name, v in values.items()}
    )
    return net


def in_onnxruntime(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs: Any = session.run(None, {model.graph.input[0].name: x})
    return outputs[0]


def in_onnx_evaluator(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    outputs: Any = ReferenceEvaluator(model).run(None, {model.graph.input[0].name: x})
    return outputs[0]


def in_portanet(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    return Backend.run_model(model, [x])[0]


def assert_same_outputs(net: pn.Layer, x: np.ndarray, folder: Path, channels_first: bool = True) -> onnx.ModelProto:
    export(net, folder / "net.onnx", x.shape[1:], channels_first=channels_first)
    model = onnx.load(folder / "net.onnx")
    onnx.checker.check_model(model, full_check=True)
    expected = net.predict(x)
    runtimes = [in_onnxruntime, in_portanet, *([] if repr(net) in NOT_IN_ONNX_EVALUATOR else [in_onnx_evaluator])]
    for n in (len(x), 1):  # the batch axis is dynamic
        for run in runtimes:
            y = run(model, first(x[:n]) if channels_first and not takes_ids(net) else x[:n])
            actual = last(y) if channels_first else y
            np.testing.assert_allclose(actual, expected[:n], **TOLERANCE, err_msg=run.__name__)
    return model


@pytest.mark.parametrize("channels_first", [True, False])
@pytest.mark.parametrize(("layer", "x"), LAYERS, ids=[repr(layer) for layer, _ in LAYERS])
def test_every_layer(layer: pn.Layer, x: np.ndarray, channels_first: bool, tmp_path: Path) -> None:
    assert_same_outputs(with_random_values(layer.initialize(seed=1)), single(x), tmp_path, channels_first)


def blocks() -> pn.Sequential:
    halves = [pn.TransformerBlock(64, 4, dim_feedforward=128) for _ in range(2)]
    return pn.Sequential(
        pn.Embedding(11, 64), pn.PositionalEmbedding(10, 64), *halves, pn.LayerNorm(64), pn.Linear(64, 10)
    )


FURTHER: dict[str, tuple[Callable[[], pn.Layer], tuple[int, ...]]] = {
    "001-further": (
        lambda: pn.Sequential(
            *(pn.RandomTranslation(1), *convolution(1, 32), *convolution(32, 32), pn.MaxPool2D(2)),
            *(*convolution(32, 64), *convolution(64, 64), pn.MaxPool2D(2), pn.Flatten(), pn.Dropout(0.4)),
            *(pn.Linear(1024, 100), pn.ReLU(), pn.Linear(100, 10)),
        ),
        (16, 16, 1),
    ),
    "001-ae-usps-denoise": (lambda: pn.Sequential(pn.GaussianNoise(0.3), autoencoder(256, 128, 64)), (256,)),
    "004-fashion": (improved, (28, 28, 1)),
    "add-numbers": (blocks, (10,)),
    "alice": (
        lambda: pn.Sequential(
            *(pn.Embedding(70, 32), pn.GRU(32, 192, return_sequences=True), pn.Dropout(0.3), pn.Linear(192, 70))
        ),
        (20,),
    ),
    **{f"mnist-1d, {name}": (partial(networks().__getitem__, name), (40,)) for name in networks()},
    "mnist-99": (
        lambda: pn.Sequential(
            *(pn.Conv2D(1, 8, 3, padding="same"), pn.ReLU(), pn.MaxPool2D(2)),
            *(pn.Conv2D(8, 32, 3, padding="same"), pn.ReLU(), pn.MaxPool2D(2)),
            *(pn.Flatten(), pn.Linear(1568, 64), pn.ReLU(), pn.Linear(64, 10)),
        ),
        (28, 28, 1),
    ),
    "mnist-rows": (lambda: pn.Sequential(pn.Reshape(28, 28), pn.LSTM(28, 64), pn.Linear(64, 10)), (784,)),
    "sunspots": (ensemble, (20, 1)),
}
"""Networks of experiments that the benchmark lacks, with the shape of one input."""

EXPERIMENTS = {**{name: (network.build, network.input_shape) for name, network in NETWORKS.items()}, **FURTHER}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_network_of_the_experiments(name: str, tmp_path: Path) -> None:
    build, shape = EXPERIMENTS[name]
    net, rng = build().initialize(seed=1), np.random.default_rng(0)
    x = rng.integers(0, 11, size=(2, *shape)) if takes_ids(net) else rng.uniform(size=(2, *shape)).astype("float32")
    train_a_step(net, x)
    assert_same_outputs(net, x, tmp_path)


def train_a_step(net: pn.Layer, x: np.ndarray) -> None:
    """So that running statistics and biases are not those of the start."""
    y, pullback = net.vjp(x)
    optimizer = pn.SGD(0.01).bind(net)
    net.zero_grad()
    pullback(np.ones_like(y), need_dx=False)
    optimizer.step()


def test_every_class_of_layers_is_exported() -> None:
    assert set(EXPORTERS) == concrete(pn.Layer)


@pytest.mark.parametrize("name", NOT_IN_ONNX_EVALUATOR)
def test_what_onnx_evaluator_cannot_compute_is_still_so(name: str) -> None:
    layer, x = next((layer, x) for layer, x in LAYERS if repr(layer) == name)
    with pytest.raises((IndexError, ValueError)):
        in_onnx_evaluator(to_model(layer, x.shape[1:]), first(x.astype("float32")))


def test_the_file_names_portanet_and_its_version(tmp_path: Path) -> None:
    export(pn.Linear(3, 2), tmp_path / "net.onnx", (3,))
    model = onnx.load(tmp_path / "net.onnx")
    assert (model.producer_name, model.producer_version) == ("PortaNet", __version__)


def test_initializers_have_the_names_of_the_weights(tmp_path: Path) -> None:
    net = pn.Sequential(pn.Linear(3, 3), pn.Residual(pn.Linear(3, 3)))
    export(net, tmp_path / "net.onnx", (3,))
    names = {tensor.name for tensor in onnx.load(tmp_path / "net.onnx").graph.initializer}
    assert names == {"0.weight", "0.bias", "1.branch.weight", "1.branch.bias"}


def test_a_layer_used_twice_is_written_with_one_weight(tmp_path: Path) -> None:
    layer = pn.Linear(3, 3)
    model = assert_same_outputs(pn.Sequential(layer, pn.TanH(), layer), np.ones((2, 3), "float32"), tmp_path)
    assert [tensor.name for tensor in model.graph.initializer] == ["0.weight", "0.bias"]
    assert len({node.name for node in model.graph.node}) == 3


def test_no_transposition_between_spatial_layers(tmp_path: Path) -> None:
    net = pn.Sequential(pn.Conv2D(1, 2, 3), pn.ReLU(), pn.BatchNorm(2), pn.MaxPool2D(2), pn.Flatten(), pn.Linear(8, 3))
    model = assert_same_outputs(net, np.ones((2, 6, 6, 1), "float32"), tmp_path)
    operators = [node.op_type for node in model.graph.node]
    assert operators == ["Conv", "Relu", "BatchNormalization", "MaxPool", "Transpose", "Flatten", "Gemm"]


def test_sizes_that_are_not_known_are_those_of_the_input_shape(tmp_path: Path) -> None:
    net = pn.Sequential(pn.Conv2D(2, 3), pn.Flatten(), pn.Linear(4))
    assert_same_outputs(net, np.ones((2, 5, 5, 1), "float32"), tmp_path)


PADDING = np.random.default_rng(5).normal(size=(5, 6, 4)).astype("float32")
PADDING[0, 4:] = PADDING[1, :3] = PADDING[2, [0, 2, 5]] = PADDING[3] = 0.0  # after, before, between, all


@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("kind", [pn.RNN, pn.GRU, pn.LSTM])
def test_padding_anywhere_is_not_seen_by_recurrent_layers(
    kind: Any, return_sequences: bool, go_backwards: bool, tmp_path: Path
) -> None:
    layer = kind(4, 3, return_sequences=return_sequences, go_backwards=go_backwards, mask_zeros=True)
    assert_same_outputs(layer.initialize(seed=1), PADDING, tmp_path)


@pytest.mark.parametrize("is_causal", [False, True])
def test_padding_anywhere_is_not_seen_by_attention(is_causal: bool, tmp_path: Path) -> None:
    attention = pn.MultiHeadAttention(4, 2, is_causal=is_causal, mask_zeros=True)
    block = pn.TransformerBlock(4, 2, is_causal=is_causal, mask_zeros=True)
    assert_same_outputs(pn.Sequential(attention, block).initialize(seed=1), PADDING, tmp_path)


def test_ids_are_an_int64_input_in_their_own_order(tmp_path: Path) -> None:
    for net, shape in (
        (pn.Sequential(pn.Embedding(9, 4), pn.GRU(4, 3)), (5,)),
        (pn.Sequential(pn.Flatten(), pn.Embedding(9, 4)), (2, 3)),
        (pn.Parallel(pn.Embedding(9, 4), pn.Embedding(9, 2)), (3,)),
    ):
        export(net, tmp_path / "net.onnx", shape)
        model = onnx.load(tmp_path / "net.onnx")
        assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.INT64
        ids = np.random.default_rng(0).integers(0, 9, size=(2, *shape))
        for run in (in_onnxruntime, in_onnx_evaluator, in_portanet):
            np.testing.assert_allclose(last(run(model, ids)), net.predict(ids), **TOLERANCE)


def test_sequences_in_float64_are_exported(tmp_path: Path) -> None:
    x = PADDING.astype("float64")
    net = pn.Sequential(pn.PositionalEncoding(4), pn.MultiHeadAttention(4, 2), pn.Bidirectional(pn.LSTM(4, 3)))
    export(net.initialize(dtype="float64"), tmp_path / "net.onnx", x.shape[1:])
    y = in_onnx_evaluator(onnx.load(tmp_path / "net.onnx"), first(x))
    np.testing.assert_allclose(y, net.predict(x), rtol=1e-12)


def test_float64_networks_give_float64_files(tmp_path: Path) -> None:
    net = pn.Sequential(pn.Linear(3, 3), pn.TanH()).initialize(dtype="float64")
    export(net, tmp_path / "net.onnx", (3,))
    model, x = onnx.load(tmp_path / "net.onnx"), np.random.default_rng(0).normal(size=(2, 3))
    np.testing.assert_allclose(in_onnxruntime(model, x), net.predict(x), rtol=1e-14)


@pytest.mark.parametrize(("layer", "x"), LAYERS, ids=[repr(layer) for layer, _ in LAYERS])
def test_every_layer_is_written_in_float64(layer: pn.Layer, x: np.ndarray) -> None:
    layer = with_random_values(copy.deepcopy(layer).initialize(seed=1, dtype="float64"))
    model = to_model(layer, x.shape[1:])
    onnx.checker.check_model(model, full_check=True)
    kinds = {type(inner) for inner in layer.topology.layers.values()}
    y = last(in_portanet(model, first(x)))
    assert y.dtype == "float64"
    tolerance = 1e-7 if pn.SELU in kinds else 1e-12  # ONNX says what the constants of Selu are in float32
    np.testing.assert_allclose(y, layer.predict(x), rtol=tolerance, atol=tolerance)
    if repr(layer) not in NOT_IN_ONNX_EVALUATOR:
        tolerance = 1e-5 if kinds & FLOAT32_IN_ONNX_EVALUATOR else 1e-12
        y = last(in_onnx_evaluator(model, first(x)))
        np.testing.assert_allclose(y, layer.predict(x), rtol=tolerance, atol=tolerance)


def test_networks_on_a_device_are_exported(tmp_path: Path) -> None:
    net = pn.Linear(3, 2).initialize(seed=1, device="strict")
    export(net, tmp_path / "net.onnx", (3,))
    x = np.ones((1, 3), "float32")
    np.testing.assert_allclose(in_onnxruntime(onnx.load(tmp_path / "net.onnx"), x), net.predict(x), rtol=1e-6)


def test_a_layer_of_ones_own_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    class Twice(pn.ReLU):
        def elementwise(self, xp: Any, x: Any) -> Any:
            return 2 * x, lambda: 2.0

    with pytest.raises(ValueError, match=r"no ONNX operators for the layer Twice\(\)"):
        export(pn.Sequential(Twice()), tmp_path / "net.onnx", (3,))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("is_initialized", [False, True])
def test_a_refused_network_is_as_before(is_initialized: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(pn.ReLU):
        pass

    def fail(*arguments: Any, **options: Any) -> None:
        raise onnx.checker.ValidationError("not valid")

    path = tmp_path / "net.onnx"
    refused: list[tuple[pn.Layer, Any, Path]] = [
        (pn.Sequential(pn.Linear(2), Own()), (3,), path),
        (pn.Sequential(pn.Conv2D(2, 9)), (5, 5, 1), path),
        (pn.Sequential(pn.Linear(2)), (0,), path),
        (pn.Sequential(pn.Linear(2)), (3,), tmp_path / "missing" / "net.onnx"),
        (pn.Sequential(pn.Linear(3, 2)), (3,), tmp_path / "missing" / "net.onnx"),
        (pn.Sequential(pn.Linear(2), pn.BatchNorm()), (3,), path),  # the checker refuses it
    ]
    monkeypatch.setattr(onnx.checker, "check_model", fail)
    for net, shape, file in refused:
        if is_initialized and not net.topology.unsized:
            net.initialize(seed=1)
        before = state_of(net)
        with pytest.raises((ValueError, OSError, onnx.checker.ValidationError)):
            export(net, file, shape)
        assert state_of(net) == before
        assert not file.exists()


@pytest.mark.parametrize("wrong", [(4,), (2, 4), "3", None, (-3,)])
def test_an_input_shape_that_does_not_fit_is_refused(wrong: Any, tmp_path: Path) -> None:
    with pytest.raises((ValueError, TypeError), match=r"shape"):
        export(pn.Linear(3, 2), tmp_path / "net.onnx", wrong)
    assert not list(tmp_path.iterdir())


def test_an_old_file_stays_if_the_export_fails(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match="needs x of shape"):
        export(pn.Linear(3, 2), path, (4,))
    assert path.read_bytes() == b"old"
