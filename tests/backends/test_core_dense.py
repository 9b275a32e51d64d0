"""Dense layers by the compiled kernels equal the portable form for all sizes and memory orders."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import portanet as pn
from portanet import kernels
from portanet.backends.numpy import core

pytestmark = pytest.mark.skipif(core.compiled is None, reason="the compiled kernels are not in use")

LENGTHS = st.sampled_from([1, 2, 5, 12, 13, 16, 31, 33, 64, 100, 257])
ACTIVATIONS = [None, pn.ReLU(), pn.TanH(), pn.Sigmoid(), pn.SiLU(), pn.LeakyReLU(0.1)]


def two_layers(  # noqa: PLR0917
    form: str, x: Any, w1: Any, w2: Any, b: Any, activation: Any, dz: Any
) -> tuple[Any, ...]:
    """Return the output of a layer, and the gradients of that layer and of a linear one after it."""
    dense, gradient = getattr(kernels.dense, form), getattr(kernels.dense_gradient, form)
    y, below = dense(x, w1, b, activation and activation.elementwise)
    dw1, db1, dw2 = np.empty_like(w1), np.empty(w1.shape[1], w1.dtype), np.empty_like(w2)
    dz1 = gradient(dz, y, w2, dw2, None, True, below)
    return y, dz1, gradient(dz1, x, w1, dw1, db1, True, None), dw1, db1, dw2


@given(
    sizes=st.tuples(LENGTHS, LENGTHS, LENGTHS, LENGTHS),
    activation=st.sampled_from(ACTIVATIONS),
    bias=st.booleans(),
    order=st.sampled_from("CF"),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_dense_layers_equal_the_portable_form(
    sizes: tuple[int, ...], activation: Any, bias: bool, order: Any, dtype: str
) -> None:
    n, n_in, n_hidden, n_out = sizes
    rng = np.random.default_rng(n)

    def normal(*shape: int) -> np.ndarray:
        return np.asarray(rng.normal(size=shape), dtype, order=order)

    x, w1, w2, dz = normal(n, n_in), normal(n_in, n_hidden), normal(n_hidden, n_out), normal(n, n_out)
    b = normal(n_hidden) if bias else None
    weights = [np.ascontiguousarray(w) for w in (w1, w2)]
    ours = two_layers("__call__", x, weights[0], weights[1], b, activation, dz)
    expected = two_layers("portable", x, weights[0], weights[1], b, activation, dz)
    for one, other in zip(ours, expected, strict=True):
        assert one.dtype == other.dtype
        tolerance = 3e-5 if dtype == "float32" else 1e-12
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * (1 + np.abs(other).max()))


def test_other_dtypes_and_views_with_gaps_fall_to_the_portable_form() -> None:
    x, w, b = np.ones((4, 3)), np.ones((3, 2), "float32"), np.ones(2, "float32")
    y, _ = kernels.dense(x, w, b, None)
    assert y.dtype == np.float64
    assert (y == 4).all()
    wide = np.zeros((3, 4), "float32")
    dz, x = np.ones((4, 2), "float32"), np.ones((4, 3), "float32")
    kernels.dense_gradient(dz, x, w, wide[:, ::2], None, False, None)
    assert (wide == [4, 0, 4, 0]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (lambda a: (a(3, 2), a(2, 4), None, None, a(3, 4), a(3, 5)), "x, w, z and y do not fit"),
        (lambda a: (a(3, 2), a(2, 4), a(3), None, *[a(3, 4)] * 2), "a bias must have the dtype and the columns"),
        (lambda a: (a(3, 2), a(2, 4).astype("f8"), None, None, *[a(3, 4)] * 2), "arrays must have one dtype"),
        (lambda a: (z := a(3, 3), a(3, 3), None, None, z, z), "the result must not overlap an operand"),
        (lambda a: (a(3, 2), a(2, 4), None, (b"abc", ()), *[a(3, 4)] * 2), "four bytes each"),
    ],
)
def test_the_boundary_refuses_what_does_not_fit(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        core.compiled.dense(*arguments(lambda *shape: np.zeros(shape, "float32")))
