"""Functions and activations of the compiled core, over all numbers, against NumPy in double precision."""

from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.backends import get_backend

RTOL = {"float32": 1e-6, "float64": 1e-14}


@pytest.fixture
def core() -> Any:
    get_backend("cpu")
    from portanet.backends.numpy.core import compiled

    if compiled is None:
        pytest.skip("the compiled core is not in use")
    return compiled


def numbers(dtype: str) -> np.ndarray:
    """Random bits, which are numbers of all magnitudes and NaN; numbers where functions change; special numbers."""
    rng, n, info = np.random.default_rng(0), 100_000, np.finfo(dtype)
    bits = np.frombuffer(rng.bytes(n * np.dtype(dtype).itemsize), dtype)
    parts = [
        bits,
        rng.normal(size=n),
        rng.uniform(-110, 110, n),
        rng.uniform(-760, 760, n),
        1 + 1e-3 * rng.normal(size=n),
    ]
    special = np.asarray([0.0, 1.0, np.inf, np.nan, info.max, info.tiny, info.smallest_subnormal], dtype)
    return np.concatenate([*parts, special, -special, [1.0]], dtype=dtype, casting="same_kind")


def sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    y: np.ndarray = np.where(x < 0, e, 1.0) / (1.0 + e)
    return y


@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("function", [np.exp, np.expm1, np.log, np.tanh, sigmoid], ids=lambda f: f.__name__)
def test_functions_of_all_numbers(core: Any, function: Any, dtype: str) -> None:
    from portanet.backends.numpy.core.elementwise import OPERATIONS, Program

    x = numbers(dtype)
    y = np.empty_like(x)
    Program((bytes((OPERATIONS[function.__name__], 0, 0, 0)), ()), ("x",))(y, x=x)
    with np.errstate(all="ignore"):
        expected = function(x.astype("float64")).astype(dtype)
    # Results too small for a normal number are 0.
    np.testing.assert_allclose(y, expected, RTOL[dtype], float(np.finfo(dtype).smallest_normal))
    np.testing.assert_array_equal(np.signbit(y[y == 0]), np.signbit(expected[y == 0]))


@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("name", ["sin", "cos"])
def test_sine_and_cosine_of_all_numbers(core: Any, name: str, dtype: str) -> None:
    from portanet.backends.numpy.core.elementwise import programs_of

    class Function:
        def apply(self, xp: Any, x: Any) -> Any:
            y = getattr(xp, name)(x)
            return y, lambda: y

    x = np.concatenate([numbers(dtype), np.arange(20_000).astype(dtype) * np.asarray(np.pi / 2, dtype)])
    y, programs = np.empty_like(x), programs_of(Function().apply, x.dtype)
    assert programs is not None
    programs[0](y, x=x)
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(x.astype("float64")).astype(dtype)
    np.testing.assert_allclose(y, expected, RTOL[dtype], float(np.finfo(dtype).smallest_normal))
    np.testing.assert_array_equal(np.signbit(y[y == 0]), np.signbit(expected[y == 0]))


@pytest.mark.parametrize("dtype", RTOL)
def test_every_activation_is_one_program(core: Any, dtype: str) -> None:
    from portanet.backends.numpy.core.elementwise import programs_of

    activations = [value for value in vars(pn.layers).values() if isinstance(value, type)]
    for kind in activations:
        if issubclass(kind, pn.Activation) and kind is not pn.Activation:
            assert programs_of(kind().elementwise, np.dtype(dtype)) is not None, kind


@pytest.mark.parametrize("dtype", RTOL)
def test_softmax_of_infinities_is_nan_as_in_the_portable_form(core: Any, dtype: str) -> None:
    from portanet import kernels

    x = np.zeros((20, 7), dtype)
    x[3, 2] = x[4, 0] = x[4, 1] = np.inf
    x[5] = -np.inf
    x[6, 3], x[7, 3] = np.nan, -np.inf
    labels = np.arange(20) % 9
    with np.errstate(invalid="ignore"):
        for kernel, *arguments in ((kernels.log_softmax, x), (kernels.sparse_softmax_cross_entropy, x, labels)):
            actual, expected = kernel(*arguments), kernel.portable(*arguments)
            for one, other in zip(actual, expected, strict=True):
                np.testing.assert_allclose(one, other, RTOL[dtype], RTOL[dtype])
