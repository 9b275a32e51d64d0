import numpy as np
import pytest

import portanet as pn

X = np.ones((2, 5, 5, 3), "float32")


def test_a_branch_that_changes_the_shape_is_no_residual():
    layer = pn.Residual(pn.Conv2D(3, 3, 3))
    for ask in (lambda: layer(X), lambda: layer.vjp(X), lambda: layer.output_shape(X.shape[1:])):
        with pytest.raises(
            ValueError, match=r"adds a branch of shape \(.*3, 3, 3\) to \(.*5, 5, 3\): give a projection"
        ):
            ask()


def test_branches_that_do_not_fit_are_not_joined(backend):
    layer = pn.Parallel(pn.Conv2D(3, 2, 3), pn.MaxPool2D(2)).initialize(device=backend)
    x = layer.asarray(X)
    for ask in (lambda: layer(x), lambda: layer.vjp(x), lambda: layer.output_shape(X.shape[1:])):
        with pytest.raises(ValueError, match=r"the last axis only, got outputs \[\(.*3, 3, 2\), \(.*2, 2, 3\)"):
            ask()


def test_parallel_needs_a_branch():
    with pytest.raises(ValueError, match="Parallel needs at least one branch"):
        pn.Parallel()
