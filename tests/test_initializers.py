import re
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet import initializers


def draw(init: initializers.Initializer, shape: tuple[int, ...]) -> np.ndarray:
    return init(shape, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("init", "variance"),
    [
        (initializers.glorot_uniform, 2 / (300 + 700)),
        (initializers.glorot_normal, 2 / (300 + 700)),
        (initializers.he_uniform, 2 / 300),
        (initializers.he_normal, 2 / 300),
        (initializers.lecun_uniform, 1 / 300),
        (initializers.lecun_normal, 1 / 300),
        (initializers.VarianceScaling(2.0, "fan_out", "uniform"), 2 / 700),
        (initializers.Normal(0.2), 0.04),
        (initializers.Uniform(-0.3, 0.3), 0.03),
    ],
    ids=repr,
)
def test_mean_and_variance_are_those_of_the_papers(init: initializers.Initializer, variance: float) -> None:
    values = draw(init, (300, 700))
    assert values.dtype == np.float64
    assert abs(values.mean()) < 5 * np.sqrt(variance / values.size)
    assert values.var() == pytest.approx(variance, rel=0.02)
    if getattr(init, "distribution", "") == "uniform":
        assert np.abs(values).max() <= np.sqrt(3 * variance)


def test_fan_in_counts_the_kernel() -> None:
    assert draw(initializers.lecun_normal, (5, 5, 30, 60)).var() == pytest.approx(1 / (25 * 30), rel=0.05)


def test_fan_out_counts_the_kernel() -> None:
    init = initializers.VarianceScaling(mode="fan_out")
    assert draw(init, (5, 5, 30, 60)).var() == pytest.approx(1 / (25 * 60), rel=0.05)


def test_constants() -> None:
    assert (draw(initializers.zeros, (2, 3)) == 0).all()
    assert (draw(initializers.ones, (2, 3)) == 1).all()


@pytest.mark.parametrize(
    "init", [initializers.Constant(2.0), initializers.Normal(0.1), initializers.Uniform(), initializers.glorot_normal]
)
def test_arguments_are_attributes(init: Any) -> None:
    arguments = {field.name: getattr(init, field.name) for field in fields(init)}
    assert type(init)(**arguments) == init


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": 0.0}, "scale must be a number above 0, got 0.0"),
        ({"mode": "in"}, "mode must be 'fan_in', 'fan_out' or 'fan_avg', got 'in'"),
        ({"distribution": "cauchy"}, "distribution must be 'normal' or 'uniform', got 'cauchy'"),
    ],
)
def test_unfit_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        initializers.VarianceScaling(**arguments)


@pytest.mark.parametrize(
    ("shape", "rng", "message"),
    [
        (3, np.random.default_rng(0), r"shape must be a tuple such as \(3, 2\), got 3"),
        ((-1, 2), np.random.default_rng(0), "shape must be a whole number of at least 0, got -1"),
        ((1.5, 2), np.random.default_rng(0), "shape must be a whole number of at least 0, got 1.5"),
        ((3, 2), 0, "rng must be a NumPy generator such as .*, got 0"),
        ((3, 2), None, "rng must be a NumPy generator such as .*, got None"),
    ],
)
@pytest.mark.parametrize("init", [initializers.ones, initializers.normal, initializers.glorot_uniform], ids=repr)
def test_unfit_calls_are_refused(init: Any, shape: Any, rng: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        init(shape, rng)


@pytest.mark.parametrize("shape", [(), (4,), [4, 3]])
@pytest.mark.parametrize("init", [initializers.ones, initializers.normal, initializers.glorot_uniform], ids=repr)
def test_any_number_of_axes_will_do(init: Any, shape: Any) -> None:
    assert np.shape(draw(init, shape)) == tuple(shape)


@pytest.mark.parametrize(
    "init",
    [initializers.Constant(1e39), initializers.Constant(10**39), initializers.Normal(1e39)],
    ids=repr,
)
def test_values_too_large_for_the_dtype_are_refused_by_name(init: initializers.Initializer) -> None:
    layer = pn.Linear(3, 2, init=init)
    name = re.escape(repr(init))
    with pytest.raises(ValueError, match=f"a parameter drawn by {name} holds numbers too large for float32: scale"):
        layer.initialize()
    layer.initialize(dtype="float64")
    with pytest.raises(ValueError, match=r"a parameter of shape \(3, 2\) holds numbers too large for float32: scale"):
        layer.to(dtype="float32")
    assert layer.flat.dtype == "float64"


def test_infinite_values_are_refused_by_name() -> None:
    layer = pn.Linear(30, 20, init=initializers.Normal(1e308))
    with pytest.raises(ValueError, match=r"a parameter drawn by Normal\(std=1e\+308\) holds NaN or infinity"):
        layer.initialize(dtype="float64")


def test_a_whole_number_gives_floats() -> None:
    assert initializers.Constant(1)((2,), np.random.default_rng(0)).dtype == np.float64
