import math

import numpy as np
import pytest

from portanet.backends import Backend
from portanet.kernels import erf


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_erf_is_accurate_to_four_machine_epsilons(backend: Backend, dtype: str) -> None:
    limits = np.finfo(dtype)
    grids = np.linspace(-40, 40, 8001), np.linspace(-6.5, 6.5, 13001), np.geomspace(limits.tiny, 1, 3001)
    x = np.concatenate(grids).astype(dtype)
    result = backend.to_numpy(erf(backend.asarray(x)))
    assert result.dtype == dtype
    np.testing.assert_allclose(result, [math.erf(v) for v in x.tolist()], rtol=4 * float(limits.eps), atol=0)


@pytest.mark.parametrize("edge", [0.46875, 4.0, 6.0])
def test_erf_is_accurate_where_the_formula_changes(backend: Backend, edge: float) -> None:
    x = np.asarray([np.nextafter(edge, 0), edge, np.nextafter(edge, 7)])
    expected = [math.erf(v) for v in x.tolist()]
    np.testing.assert_allclose(backend.to_numpy(erf(backend.asarray(x))), expected, rtol=4 * np.finfo(x.dtype).eps)


def test_erf_is_odd(backend: Backend) -> None:
    x = np.random.default_rng(0).normal(size=999)
    positive, negative = (backend.to_numpy(erf(backend.asarray(v))) for v in (x, -x))
    np.testing.assert_array_equal(negative, -positive)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_erf_of_extreme_values_raises_no_floating_point_flag(backend: Backend, dtype: str) -> None:
    largest = np.finfo(dtype).max
    x = np.asarray([np.inf, -np.inf, largest, -largest, 0.0, -0.0, np.nan], dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        result = backend.to_numpy(erf(backend.asarray(x)))
    np.testing.assert_array_equal(result, [1.0, -1.0, 1.0, -1.0, 0.0, -0.0, np.nan])
    np.testing.assert_array_equal(np.signbit(result[:6]), [False, True] * 3)


@pytest.mark.parametrize("shape", [(), (0, 3), (2, 1, 3)], ids=str)
def test_erf_keeps_the_shape(backend: Backend, shape: tuple[int, ...]) -> None:
    result = erf(backend.asarray(np.full(shape, 0.25)))
    assert result.shape == shape
    np.testing.assert_allclose(backend.to_numpy(result), math.erf(0.25), rtol=1e-15)
