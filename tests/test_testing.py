from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend
from portanet.testing import central_difference, check_gradients
from portanet.typing import Pullback

X = np.random.default_rng(0).normal(size=(4, 3))


class WrongDerivative(pn.TanH):
    def elementwise(self, xp: Any, x: Any) -> tuple[Any, Callable[[], Any]]:
        y, derivative = super().elementwise(xp, x)
        return y, lambda: 1.001 * derivative()


class WrongWeight(pn.Linear):
    def vjp(self, x: Any, *, train: bool = True) -> tuple[Any, Pullback]:
        y, pullback = super().vjp(x, train=train)

        def wrong(dy: Any, *, need_dx: bool = True, need_grads: bool = True) -> Any:
            if need_grads:
                assert self.bias is not None
                self.bias.grad += 1e-3
            return pullback(dy, need_dx=need_dx, need_grads=need_grads)

        return y, wrong


class WrongLoss(pn.MSELoss):
    def pointwise(self, xp: Any, p: Any, t: Any) -> tuple[Any, Callable[[], Any]]:
        terms, derivative = super().pointwise(xp, p, t)
        return terms, lambda: -derivative()


@pytest.mark.parametrize(
    ("module", "name"), [(WrongDerivative(), "x"), (WrongWeight(3, 2), "bias"), (WrongLoss(), "x")], ids=repr
)
def test_a_wrong_gradient_is_named(backend: Backend, module: pn.Layer | pn.Loss, name: str) -> None:
    target = np.zeros_like(X) if isinstance(module, pn.Loss) else None
    with pytest.raises(AssertionError, match=rf"gradient of {name} of {type(module).__name__}"):
        check_gradients(module, X, target, device=backend)


def test_check_gradients_leaves_the_layer_unchanged() -> None:
    net = pn.Sequential(pn.Linear(3, 2), pn.Dropout()).initialize(seed=1)
    before = net.get_weights()
    check_gradients(net, X)
    assert net.flat.dtype == "float32"
    assert not net.flat.grad.any()
    for name, values in net.get_weights().items():
        np.testing.assert_array_equal(values, before[name])


@pytest.mark.parametrize(
    ("module", "x", "target", "message"),
    [
        (pn.TanH, X, None, r"module must be a layer or a loss, got <class .*: write Linear\(3, 2\) for instance"),
        (pn.TanH(), X[:0], None, r"x is empty, of shape \(0, 3\): there is no gradient to check"),
        (pn.TanH(), X * np.nan, None, r"function\(x\) must be a finite number, got nan"),
        (pn.TanH(), X, X, r"target must be None for a layer, got an array of shape \(4, 3\)"),
        (pn.MSELoss(), X, None, "target must be an array for a loss, got None"),
        (pn.MSELoss(), X, "x", "target is a str: give an array or a list of numbers"),
    ],
)
def test_unfit_modules_and_data_are_refused(module: Any, x: Any, target: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_gradients(module, x, target)


def test_the_central_difference_of_integers_is_not_rounded() -> None:
    np.testing.assert_allclose(central_difference(lambda x: float(np.sum(x**2)) / 4, [1, 3]), [0.5, 1.5])
