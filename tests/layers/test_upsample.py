"""Up-sampling beyond its agreement with PyTorch: what interpolation keeps, single axes, and errors."""

from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend
from tests.layers.test_pooling import pull


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 7])
def test_a_ramp_stays_a_ramp_between_the_first_and_the_last_position(backend: Backend, factor: int) -> None:
    x = np.arange(5.0).reshape(1, 5, 1)
    y, dx = pull(pn.Upsample(factor, mode="linear"), x, device=backend)
    places = (np.arange(5 * factor) + 0.5) / factor - 0.5
    np.testing.assert_allclose(y.ravel(), np.clip(places, 0, 4), rtol=1e-14)
    np.testing.assert_allclose(dx.sum(), y.size, rtol=1e-14)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_axes_are_independent(backend: Backend, mode: str) -> None:
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(2, 3, 4, 2)), rng.normal(size=(2, 6, 12, 2))
    together = pull(pn.Upsample((2, 3), mode=mode), x, dy, device=backend)
    net = pn.Sequential(pn.Upsample((1, 3), mode=mode), pn.Upsample((2, 1), mode=mode))
    for ours, expected in zip(together, pull(net, x, dy, device=backend), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_a_factor_of_1_changes_nothing(backend: Backend, mode: str) -> None:
    x = np.random.default_rng(0).normal(size=(2, 4, 3, 2))
    for array in pull(pn.Upsample(1, mode=mode), x, x, device=backend):
        np.testing.assert_array_equal(array, x)


def test_a_single_position_is_repeated(backend: Backend) -> None:
    y, dx = pull(pn.Upsample(3, mode="bilinear"), np.full((1, 1, 1, 1), 0.3), device=backend)
    np.testing.assert_allclose(y, np.full((1, 3, 3, 1), 0.3), rtol=1e-15)
    np.testing.assert_allclose(dx, [[[[9.0]]]], rtol=1e-15)


@pytest.mark.parametrize("value", [0, -1, 1.5, (1, 0), (), "2"], ids=str)
def test_a_factor_must_be_a_positive_number(value: Any) -> None:
    with pytest.raises(ValueError, match="scale_factor must be a whole number of at least 1"):
        pn.Upsample(value)


@pytest.mark.parametrize(
    ("layer", "n_axes"),
    [(pn.Upsample((2, 3)), 2), (pn.Upsample(2, mode="linear"), 1), (pn.Upsample(2, mode="trilinear"), 3)],
    ids=str,
)
def test_a_wrong_number_of_axes_is_named(layer: pn.Layer, n_axes: int) -> None:
    shape = (*(4,) * (n_axes + 1), 3)
    for ask in (layer.output_shape, lambda shape: layer(np.ones((5, *shape)))):
        with pytest.raises(ValueError, match=rf"needs x of {n_axes + 2} axes, \(N, \.\.\., C\), got \(N, 4, "):
            ask(shape)


def test_the_factors_must_fit_the_mode() -> None:
    with pytest.raises(ValueError, match=r"scale_factor must have a length of 2 with mode='bilinear', got \(1, 2"):
        pn.Upsample((1, 2, 3), mode="bilinear")
