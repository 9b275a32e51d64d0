"""Layers that prepare data: statistics of the training data, and integers as inputs."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend
from portanet.layers import preprocessing

X = np.random.default_rng(0).normal(2, 3, size=(4, 5, 6, 3))
PIXELS = np.random.default_rng(0).integers(0, 256, size=(60, 8, 8, 1)).astype("uint8")
LABELS = np.arange(60) % 3


def states(layer: pn.Layer) -> dict[str, Any]:
    to_numpy = layer.flat.backend.to_numpy
    return {name: np.array(to_numpy(state.data)) for name, state in layer.named_buffers()}


def test_normalize_learns_from_the_training_data(backend: Backend, tmp_path: Path) -> None:
    layer = pn.Normalize(3).initialize(device=backend, dtype="float64")
    assert layer.adapt(X) is layer
    np.testing.assert_allclose(states(layer)["mean"], X.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(states(layer)["std"], X.std((0, 1, 2)), rtol=1e-12)
    y = layer.predict(X)
    np.testing.assert_allclose(y, (X - X.mean((0, 1, 2))) / X.std((0, 1, 2)), rtol=1e-12)
    layer.save(tmp_path / "layer")
    np.testing.assert_array_equal(pn.load(tmp_path / "layer", device=backend).predict(X), y)


@pytest.mark.parametrize("value", [0.0, 0.1, 7.7, 1e6])
def test_a_constant_channel_is_divided_by_one(backend: Backend, value: float) -> None:
    """Exactly, though in float32 the mean of 1000 numbers 0.1 is not 0.1, and their standard deviation not 0."""
    x = np.stack([np.full(1000, value), np.linspace(0, 1, 1000)], axis=1)
    layer = pn.Normalize(2).initialize(device=backend).adapt(x)
    assert states(layer)["std"][0] == 1
    np.testing.assert_allclose(states(layer)["mean"][0], value, rtol=1e-4)


def test_normalize_is_accurate_far_from_zero(backend: Backend) -> None:
    x = np.random.default_rng(0).normal(1e4, 1, size=(128, 28, 28, 3)).astype("float32")
    layer = pn.Normalize(3).initialize(device=backend).adapt(x)
    np.testing.assert_allclose(states(layer)["mean"], x.mean((0, 1, 2), dtype="float64"), atol=0.01)
    np.testing.assert_allclose(states(layer)["std"], 1, atol=0.01)


def test_adapt_refuses_data_that_are_no_input(backend: Backend) -> None:
    layer = pn.Normalize(1).initialize(device=backend)
    with pytest.raises(ValueError, match=r"needs floats, got x of dtype .*bool"):
        layer.adapt(np.zeros((4, 1), "bool"))
    with pytest.raises(ValueError, match=r"x must hold examples, got shape \(0, 1\)"):
        layer.adapt(np.zeros((0, 1)))


def test_a_channel_that_is_constant_up_to_rounding_is_divided_by_one(backend: Backend) -> None:
    layer = pn.Normalize(1).initialize(device=backend, dtype="float64")
    layer.adapt(np.asarray([[0.3], [0.1 + 0.2]]))
    y = backend.to_numpy(layer(backend.asarray(np.asarray([[0.3], [0.1 + 0.2], [0.31]]))))
    np.testing.assert_allclose(y, np.asarray([[0], [0], [0.01]]), atol=1e-15)


def test_a_spread_that_float32_does_not_resolve_is_warned_of(backend: Backend) -> None:
    times = 1.6e9 + np.asarray([[0.0], [1], [2], [60], [61], [62]])
    layer = pn.Normalize(1).initialize(device=backend)
    with pytest.warns(UserWarning, match=r"channel 0 varies by 30 around 1\.6e\+09, which .*float32 does not resolve"):
        layer.adapt(times)
    assert states(layer)["std"] == pytest.approx(times.std(), rel=1e-6)


def test_adapt_takes_what_the_dtype_holds(backend: Backend) -> None:
    layer = pn.Normalize(1).initialize(device=backend)
    layer.adapt(np.asarray([[1e-50], [2e-50]]))
    assert states(layer)["std"] == 1
    with pytest.raises(ValueError, match=r"x holds numbers too large for .*float32: scale them"):
        layer.adapt(np.asarray([[1e300], [2e300]]))
    assert states(layer)["std"] == 1


@pytest.mark.parametrize("scale", [1e-200, 1e160, 1e300])
def test_normalize_learns_statistics_of_any_scale(backend: Backend, scale: float) -> None:
    layer = pn.Normalize(3).initialize(device=backend, dtype="float64").adapt(scale * X)
    np.testing.assert_allclose(states(layer)["mean"] / scale, X.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(states(layer)["std"] / scale, X.std((0, 1, 2)), rtol=1e-12)


def test_statistics_do_not_depend_on_the_size_of_the_blocks(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = np.asarray([0.0, 2.0, 1.0, 3.0])
    repeated = np.repeat(X, weights.astype(int), axis=0)
    for most in (1, 2 * X[0].size, 10**6):
        monkeypatch.setattr(preprocessing, "MAX_NUMBERS", most)
        layer = pn.Normalize(3).initialize(device=backend, dtype="float64")
        layer.adapt(X, sample_weight=weights)
        np.testing.assert_allclose(states(layer)["mean"], repeated.mean((0, 1, 2)), rtol=1e-12)
        np.testing.assert_allclose(states(layer)["std"], repeated.std((0, 1, 2)), rtol=1e-12)
        layer.adapt(X)
        np.testing.assert_allclose(states(layer)["std"], X.std((0, 1, 2)), rtol=1e-12)


def test_outliers_of_weight_0_have_no_influence(backend: Backend) -> None:
    layer = pn.Normalize(1).initialize(device=backend, dtype="float64")
    layer.adapt(np.asarray([[1e200], [1.0], [3.0], [-1e200]]), sample_weight=np.asarray([0.0, 1.0, 1.0, 0.0]))
    assert (states(layer)["mean"], states(layer)["std"]) == (2, 1)


def test_large_data_are_not_converted_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preprocessing, "MAX_NUMBERS", 2**18)
    x = np.memmap(tmp_path / "x", dtype="uint8", mode="w+", shape=(20_000, 32, 32, 1))
    x[:] = np.arange(20_000).reshape(-1, 1, 1, 1) % 256
    layer = pn.Normalize(1).initialize()
    tracemalloc.start()
    layer.adapt(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < x.size  # a copy in float64 has eight times as many bytes
    np.testing.assert_allclose(states(layer)["mean"], np.mean(np.arange(20_000) % 256), rtol=1e-6)


@pytest.mark.parametrize("first", [pn.Rescale(), pn.Normalize(1), pn.Rescale(2 / 255, -1.0)], ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_integers_train_like_the_floats_that_they_stand_for(backend: Backend, first: pn.Layer, dtype: str) -> None:
    predictions = []
    for x in (PIXELS, PIXELS.astype(dtype)):
        net = pn.Sequential(first, pn.Flatten(), pn.Linear(64, 3)).initialize(device=backend, dtype=dtype)
        if isinstance(first, pn.Normalize):
            first.adapt(x)
        trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.Adam(), metrics=["accuracy"])
        trainer.fit(x, LABELS, epochs=2, batch_size=16, validation_split=0.2, progress=False)
        predictions.append(net.predict(x))
        assert trainer.evaluate(x, LABELS)["loss"] < 2
    assert predictions[0].dtype == dtype
    np.testing.assert_array_equal(predictions[0], predictions[1])


def test_other_networks_say_how_to_take_integers() -> None:
    trainer = pn.Trainer(pn.Sequential(pn.Flatten(), pn.Linear(64, 3)), pn.CrossEntropyLoss(), pn.Adam())
    with pytest.raises(ValueError, match=r"x has dtype uint8: begin the network with Rescale\(\) or Normalize\(\)"):
        trainer.fit(PIXELS, LABELS, progress=False)


def test_rescale_takes_pixels_to_the_unit_interval() -> None:
    y = pn.Rescale().initialize()(np.asarray([[0, 255]], dtype="uint8"))
    np.testing.assert_array_equal(y, np.asarray([[0, 1]], dtype="float32"))
