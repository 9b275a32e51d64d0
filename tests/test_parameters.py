from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend
from portanet.typing import Pullback


class ByHand(pn.Layer):
    """Scales its input, and writes into the gradient without ``accumulate``."""

    def __init__(self) -> None:
        self.weight = pn.Parameter((2,), pn.initializers.ones)

    def vjp(self, x: Any, *, train: bool = True) -> tuple[Any, Pullback]:
        w = self.weight.data

        def pullback(dy: Any, *, need_dx: bool = True, need_grads: bool = True) -> Any:
            if need_grads:
                self.weight.grad += pn.namespace(x).sum(x * dy, axis=0)
            return dy * w if need_dx else None

        return x * w, pullback


def trained(layer: pn.Layer, steps: int = 3) -> pn.Trainer:
    trainer = pn.Trainer(layer, pn.MSELoss(), pn.SGD(lr=0.1))
    x = trainer.net.asarray(np.asarray([[1.0, 2.0], [3.0, 4.0]]))
    for _ in range(steps):
        trainer.step(x, 2.0 * x)
    return trainer


def test_a_gradient_that_is_written_by_hand_starts_at_zero_each_step() -> None:
    layer = ByHand()
    trained(layer)
    w = np.ones(2)
    for _ in range(3):
        w -= 0.1 * 2 * (np.asarray([10.0, 20.0]) * (w - 2)) / 4
    np.testing.assert_allclose(layer.weight.data, w, rtol=1e-6)


def test_an_error_in_a_pullback_sets_missing_gradients_to_zero() -> None:
    class Fails(pn.Activation):
        def elementwise(self, xp: Any, x: Any) -> tuple[Any, Callable[[], Any]]:
            return x, lambda: 1 / 0

    first = pn.Linear(2, 2)
    net = pn.Sequential(first, Fails(), pn.Linear(2, 2))
    trainer = pn.Trainer(net, pn.MSELoss(), pn.SGD())
    before = net.flat.data.copy()
    with pytest.raises(ZeroDivisionError):
        trainer.step(np.ones((3, 2), "float32"), np.ones((3, 2), "float32"))
    np.testing.assert_array_equal(first.weight.grad, np.zeros((2, 2)))
    np.testing.assert_array_equal(net.flat.data, before)


def test_reading_a_gradient_before_initialize_says_what_to_do() -> None:
    with pytest.raises(RuntimeError, match="no values yet"):
        _ = pn.Linear(2, 2).weight.grad


@pytest.mark.parametrize("name", ["data", "grad"])
def test_assigning_an_array_writes_into_the_flat_array(backend: Backend, name: str) -> None:
    layer = pn.Linear(2, 2).initialize(device=backend)
    setattr(layer.weight, name, layer.asarray(np.ones((2, 2))))
    np.testing.assert_array_equal(backend.to_numpy(getattr(layer.flat, name))[:4], [1, 1, 1, 1])


def test_gradients_of_two_calls_are_added(backend: Backend) -> None:
    net = pn.Linear(2, 2).to(backend)
    x = net.asarray(np.ones((3, 2)))
    net.zero_grad()
    for n in (1, 2):
        net.vjp(x)[1](x)
        np.testing.assert_array_equal(backend.to_numpy(net.weight.grad), np.full((2, 2), 3.0 * n))
    net.zero_grad()
    np.testing.assert_array_equal(backend.to_numpy(net.flat.grad), np.zeros(6))


def test_a_gradient_of_another_shape_is_refused(backend: Backend) -> None:
    layer = pn.Linear(2, 3).initialize(device=backend)
    assert layer.bias is not None
    for shape in ((5, 1), (5, 4)):
        with backend.activate(), pytest.raises(ValueError, match="grad must have the parameter's shape"):
            layer.bias.accumulate(backend.asarray(np.ones(shape, "float32")))
    np.testing.assert_array_equal(backend.to_numpy(layer.bias.grad), np.zeros(3))


LARGE = np.full((3, 2), 1e39)


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("data", lambda layer, large: setattr(layer.weight, "data", large)),
        ("grad", lambda layer, large: setattr(layer.weight, "grad", large)),
        (r"weights\['weight'\]", lambda layer, large: layer.set_weights({"bias": np.ones(2), "weight": LARGE})),
        ("x", lambda layer, large: layer.predict(LARGE.T)),
        ("rows", lambda layer, large: layer.asarray(LARGE, name="rows")),
    ],
    ids=["data", "grad", "set_weights", "predict", "asarray"],
)
def test_numbers_that_would_become_infinite_are_refused_by_name(
    backend: Backend, name: str, use: Callable[..., Any]
) -> None:
    layer = pn.Linear(3, 2).initialize(device=backend)
    before = layer.get_weights()
    with pytest.raises(ValueError, match=f"{name} holds numbers too large for float32: scale them, or use float64"):
        use(layer, backend.asarray(LARGE))
    for key, values in layer.get_weights().items():
        np.testing.assert_array_equal(values, before[key])


def test_a_refused_move_leaves_parameters_and_buffers_where_they_are(backend: Backend) -> None:
    net = pn.Sequential(pn.BatchNorm(1), pn.BatchNorm(1)).initialize(device=backend, dtype="float64")
    weights = net.get_weights()
    for name, shape in (("1.running_var", "a buffer"), ("0.weight", "a parameter")):
        net.set_weights(weights | {name: [1e300]})
        with pytest.raises(ValueError, match=shape + r" of shape \(1,\) holds numbers too large for float32"):
            net.to(dtype="float32")
        assert {b.dtype for _, b in net.named_buffers()} == {net.flat.dtype} == {"float64"}


@pytest.mark.parametrize("values", [3, np.ones(2), np.ones((2, 3)), [[1.0]]], ids=str)
@pytest.mark.parametrize("name", ["data", "grad"])
def test_values_of_another_shape_are_not_broadcast(name: str, values: Any) -> None:
    layer = pn.Linear(3, 2).initialize()
    before = layer.get_weights()["weight"]
    with pytest.raises(ValueError, match=rf"{name} must have shape \(3, 2\), got .*: {name}\[...\] = 0 fills it"):
        setattr(layer.weight, name, values)
    np.testing.assert_array_equal(layer.get_weights()["weight"], before)
