"""Activations of several ranges beyond their agreement with PyTorch: kinks, extremes, and the slopes of PReLU."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend
from tests.layers.test_activations import EXTREMES


@pytest.mark.parametrize(
    ("layer", "x", "slopes"),
    [
        (pn.ReLU(), [0.0], [0]),
        (pn.LeakyReLU(0.1), [0.0], [0.1]),
        (pn.PReLU(), [0.0], [0.25]),
        (pn.ELU(0.5), [0.0], [0.5]),
        (pn.CELU(0.5), [0.0], [1]),
        (pn.SELU(), [0.0], [1.0507009873554805 * 1.6732632423543772]),
        (pn.ReLU6(), [0.0, 6.0], [0, 0]),
        (pn.Hardtanh(-0.5, 2.0), [-0.5, 2.0], [0, 0]),
        (pn.Hardswish(), [-3.0, 3.0], [0, 1]),
    ],
    ids=repr,
)
def test_the_slope_at_a_kink_is_that_of_pytorch(
    backend: Backend, layer: pn.Layer, x: list[float], slopes: list[float]
) -> None:
    layer.initialize(device=backend, dtype="float64")
    y, pullback = layer.vjp(layer.asarray([x]))
    dx = backend.to_numpy(pullback(layer.asarray(np.ones(y.shape))))
    np.testing.assert_allclose(dx, [slopes], rtol=1e-15)


@pytest.mark.parametrize("alpha", [1e-30, 1e30])
def test_celu_neither_overflows_nor_divides_by_zero(backend: Backend, alpha: float) -> None:
    y, pullback = pn.CELU(alpha).vjp(backend.asarray(EXTREMES))
    dx = backend.to_numpy(pullback(backend.asarray(np.ones_like(EXTREMES))))
    z = np.minimum(EXTREMES.astype("float64"), 0) / alpha
    np.testing.assert_allclose(backend.to_numpy(y), np.where(z < 0, alpha * np.expm1(z), EXTREMES), rtol=1e-6)
    np.testing.assert_allclose(dx, np.exp(z), rtol=1e-6)


def test_selu_keeps_mean_0_and_variance_1_of_normal_numbers() -> None:
    x = np.linspace(-12, 12, 100_001)[:, None]
    weights = np.exp(-(x**2) / 2) / np.exp(-(x**2) / 2).sum()
    y = pn.SELU()(x)
    assert abs((weights * y).sum()) < 1e-6
    assert abs((weights * y**2).sum() - 1) < 1e-6


def prelu_gradients(layer: pn.PReLU, x: Any, dy: Any, backend: Backend) -> tuple[Any, Any]:
    """Gradients of x and of the slopes."""
    layer.initialize(device=backend, dtype="float64")
    _, pullback = layer.vjp(layer.asarray(x))
    return backend.to_numpy(pullback(layer.asarray(dy))), backend.to_numpy(layer.weight.grad)


def test_the_gradient_of_a_slope_sums_over_the_numbers_that_share_it(backend: Backend) -> None:
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 3, 4))
    products = np.minimum(x, 0) * dy
    dx, dw = prelu_gradients(pn.PReLU(), x, dy, backend)
    np.testing.assert_allclose(dw, [products.sum()], rtol=1e-12)
    np.testing.assert_allclose(dx, np.where(x > 0, dy, 0.25 * dy), rtol=1e-15)
    _, dw = prelu_gradients(pn.PReLU(4), x, dy, backend)
    np.testing.assert_allclose(dw, products.sum((0, 1)), rtol=1e-12)


def test_prelu_takes_the_extremes(backend: Backend) -> None:
    layer = pn.PReLU().initialize(device=backend)
    y, pullback = layer.vjp(layer.asarray(EXTREMES))
    dx = pullback(layer.asarray(np.ones_like(EXTREMES)))
    np.testing.assert_array_equal(backend.to_numpy(y), np.where(EXTREMES > 0, EXTREMES, 0.25 * EXTREMES))
    np.testing.assert_array_equal(backend.to_numpy(dx), np.where(EXTREMES > 0, 1, 0.25))


def test_prelu_refuses_another_number_of_channels() -> None:
    for ask in (pn.PReLU(3).output_shape, lambda shape: pn.PReLU(3)(np.ones((2, *shape), "float32"))):
        with pytest.raises(
            ValueError, match=r"PReLU\(num_parameters=3\) needs x of shape \(N, \.\.\., 3\), got \(N, 4\)"
        ):
            ask((4,))


@pytest.mark.parametrize("init", [0.5, pn.initializers.Constant(0.5)], ids=["number", "initializer"])
def test_the_slopes_of_prelu_are_saved(tmp_path: Path, init: Any) -> None:
    layer = pn.PReLU(2, init=init)
    assert repr(layer) == "PReLU(num_parameters=2, init=Constant(value=0.5))"
    layer.initialize().set_weights({"weight": np.asarray([0.1, -2.0], "float32")})
    layer.save(tmp_path / "layer")
    np.testing.assert_array_equal(pn.load(tmp_path / "layer").get_weights()["weight"], layer.get_weights()["weight"])


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, -1.0)])
def test_hardtanh_needs_a_range(low: float, high: float) -> None:
    with pytest.raises(ValueError, match=rf"min_val must be below max_val={high}, got {low}"):
        pn.Hardtanh(low, high)
