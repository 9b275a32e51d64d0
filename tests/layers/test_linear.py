import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend


def test_linear_is_the_affine_map(backend: Backend) -> None:
    layer = pn.Linear(3, 2).initialize(device=backend, dtype="float64")
    layer.set_weights({"weight": np.arange(6.0).reshape(3, 2), "bias": np.asarray([10.0, 20.0])})
    y = layer(backend.asarray(np.asarray([[1.0, 1.0, 1.0]])))
    np.testing.assert_array_equal(backend.to_numpy(y), [[16.0, 29.0]])


@pytest.mark.parametrize("shape", [(5, 4), (5, 3, 1), (2,)], ids=str)
def test_a_wrong_input_shape_names_both_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"Linear\(3, 2\) needs x of shape \(N, \.\.\., 3\), got"):
        pn.Linear(3, 2)(np.ones(shape, "float32"))


def test_a_wrong_dtype_names_both_and_the_fix() -> None:
    with pytest.raises(ValueError, match=r"x has dtype float64 but the weights have float32: use net\.asarray"):
        pn.Linear(3, 2)(np.ones((1, 3)))


def test_a_wrong_device_names_both_and_the_fix() -> None:
    layer = pn.Linear(3, 2).initialize(device="strict")
    with pytest.raises(ValueError, match=r"x is on cpu \(numpy\) but the weights are on .*device1.*net\.asarray\(x\)"):
        layer(np.ones((1, 3), "float32"))


@pytest.mark.parametrize("sizes", [(0, 3), (3, -1)])
def test_sizes_must_be_positive(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="features must be a whole number of at least 1, got"):
        pn.Linear(*sizes)


def test_without_weights_it_says_how_to_get_them() -> None:
    with pytest.raises(RuntimeError, match=r"initialize\(seed=0\)"):
        pn.Linear(3, 2).forward(np.ones((1, 3), "float32"))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("axes", [(2, 5), (2, 3, 4)], ids=str)
def test_further_axes_are_like_more_examples(backend: Backend, axes: tuple[int, ...], bias: bool) -> None:
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(*axes, 3)), rng.normal(size=(*axes, 2))

    def passed(x: np.ndarray, dy: np.ndarray) -> list[np.ndarray]:
        layer = pn.Linear(3, 2, bias=bias).initialize(device=backend, dtype="float64")
        with backend.activate():
            y, pullback = layer.vjp(layer.asarray(x))
            dx = pullback(layer.asarray(dy))
        return [np.array(backend.to_numpy(a)) for a in (layer(layer.asarray(x)), y, dx, layer.flat.grad)]

    whole, flat = passed(x, dy), passed(x.reshape(-1, 3), dy.reshape(-1, 2))
    assert whole[0].shape == (*axes, 2)
    assert whole[2].shape == x.shape
    for ours, expected in zip(whole, flat, strict=True):
        np.testing.assert_allclose(ours.ravel(), expected.ravel(), rtol=1e-12, atol=1e-14)


def test_the_output_shape_keeps_further_axes() -> None:
    assert pn.Linear(3, 2).output_shape((7, 5, 3)) == (7, 5, 2)
    with pytest.raises(ValueError, match=r"got \(N, 7, 5\): Flatten\(\) first, then Linear\(35, 2\)\?"):
        pn.Linear(3, 2).output_shape((7, 5))
