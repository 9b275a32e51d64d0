import numpy as np
import pytest

from portanet import kernels
from portanet.backends import Backend
from portanet.kernels.distances import (
    MAX_BLOCK_ELEMENTS,
    MIN_BLOCK_ROWS,
    blocks,
    distance_blocks,
)

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(300, 7)), rng.normal(size=(5, 7))
EXPECTED = np.sum((X[:, np.newaxis] - Y) ** 2, axis=-1)


def test_squared_distances_are_sums_of_squared_differences(backend: Backend) -> None:
    actual = kernels.squared_distances(backend.asarray(X), backend.asarray(Y))
    np.testing.assert_allclose(backend.to_numpy(actual), EXPECTED, rtol=1e-12)


def test_no_squared_distance_is_negative(backend: Backend) -> None:
    x = backend.asarray(X.astype("float32"))
    assert float(backend.xp.min(kernels.squared_distances(x, x))) == 0.0  # without the maximum, rounding gives -1e-6


@pytest.mark.parametrize("origin", ["float32", "float64"])
def test_distance_blocks_are_accurate_far_from_zero(backend: Backend, origin: str) -> None:
    x, y = (X + 1000.0).astype("float32"), (Y + 1000.0).astype("float32")
    expected = np.sum((x.astype("float64")[:, np.newaxis] - y) ** 2, axis=-1)
    pairs = distance_blocks(backend.asarray(x), backend.asarray(y), backend.asarray(y.mean(axis=0), origin))
    rows, squares = (np.concatenate([backend.to_numpy(a) for a in arrays]) for arrays in zip(*pairs, strict=True))
    np.testing.assert_allclose(rows, x - y.mean(axis=0), rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(squares, expected, rtol={"float32": 1e-5, "float64": 1e-12}[origin])


def test_cluster_sums_are_those_of_the_nearest_rows(backend: Backend) -> None:
    origin = X.mean(axis=0)
    sums, counts, cost = (
        backend.to_numpy(a) for a in kernels.cluster_sums(*(backend.asarray(a) for a in (X, Y, origin)))
    )
    labels = np.argmin(EXPECTED, axis=1)
    np.testing.assert_array_equal(counts, np.bincount(labels, minlength=5))
    np.testing.assert_allclose(sums, [np.sum(X[labels == k] - origin, axis=0) for k in range(5)], atol=1e-12)
    assert float(cost) == pytest.approx(np.sum(np.min(EXPECTED, axis=1)))


def test_sum_of_squares_is_about_the_origin(backend: Backend) -> None:
    x = backend.asarray(X)
    assert float(kernels.sum_of_squares(x)) == pytest.approx(np.sum(X**2))
    assert float(kernels.sum_of_squares(x, backend.asarray(Y[0]))) == pytest.approx(np.sum((X - Y[0]) ** 2))


@pytest.mark.parametrize(
    ("n", "width"),
    [(1, 1), (10_000, 3), (10_000, 5000), (MAX_BLOCK_ELEMENTS, 2), (MIN_BLOCK_ROWS, MAX_BLOCK_ELEMENTS)],
)
def test_blocks_cover_all_rows_within_the_bound(n: int, width: int) -> None:
    found = list(blocks(np.empty((n, 0)), width))
    assert [rows.start for rows in found] == [0, *(rows.stop for rows in found[:-1])]
    assert found[-1].stop == n
    assert all(rows.stop - rows.start <= max(MIN_BLOCK_ROWS, MAX_BLOCK_ELEMENTS // width) for rows in found)
