import numpy as np
import pytest

from portanet import initializers


def drawn(init: initializers.Initializer, shape: tuple[int, ...]) -> np.ndarray:
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
        (initializers.Normal(0.2), 0.04),
    ],
    ids=repr,
)
def test_mean_and_variance_are_those_of_the_papers(init, variance):
    values = drawn(init, (300, 700))
    assert values.dtype == np.float64
    assert abs(values.mean()) < 5 * np.sqrt(variance / values.size)
    assert values.var() == pytest.approx(variance, rel=0.02)
    if getattr(init, "distribution", "") == "uniform":
        assert np.abs(values).max() <= np.sqrt(3 * variance)


def test_a_kernel_multiplies_the_fans():
    assert drawn(initializers.lecun_normal, (5, 5, 30, 60)).var() == pytest.approx(1 / (25 * 30), rel=0.05)


def test_constants():
    assert (drawn(initializers.zeros, (2, 3)) == 0).all()
    assert (drawn(initializers.ones, (2, 3)) == 1).all()
