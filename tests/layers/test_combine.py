from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend

X = np.ones((2, 5, 5, 3), "float32")


def test_a_branch_that_changes_the_shape_needs_a_projection() -> None:
    layer = pn.Residual(pn.Conv2D(3, 3, 3))
    for ask in (lambda: layer(X), lambda: layer.vjp(X), lambda: layer.output_shape(X.shape[1:])):
        with pytest.raises(
            ValueError, match=r"adds a branch of shape \(.*3, 3, 3\) to \(.*5, 5, 3\): give a projection"
        ):
            ask()


def test_branches_of_unequal_shapes_are_refused(backend: Backend) -> None:
    layer = pn.Parallel(pn.Conv2D(3, 2, 3), pn.MaxPool2D(2)).initialize(device=backend)
    x = layer.asarray(X)
    for ask in (lambda: layer(x), lambda: layer.vjp(x), lambda: layer.output_shape(X.shape[1:])):
        with pytest.raises(ValueError, match=r"the last axis only, got outputs \[\(.*3, 3, 2\), \(.*2, 2, 3\)"):
            ask()


def test_parallel_needs_a_branch() -> None:
    with pytest.raises(ValueError, match="Parallel needs at least one branch"):
        pn.Parallel()


def test_a_residual_with_projection_adds_both_branches_and_their_gradients(backend: Backend) -> None:
    branch, projection = pn.Conv2D(3, 4, 3, stride=2, padding=1), pn.Conv2D(3, 4, 1, stride=2, bias=False)
    layer = pn.Residual(branch, projection=projection).initialize(seed=1, device=backend, dtype="float64")
    x = np.random.default_rng(0).normal(size=(2, 5, 5, 3))
    pn.testing.check_gradients(layer, x, device=backend)
    assert layer.output_shape((5, 5, 3)) == (3, 3, 4)
    with backend.activate():
        given = layer.asarray(x)
        y, pullback = layer.vjp(given)
        parts = [part.vjp(given) for part in (branch, projection)]
        np.testing.assert_allclose(
            backend.to_numpy(y), sum(backend.to_numpy(part) for part, _ in parts), rtol=1e-12, atol=1e-14
        )
        dx = backend.to_numpy(pullback(y))
        expected = sum(backend.to_numpy(pull(y, need_grads=False)) for _, pull in parts)
    np.testing.assert_allclose(dx, expected, rtol=1e-12, atol=1e-14)
    assert list(layer.named_parameters()) == ["branch.weight", "branch.bias", "projection.weight"]


def test_a_projection_of_another_shape_is_refused() -> None:
    layer = pn.Residual(pn.Linear(3, 4), projection=pn.Linear(3, 5))
    for ask in (lambda: layer(X), lambda: layer.output_shape((5, 5, 3))):
        with pytest.raises(ValueError, match=r"branch of shape \(.*5, 5, 4\) to \(.*5, 5, 5\): the projection must"):
            ask()


@pytest.mark.parametrize("wrong", [pn.Linear, "Linear", [pn.Linear(3, 3)]], ids=str)
def test_what_is_no_layer_is_refused(wrong: Any) -> None:
    for build in (
        lambda: pn.Residual(wrong),
        lambda: pn.Residual(pn.Linear(3, 3), projection=wrong),
        lambda: pn.Parallel(wrong),
        lambda: pn.AutoEncoder(pn.Linear(3, 3), wrong),
    ):
        with pytest.raises(TypeError, match="layers must be Layer objects"):
            build()
