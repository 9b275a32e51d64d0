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


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tails_keep_their_digits(backend: Backend, dtype: str) -> None:
    """Far from 0, mish is nearly ``x exp(x)`` with slope ``(1 + x) exp(x)``, and log-sigmoid ``-exp(-x)``."""
    x, rtol = np.asarray([[-60.0, -45.0]]), {"float32": 1e-5, "float64": 1e-14}[dtype]
    for layer, at, y, slope in (
        (pn.Mish(), x, x * np.exp(x), (1 + x) * np.exp(x)),
        (pn.LogSigmoid(), -x, -np.exp(x), np.exp(x)),
    ):
        found, pullback = layer.vjp(backend.asarray(at, dtype))
        np.testing.assert_allclose(backend.to_numpy(found), y, rtol=rtol)
        np.testing.assert_allclose(
            backend.to_numpy(pullback(backend.asarray(np.ones((1, 2)), dtype))), slope, rtol=rtol
        )


def test_the_gate_of_glu_takes_the_extremes(backend: Backend) -> None:
    x = np.concatenate([np.ones_like(EXTREMES), EXTREMES], axis=1)
    y, pullback = pn.GLU().vjp(backend.asarray(x))
    dx = backend.to_numpy(pullback(backend.asarray(np.ones_like(EXTREMES))))
    assert np.isfinite(dx).all()
    np.testing.assert_array_equal(backend.to_numpy(y)[:, [0, 1, 4, 7, 8]], [[0, 0, 0.5, 1, 1]])


@pytest.mark.parametrize("shape", [(3,), (2, 1), ()], ids=str)
def test_glu_needs_two_halves(shape: tuple[int, ...]) -> None:
    for ask in (pn.GLU().output_shape, lambda shape: pn.GLU()(np.ones((5, *shape)))):
        with pytest.raises(ValueError, match=r"GLU\(\) needs x with a last axis of even length, got \(N,"):
            ask(shape)
