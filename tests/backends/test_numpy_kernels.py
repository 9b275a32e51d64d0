"""What NumPy's namespace and kernels do in place of NumPy's own functions."""

from typing import Any

import numpy as np
import pytest

from portanet.backends import get_backend
from portanet.backends.numpy import kernels

VALUES = np.random.default_rng(0).normal(size=(3, 4, 5)) * 10


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), ()], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint8", "bool"])
@pytest.mark.parametrize("keepdims", [False, True])
def test_sums_and_maxima_are_those_of_numpy(axis: Any, dtype: str, keepdims: bool) -> None:
    xp, x = get_backend("cpu").xp, np.abs(VALUES).astype(dtype)
    for ours, numpys in ((xp.sum, np.sum), (xp.max, np.max)):
        found, expected = (function(x, axis=axis, keepdims=keepdims) for function in (ours, numpys))
        np.testing.assert_array_equal(found, expected)
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert xp.sum(x, axis=axis, dtype=np.float64).dtype == np.float64


@pytest.mark.parametrize("axis", [None, 0, 1, -1], ids=str)
def test_rows_of_any_layout_are_taken(axis: int | None) -> None:
    xp, indices = get_backend("cpu").xp, np.asarray([1, 0, 0, -1])
    for x in (VALUES, VALUES[..., 1:3], np.asfortranarray(VALUES), VALUES[:, 0, 0]):
        if axis != 1 or x.ndim > 1:
            np.testing.assert_array_equal(xp.take(x, indices, axis=axis), np.take(x, indices, axis=axis))
    with pytest.raises(IndexError):
        xp.take(VALUES[..., ::2], np.asarray([3]), axis=0)


@pytest.mark.parametrize("most", [0, kernels.MAX_DOT_ELEMENTS])
@pytest.mark.parametrize("order_x", "CF")
@pytest.mark.parametrize("order_w", "CF")
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (1, 7, 1), (1, 7, 4), (6, 7, 1), (6, 1, 4), (6, 7, 4), (0, 7, 4)], ids=str
)
def test_products_have_the_bits_of_matmul(
    shape: tuple[int, int, int], most: int, order_x: Any, order_w: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "MAX_DOT_ELEMENTS", most)
    n, k, m = shape
    x, w = (np.asarray(VALUES.ravel()[: a * b].reshape(a, b), "float32") for a, b in ((n, k), (k, m)))
    x, w = np.asarray(x, order=order_x), np.asarray(w, order=order_w)
    np.testing.assert_array_equal(kernels.linear(x, w), np.matmul(x, w))
    outs: list[np.ndarray] = [
        np.full((n, m), 7.0, "float32"),
        np.full((n, m), 7.0, "float64"),
        np.full((n, m), 7.0, "float32", order="F"),
    ]
    for out in outs:
        kernels.matmul_into(out, x, w)
        np.testing.assert_array_equal(out, np.matmul(x, w))


def test_a_product_is_written_to_strided_memory() -> None:
    x, w, out = VALUES[0], VALUES[1].T, np.full((4, 8), 7.0)
    kernels.matmul_into(out[:, ::2], x, w)
    np.testing.assert_allclose(out[:, ::2], x @ w, rtol=1e-12)
    assert (out[:, 1::2] == 7.0).all()


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((5, 7), (7, 3)),
        ((70, 90), (90, 100)),
        ((20, 5, 7), (20, 7, 3)),
        ((3, 150, 90), (3, 90, 200)),
        ((2, 0, 4), (2, 4, 3)),
        ((2, 3, 0), (2, 0, 4)),
        ((2, 3, 5, 7), (2, 3, 7, 3)),
        ((2, 5, 7), (7, 3)),
        ((1, 5, 7), (4, 7, 3)),
        ((7,), (7, 3)),
    ],
)
def test_matmul_is_that_of_numpy(a: tuple[int, ...], b: tuple[int, ...], order: Any, dtype: str) -> None:
    rng, matmul = np.random.default_rng(0), get_backend("cpu").xp.matmul
    x, w = (rng.integers(-9, 9, size=shape).astype(dtype, order) for shape in (a, b))
    np.testing.assert_array_equal(matmul(x, w), np.matmul(x, w))  # small integers are exact
    reversed_rows = x[..., ::-1]
    np.testing.assert_array_equal(matmul(reversed_rows, w), np.matmul(reversed_rows, w))


@pytest.mark.parametrize(("a", "b"), [((2, 3), (2, 3)), ((2, 4, 3), (2, 4, 3))])
def test_matmul_refuses_shapes_that_do_not_fit(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="matmul"):
        get_backend("cpu").xp.matmul(np.ones(a), np.ones(b))


def test_a_product_of_shapes_that_do_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="matmul"):
        kernels.matmul_into(np.zeros((2, 2)), np.ones((2, 3)), np.ones((2, 2)))


def test_the_sigmoid_is_silent_outside_of_a_compute_context_too() -> None:
    with np.errstate(over="raise"):
        assert kernels.sigmoid(np.asarray([-1000.0])) == 0.0
