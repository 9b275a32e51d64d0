from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend


def masked(backend: Backend, p: float, seed: int = 0, calls: int = 1) -> list[np.ndarray]:
    layer = pn.Dropout(p).initialize(seed, device=backend)
    x = backend.asarray(np.ones((100, 1000)), "float32")
    return [np.array(backend.to_numpy(layer.vjp(x)[0])) for _ in range(calls)]


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_keep_rate_and_expectation(backend: Backend, p: float) -> None:
    (y,) = masked(backend, p)
    n, keep = y.size, 1 - p
    assert abs(np.count_nonzero(y) / n - keep) < 5 * np.sqrt(keep * p / n)
    assert abs(y.mean() - 1) < 5 * np.sqrt(p / keep / n)
    assert len(np.unique(y)) == 2


def test_masks_are_equal_on_every_backend_and_differ_between_calls_and_seeds(backend: Backend) -> None:
    first, second = masked(backend, 0.5, calls=2)
    np.testing.assert_array_equal([first, second], masked(pn.get_backend("cpu"), 0.5, calls=2))
    assert 0.49 < np.mean(first == second) < 0.51
    assert 0.49 < np.mean(first == masked(backend, 0.5, seed=1)[0]) < 0.51


def test_two_layers_of_one_network_drop_differently() -> None:
    net = pn.Sequential(pn.Dropout(), pn.Dropout()).initialize(seed=0)
    x = np.ones((10, 100), "float32")
    assert (net[0].vjp(x)[0] != net[1].vjp(x)[0]).any()


def test_dropout_changes_no_weight_of_the_layers_after_it() -> None:
    plain = pn.Sequential(pn.Linear(3, 3), pn.Linear(3, 2)).initialize(seed=4)
    dropping = pn.Sequential(pn.Linear(3, 3), pn.Dropout(), pn.Linear(3, 2)).initialize(seed=4)
    np.testing.assert_array_equal(plain.flat.data, dropping.flat.data)


@pytest.mark.parametrize("p", [-0.1, 1.0, float("nan")])
def test_p_must_be_in_zero_to_one(p: float) -> None:
    with pytest.raises(ValueError, match=r"p must be a number in \[0, 1\)"):
        pn.Dropout(p)


@pytest.mark.parametrize("layer", [pn.Dropout(0.2), pn.SpatialDropout(0.2)], ids=repr)
def test_dropout_refuses_integers(layer: Any) -> None:
    with pytest.raises(ValueError, match="needs floats, got x of dtype int64: give x / 255"):
        layer.initialize().vjp(np.full((2, 3, 4), 10))


WARPS: list[pn.Layer] = [pn.RandomRotation(30.0), pn.RandomZoom((0.5, 2.0))]


@pytest.mark.parametrize("layer", WARPS, ids=repr)
def test_each_image_moves_on_its_own_and_equally_on_every_backend(backend: Backend, layer: pn.Layer) -> None:
    x = np.tile(np.random.default_rng(0).normal(size=(1, 6, 5, 2)), (3, 1, 1, 1))
    results = []
    for device in (backend, pn.get_backend("cpu")):
        layer.initialize(seed=0, device=device, dtype="float64")
        results.append([np.array(device.to_numpy(layer.vjp(device.asarray(x))[0])) for _ in range(2)])
        np.testing.assert_array_equal(device.to_numpy(layer.forward(device.asarray(x))), x)
    np.testing.assert_allclose(results[0], results[1], rtol=1e-10, atol=1e-12)
    images = np.concatenate(results[0])
    assert min(np.abs(a - b).max() for i, a in enumerate(images) for b in images[:i]) > 0.01


def test_angles_are_up_to_the_largest_in_either_direction(backend: Backend) -> None:
    x = np.zeros((2000, 3, 3, 1))
    x[:, 0, 1] = 1.0  # a pixel above the centre
    layer = pn.RandomRotation(20.0).initialize(seed=0, device=backend, dtype="float64")
    y = backend.to_numpy(layer.vjp(backend.asarray(x))[0])[:, 0, :, 0]
    kept, moved = np.cos(angle := np.radians(20.0)), np.sin(angle)
    assert y[:, 1].min() == pytest.approx(kept * (1 - moved), rel=0.01)
    for side in (0, 2):
        assert y[:, side].max() == pytest.approx((1 - kept + moved) * (2 - kept - moved), rel=0.01)
        assert np.mean(y[:, side] == 0) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("layer", [pn.RandomRotation(0.0), pn.RandomZoom((1.0, 1.0))], ids=repr)
def test_no_rotation_and_no_zoom_change_nothing(backend: Backend, layer: pn.Layer) -> None:
    x = np.random.default_rng(0).normal(size=(2, 4, 3, 2))
    layer.initialize(device=backend, dtype="float64")
    np.testing.assert_allclose(backend.to_numpy(layer.vjp(backend.asarray(x))[0]), x, rtol=1e-14)


def test_a_zoom_of_two_enlarges_the_centre(backend: Backend) -> None:
    x = np.zeros((1, 5, 5, 1))
    x[:, 2, 2] = 1.0
    layer = pn.RandomZoom((2.0, 2.0)).initialize(device=backend, dtype="float64")
    y = backend.to_numpy(layer.vjp(backend.asarray(x))[0])[0, :, :, 0]
    hat = np.asarray([0.0, 0.5, 1.0, 0.5, 0.0])
    np.testing.assert_allclose(y, hat[:, None] * hat)


@pytest.mark.parametrize("layer", WARPS, ids=repr)
def test_only_images_of_floats_are_moved(layer: pn.Layer) -> None:
    layer.initialize()
    with pytest.raises(ValueError, match=r"needs images of shape \(N, H, W, C\), got \(N, 4, 2\)"):
        layer.vjp(np.zeros((3, 4, 2), "float32"))
    with pytest.raises(ValueError, match="needs floats, got x of dtype uint8: give x / 255"):
        layer.vjp(np.zeros((3, 4, 2, 1), "uint8"))


@pytest.mark.parametrize("scale", [(1.0,), (0.0, 1.0), (2.0, 1.0), 1.5, (0.5, np.inf)], ids=str)
def test_a_zoom_has_a_smallest_and_a_largest_factor(scale: Any) -> None:
    with pytest.raises(ValueError, match="scale must be two numbers above 0, the smaller one first, got"):
        pn.RandomZoom(scale)
