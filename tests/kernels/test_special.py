import math

import numpy as np
import pytest

from portanet.backends import Backend
from portanet.kernels import erf, erfcx


def exact_erfcx(x: float) -> float:
    """By Laplace's continued fraction, and by the definition for small x, where the powers are exact enough."""
    if x < 1:
        return math.exp(x * x) * math.erfc(x)
    rest = 0.0
    for k in range(400, 0, -1):
        rest = k / 2 / (x + rest)
    return 1 / math.sqrt(math.pi) / (x + rest)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_erfcx_is_accurate_to_six_machine_epsilons(backend: Backend, dtype: str) -> None:
    limits = np.finfo(dtype)
    x = np.concatenate([np.linspace(0, 29, 3001), np.geomspace(limits.tiny, 1, 301), [0.0]]).astype(dtype)
    result = backend.to_numpy(erfcx(backend.asarray(x)))
    assert result.dtype == dtype
    np.testing.assert_allclose(result, [exact_erfcx(v) for v in x.tolist()], rtol=6 * float(limits.eps), atol=0)


@pytest.mark.parametrize("shape", [(), (0, 3), (2, 1, 3)], ids=str)
def test_erfcx_keeps_the_shape(backend: Backend, shape: tuple[int, ...]) -> None:
    result = erfcx(backend.asarray(np.full(shape, 0.25)))
    assert result.shape == shape
    np.testing.assert_allclose(backend.to_numpy(result), exact_erfcx(0.25), rtol=1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_erf_is_accurate_to_two_machine_epsilons(backend: Backend, dtype: str) -> None:
    limits = np.finfo(dtype)
    x = np.concatenate([np.linspace(0, 8, 3001), np.geomspace(limits.tiny, 1, 301), [1e30, np.inf]]).astype(dtype)
    x = np.concatenate([x, -x])
    result = backend.to_numpy(erf(backend.asarray(x)))
    assert result.dtype == dtype
    np.testing.assert_allclose(result, [math.erf(v) for v in x.tolist()], rtol=2 * float(limits.eps), atol=0)


def test_erf_keeps_nan_and_the_sign_of_zero(backend: Backend) -> None:
    result = backend.to_numpy(erf(backend.asarray(np.asarray([np.nan, -0.0, 0.0]))))
    assert np.isnan(result[0])
    assert np.signbit(result).tolist()[1:] == [True, False]
