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
