"""Normalisation beyond its agreement with PyTorch: errors, running statistics, and numbers far from zero."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet import kernels
from portanet.backends import Backend

X = np.random.default_rng(0).normal(2, 3, size=(4, 5, 6, 3))


def stepped(
    layer: pn.Layer, batches: Sequence[Any] = (X,), *, device: Backend | str = "cpu", dtype: str = "float64"
) -> pn.Layer:
    """The layer after steps of training."""
    layer.initialize(device=device, dtype=dtype)
    for x in batches:
        layer.vjp(layer.asarray(x))
    return layer


def states(layer: pn.Layer) -> dict[str, Any]:
    to_numpy = layer.flat.backend.to_numpy
    return {name: np.array(to_numpy(state.data)) for name, state in layer.named_buffers()}


def assert_same_states(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert before.keys() == after.keys()
    for name, values in before.items():
        np.testing.assert_array_equal(after[name], values)


def standardised(x: Any, axes: tuple[int, ...]) -> Any:
    """In float64."""
    x = x.astype("float64")
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)


def test_running_statistics_are_exponential_averages(backend: Backend) -> None:
    layer = pn.BatchNorm(3, momentum=0.2)
    mean, variance = np.zeros(3), np.ones(3)
    batches = [X, 2 * X + 1, X[:1, :1]]
    for x in batches:
        mean = 0.8 * mean + 0.2 * x.mean((0, 1, 2))
        variance = 0.8 * variance + 0.2 * x.var((0, 1, 2), ddof=1)
    found = states(stepped(layer, batches, device=backend))
    np.testing.assert_allclose(found["running_mean"], mean, rtol=1e-12)
    np.testing.assert_allclose(found["running_var"], variance, rtol=1e-12)


def test_without_momentum_all_batches_count_alike(backend: Backend, tmp_path: Path) -> None:
    layer = stepped(pn.BatchNorm(3, momentum=None), [X, 2 * X + 1], device=backend)
    layer.save(tmp_path / "layer")
    for continued in (layer, pn.load(tmp_path / "layer", device=backend)):
        continued.vjp(continued.asarray(4 * X))
        found = states(continued)
        assert found["num_batches_tracked"] == 3
        batches = X, 2 * X + 1, 4 * X
        np.testing.assert_allclose(found["running_mean"], np.mean([x.mean((0, 1, 2)) for x in batches], 0), rtol=1e-12)
        variances = [x.var((0, 1, 2), ddof=1) for x in batches]
        np.testing.assert_allclose(found["running_var"], np.mean(variances, 0), rtol=1e-12)


def test_instance_norm_is_group_norm_with_a_group_for_each_channel(backend: Backend) -> None:
    results = []
    for layer in (pn.InstanceNorm(3, affine=True), pn.GroupNorm(3, 3)):
        layer.initialize(device=backend, dtype="float64")
        layer.set_weights({"weight": np.asarray([1.0, 2.0, 3.0]), "bias": np.asarray([0.0, 1.0, 2.0])})
        y, pullback = layer.vjp(layer.asarray(X))
        arrays = y, pullback(layer.asarray(np.cos(X))), layer.flat.grad
        results.append([np.array(backend.to_numpy(a)) for a in arrays])
    for ours, expected in zip(*results, strict=True):
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("shape", [(3,), (1, 3), (1, 1, 3), (0, 3)], ids=str)
def test_instance_norm_needs_more_than_one_position(shape: tuple[int, ...]) -> None:
    for ask in (pn.InstanceNorm(3).output_shape, lambda shape: pn.InstanceNorm(3)(np.ones((5, *shape)))):
        with pytest.raises(ValueError, match=r"needs x of shape \(N, \.\.\., C\) with more than one position, got"):
            ask(shape)


@pytest.mark.parametrize("kind", [pn.LayerNorm, pn.RMSNorm])
def test_several_last_axes_are_normalized_like_one(backend: Backend, kind: Any) -> None:
    weight = np.random.default_rng(1).normal(size=(6, 3))
    results = []
    for shape in ((6, 3), (18,)):
        layer = kind(shape).initialize(device=backend, dtype="float64")
        layer.set_weights(layer.get_weights() | {"weight": weight.reshape(shape)})
        x, dy = (layer.asarray(a.reshape(4, 5, *shape)) for a in (X, np.cos(X)))
        y, pullback = layer.vjp(x)
        results.append([np.array(backend.to_numpy(a)).ravel() for a in (y, pullback(dy), layer.flat.grad)])
        with pytest.raises(ValueError, match=rf"needs x of shape \(N, \.\.\., {', '.join(map(str, shape))}\), got"):
            layer.output_shape((5, 7, 3))
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e15])
def test_rms_norm_makes_the_mean_square_one(backend: Backend, scale: float) -> None:
    layer = pn.RMSNorm(3, eps=1e-30).initialize(device=backend)
    y = backend.to_numpy(layer(layer.asarray(scale * X)))
    np.testing.assert_allclose((y.astype("float64") ** 2).mean(-1), 1, rtol=1e-6)


def test_a_mean_square_that_overflows_gives_nan_and_not_zeros(backend: Backend) -> None:
    layer = pn.RMSNorm(3).initialize(device=backend)
    with np.errstate(over="ignore", invalid="ignore"):
        y, _ = layer.vjp(layer.asarray(np.full((2, 3), 1e25)))
    assert np.isnan(backend.to_numpy(y)).all()


def test_inference_standardises_with_the_running_statistics(backend: Backend) -> None:
    layer = stepped(pn.BatchNorm(3, eps=0.1), [X, X + 1], device=backend)
    layer.set_weights(
        layer.get_weights() | {"weight": np.asarray([1.0, 2.0, 3.0]), "bias": np.asarray([0.0, 1.0, 2.0])}
    )
    w, running = layer.get_weights(), states(layer)
    z = (X - running["running_mean"]) / np.sqrt(running["running_var"] + 0.1)
    np.testing.assert_allclose(backend.to_numpy(layer(layer.asarray(X))), z * w["weight"] + w["bias"], rtol=1e-12)
    one = backend.to_numpy(layer(layer.asarray(X[:1, :1, :1])))  # one value a channel will do
    np.testing.assert_allclose(one, (z * w["weight"] + w["bias"])[:1, :1, :1], rtol=1e-12)


def test_inference_before_training_is_nearly_the_identity() -> None:
    np.testing.assert_allclose(stepped(pn.BatchNorm(3), [])(X), X / np.sqrt(1 + 1e-5), rtol=1e-15)


def test_only_training_moves_the_running_statistics(backend: Backend) -> None:
    layer = stepped(pn.BatchNorm(3), device=backend)
    before, x = states(layer), layer.asarray(2 * X)
    y, pullback = layer.vjp(x, train=False)
    pullback(y)
    layer.forward(x)
    layer.predict(2 * X)
    assert_same_states(before, states(layer))
    layer.vjp(x)
    assert (states(layer)["running_mean"] != before["running_mean"]).all()


def test_running_statistics_are_saved_and_moved_with_the_network(backend: Backend, tmp_path: Path) -> None:
    net = pn.Sequential(pn.Conv2D(3, 4, 3), pn.BatchNorm(4), pn.ReLU(), pn.Sequential(pn.BatchNorm(4, affine=False)))
    stepped(net, [X, X + 1], dtype="float32")
    net.save(tmp_path / "net")
    copy = pn.load(tmp_path / "net", device=backend)
    assert set(states(net)) == {f"{at}.running_{what}" for at in ("1", "3.0") for what in ("mean", "var")}
    assert_same_states(states(net), states(copy))
    assert_same_states(states(net), states(net.to(backend)))
    np.testing.assert_array_equal(net.predict(X), copy.predict(X))


@pytest.mark.parametrize("shape", [(1, 3), (1, 1, 1, 3)], ids=str)
def test_one_value_a_channel_has_no_variance_and_changes_nothing(shape: tuple[int, ...]) -> None:
    layer = stepped(pn.BatchNorm(3))
    before = states(layer)
    with pytest.raises(ValueError, match=r"more than one value a channel to train on, got x of shape \(1, .*3\)"):
        layer.vjp(np.ones(shape))
    assert_same_states(before, states(layer))


@pytest.mark.parametrize(
    "layer",
    [
        *(pn.BatchNorm(3), pn.BatchNorm(3, affine=False), pn.LayerNorm(3), pn.GroupNorm(3, 3), pn.Normalize(3)),
        *(pn.BatchNorm(3, momentum=None), pn.RMSNorm(3)),
    ],
    ids=str,
)
def test_a_wrong_input_is_named_and_changes_nothing(layer: pn.Layer) -> None:
    layer.initialize(dtype="float64")
    before = states(layer)
    for shape in ((2,), (5, 2), ()):
        for ask in (layer.output_shape, lambda shape: layer.vjp(np.ones((4, *shape)))):
            with pytest.raises(ValueError, match=r"needs x of shape \(N, \.\.\., 3\), got \(N,"):
                ask(shape)
    with pytest.raises(ValueError, match=r"x has dtype float32 but the weights have float64: use net\.asarray"):
        layer.vjp(np.ones((4, 3), "float32"))
    assert_same_states(before, states(layer))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pn.BatchNorm(0), "num_features must be a whole number of at least 1, got 0"),
        (lambda: pn.LayerNorm(-1), "normalized_shape must be a whole number of at least 1, got -1"),
        (lambda: pn.LayerNorm(()), r"normalized_shape must be a whole number of at least 1, got \(\)"),
        (lambda: pn.RMSNorm((2, 0)), "normalized_shape must be a whole number of at least 1, got 0"),
        (lambda: pn.RMSNorm(2, eps=0), "eps must be a number of at least 1e-30, got 0"),
        (lambda: pn.InstanceNorm(0), "num_features must be a whole number of at least 1, got 0"),
        (lambda: pn.Normalize(0), "num_features must be a whole number of at least 1"),
        (lambda: pn.BatchNorm(3, eps=0.0), "eps must be a number of at least 1e-30, got 0.0"),
        (lambda: pn.GroupNorm(1, 3, eps=float("nan")), "eps must be a number of at least 1e-30, got nan"),
        (lambda: pn.BatchNorm(3, momentum=0.0), r"momentum must be a number in \(0, 1\], got 0.0"),
        (lambda: pn.BatchNorm(3, momentum=-0.1), r"momentum must be a number in \(0, 1\], got -0.1"),
        (lambda: pn.GroupNorm(2, 3), "num_groups must divide num_channels=3, got 2"),
        (lambda: pn.GroupNorm(0, 3), "num_groups must be a whole number of at least 1, got 0"),
    ],
)
def test_arguments_are_checked(make: Callable[..., Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_no_examples_give_no_outputs(backend: Backend) -> None:
    layers = pn.BatchNorm(4), pn.LayerNorm(4), pn.GroupNorm(2, 4), pn.InstanceNorm(4), pn.RMSNorm(4), pn.Normalize(4)
    for layer in layers:
        assert layer.initialize(device=backend).predict(np.zeros((0, 3, 4))).shape == (0, 3, 4)


NORMS = pytest.mark.parametrize(
    ("layer", "axes"),
    [
        (pn.BatchNorm(8), (0, 1, 2)),
        (pn.LayerNorm(8), (3,)),
        (pn.GroupNorm(1, 8), (1, 2, 3)),
        (pn.GroupNorm(8, 8), (1, 2)),
        (pn.InstanceNorm(8), (1, 2)),
    ],
    ids=str,
)


@NORMS
def test_a_constant_becomes_zero_and_has_a_gradient(backend: Backend, layer: pn.Layer, axes: tuple[int, ...]) -> None:
    layer.initialize(device=backend, dtype="float64")
    y, pullback = layer.vjp(layer.asarray(np.full((2, 3, 2, 8), 3.0)))
    assert not backend.to_numpy(y).any()
    assert np.isfinite(backend.to_numpy(pullback(layer.asarray(np.random.default_rng(0).normal(size=y.shape))))).all()


@NORMS
def test_float32_is_float64_to_rounding(backend: Backend, layer: pn.Layer, axes: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=(16, 14, 14, 8)).astype("float32")
    y = backend.to_numpy(layer.initialize(device=backend, dtype="float32").vjp(layer.asarray(x))[0])
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, standardised(x, axes), rtol=1e-5, atol=1e-5)


@NORMS
def test_a_variance_that_overflows_gives_nan_and_not_zeros(
    backend: Backend, layer: pn.Layer, axes: tuple[int, ...]
) -> None:
    layer.initialize(device=backend, dtype="float32")
    x = layer.asarray(np.random.default_rng(0).normal(scale=1e25, size=(2, 3, 3, 8)))
    with np.errstate(over="ignore", invalid="ignore"):
        y, pullback = layer.vjp(x)
        dx = pullback(x)
    assert np.isnan(backend.to_numpy(y)).all()
    assert np.isnan(backend.to_numpy(dx)).all()


@NORMS
def test_statistics_far_from_zero_are_accurate(backend: Backend, layer: pn.Layer, axes: tuple[int, ...]) -> None:
    """Mean 10⁴ and standard deviation 1: float32 numbers there lie 0.001 apart, and a mean is good to a few of them."""
    x = np.random.default_rng(0).normal(1e4, 1, size=(128, 28, 28, 8)).astype("float32")
    y = backend.to_numpy(layer.initialize(device=backend, dtype="float32").vjp(layer.asarray(x))[0])
    np.testing.assert_allclose(y, standardised(x, axes), atol=0.02)
    for name, values in states(layer).items():
        expected = {"running_mean": 0.1 * x.mean(axes, dtype="float64"), "running_var": 1.0}[name]
        np.testing.assert_allclose(values, expected, atol=0.01)


NORMALIZES: list[tuple[int, tuple[int, ...], Callable[..., Any]]] = [
    # groups, axes, and the function of PyTorch
    (8, (0, 1, 3), lambda f, x: f.batch_norm(x.flatten(0, 1), None, None, training=True)),
    (1, (3,), lambda f, x: f.layer_norm(x, (8,))),
    (2, (1, 3), lambda f, x: f.group_norm(x.mT.contiguous(), 2).mT),
]


@pytest.mark.parametrize("norm", NORMALIZES, ids=["batch", "layer", "group"])
@pytest.mark.parametrize("numbers", [(0, 1e-30), (0, 1e15), (0, 1e17), (1e4, 1), (1e6, 1), (1e10, 1e7)])
@pytest.mark.parametrize("form", ["in use", "portable"])
def test_float32_is_as_exact_as_in_pytorch(
    torch: ModuleType, norm: tuple[int, tuple[int, ...], Callable[..., Any]], numbers: tuple[float, float], form: str
) -> None:
    """Up to twice its error, and two roundings of the input."""
    (groups, axes, reference), (mean, spread) = norm, numbers
    x = np.random.default_rng(0).normal(mean, spread, size=(64, 49, groups, 8 // groups)).astype("float32")
    exact = standardised(x, axes)
    function = kernels.normalize if form == "in use" else kernels.normalize.portable
    found = function(x, axes, None, None, 1e-5)[0]
    theirs = reference(torch.nn.functional, torch.tensor(x.reshape(64, 49, 8))).numpy().reshape(x.shape)
    error, other = (np.max(np.abs(a - exact)) for a in (found, theirs))
    assert error <= 2 * other + 1e-6 * np.max(np.abs(exact)) + 2 * np.spacing(np.float32(mean)) / spread


@pytest.mark.parametrize("kind", [pn.LayerNorm, pn.RMSNorm])
def test_a_shape_of_one_axis_is_its_length(kind: Any) -> None:
    assert repr(kind((3,))) == repr(kind(3)) == f"{kind.__name__}(3)"
