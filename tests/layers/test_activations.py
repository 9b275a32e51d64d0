import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend
from tests.cases import LAYERS

EXTREMES = np.asarray([[-1e30, -1e4, -90.0, -1.0, 0.0, 1.0, 90.0, 1e4, 1e30]], dtype="float32")
ACTIVATIONS = [layer for layer, _ in LAYERS if isinstance(layer, pn.Activation | pn.Softmax | pn.LogSoftmax)]


@pytest.mark.parametrize("layer", ACTIVATIONS, ids=repr)
def test_nothing_becomes_nan_at_the_extremes(backend: Backend, layer: pn.Layer) -> None:
    y, pullback = layer.vjp(backend.asarray(EXTREMES))
    assert not np.isnan(backend.to_numpy(y)).any()
    assert np.isfinite(backend.to_numpy(pullback(backend.asarray(np.ones_like(EXTREMES))))).all()


def test_the_sigmoid_keeps_its_relative_precision_far_below_zero(backend: Backend) -> None:
    y = backend.to_numpy(pn.Sigmoid().forward(backend.asarray([[-500.0]], "float64")))
    np.testing.assert_allclose(y, np.exp(-500.0), rtol=1e-14)


def test_softmax_sums_to_one_over_the_last_axis(backend: Backend) -> None:
    y = backend.to_numpy(pn.Softmax().forward(backend.asarray(np.random.default_rng(0).normal(size=(2, 3, 5)) * 50)))
    np.testing.assert_allclose(y.sum(axis=-1), 1, rtol=1e-14)


def test_float32_is_within_a_few_roundings_of_float64(backend: Backend) -> None:
    x = np.random.default_rng(0).normal(size=(50, 20)) * 3
    for layer in ACTIVATIONS:
        exact = backend.to_numpy(layer.forward(backend.asarray(x)))
        rounded = backend.to_numpy(layer.forward(backend.asarray(x, "float32")))
        np.testing.assert_allclose(rounded, exact, rtol=1e-5, atol=2e-6, err_msg=repr(layer))


@pytest.mark.parametrize("layer", [pn.Softmax(), pn.LogSoftmax()], ids=repr)
def test_unsigned_integers_do_not_wrap_round(layer: pn.Layer) -> None:
    with pytest.raises(ValueError, match="needs floats, got x of dtype uint8"):
        layer(np.asarray([[100, 101]], "uint8"))
