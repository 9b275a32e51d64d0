"""What holds for every layer and every loss, on every backend."""

from contextlib import suppress
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend
from portanet.testing import check_gradients
from tests.cases import LAYERS, LOSSES, OPTIMIZERS, concrete

layers = pytest.mark.parametrize(("layer", "x"), LAYERS, ids=[repr(layer) for layer, _ in LAYERS])
losses = pytest.mark.parametrize(
    ("loss", "prediction", "target"), LOSSES, ids=[f"{loss!r}-{target.ndim}d" for loss, _, target in LOSSES]
)
optimizers = pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)


def placed(layer: pn.Layer, backend: Backend) -> pn.Layer:
    return layer.initialize(seed=0, device=backend, dtype="float64")


def gradients(layer: pn.Layer) -> np.ndarray:
    return np.array(layer.flat.backend.to_numpy(layer.flat.grad))


def test_every_layer_loss_and_optimizer_is_under_this_contract() -> None:
    assert {type(part) for layer, _ in LAYERS for part in layer.topology.layers.values()} == concrete(pn.Layer)
    of_several = {pn.MultiOutputLoss}  # in tests/losses/test_multi_output.py
    assert {type(loss) for loss, *_ in LOSSES} | of_several == concrete(pn.Loss)
    assert {type(optimizer) for optimizer in OPTIMIZERS} == concrete(pn.Optimizer)


@layers
@pytest.mark.parametrize("train", [True, False])
def test_layer_gradients_are_central_differences(backend: Backend, layer: pn.Layer, x: Any, train: bool) -> None:
    check_gradients(layer, x, device=backend, train=train)


@losses
def test_loss_gradient_is_the_central_difference(backend: Backend, loss: pn.Loss, prediction: Any, target: Any) -> None:
    check_gradients(loss, prediction, target, device=backend)


@layers
def test_forward_is_inference_and_output_shape_is_its_shape(backend: Backend, layer: pn.Layer, x: Any) -> None:
    placed(layer, backend)
    y = backend.to_numpy(layer.forward(backend.asarray(x)))
    np.testing.assert_array_equal(y, backend.to_numpy(layer.vjp(backend.asarray(x), train=False)[0]))
    # What the engine runs in place of the layer may round in another way.
    np.testing.assert_allclose(y, backend.to_numpy(layer(backend.asarray(x))), rtol=1e-13, atol=1e-13)
    assert y.shape == (len(x), *layer.output_shape(x.shape[1:]))


@layers
@pytest.mark.parametrize("train", [True, False])
def test_an_empty_batch_has_an_empty_output_and_zero_gradients(
    backend: Backend, layer: pn.Layer, x: Any, train: bool
) -> None:
    placed(layer, backend)
    empty = backend.asarray(x[:0])
    if train and isinstance(layer, pn.BatchNorm):
        with pytest.raises(ValueError, match="more than one value a channel to train on"):
            layer.vjp(empty)
        return
    y, pullback = layer.vjp(empty, train=train)
    assert y.shape == (0, *layer.output_shape(x.shape[1:]))
    assert pullback(y).shape == empty.shape
    assert not gradients(layer).any()


@layers
def test_an_axis_of_length_0_is_refused_or_has_an_empty_output(backend: Backend, layer: pn.Layer, x: Any) -> None:
    placed(layer, backend)
    for axis in range(1, x.ndim):
        empty = backend.asarray(np.take(x, [], axis=axis))
        shape = None
        with suppress(ValueError):
            shape = layer.output_shape(tuple(empty.shape[1:]))
        if shape is None:
            with pytest.raises(ValueError, match=r"needs .* got \(N|does not fit into"):
                layer.vjp(empty, train=False)
            continue
        y, pullback = layer.vjp(empty, train=False)
        assert y.shape == (len(x), *shape)
        assert pullback(y).shape == empty.shape


@layers
def test_a_layer_used_twice_keeps_its_calls_apart(backend: Backend, layer: pn.Layer, x: Any) -> None:
    placed(layer, backend)
    here, there = backend.asarray(x), backend.asarray(x[::-1].copy())
    dy = backend.asarray(np.random.default_rng(1).normal(size=(len(x), *layer.output_shape(x.shape[1:]))))

    def dx(calls: list[Any]) -> list[np.ndarray]:
        placed(layer, backend)
        pullbacks = [layer.vjp(x)[1] for x in calls]
        return [backend.to_numpy(pullback(dy)) for pullback in reversed(pullbacks)]

    second, first = dx([here, there])
    np.testing.assert_array_equal(first, dx([here])[0])
    if not any(name.endswith("stream") for name, _ in layer.named_buffers()):  # else the second call draws anew
        np.testing.assert_array_equal(second, dx([there])[0])


@layers
def test_gradients_of_two_calls_add_up(backend: Backend, layer: pn.Layer, x: Any) -> None:
    x = backend.asarray(x)

    def pull(times: int) -> np.ndarray:
        placed(layer, backend)
        for _ in range(times):
            y, pullback = layer.vjp(x, train=False)
            pullback(y)
        return gradients(layer)

    np.testing.assert_allclose(pull(2), 2 * pull(1), rtol=1e-15)
    layer.zero_grad()
    assert not gradients(layer).any()


@layers
def test_only_what_is_asked_for_is_computed(backend: Backend, layer: pn.Layer, x: Any) -> None:
    placed(layer, backend)
    y, pullback = layer.vjp(backend.asarray(x), train=False)
    assert pullback(y, need_dx=True, need_grads=False) is not None
    assert not gradients(layer).any()
    assert pullback(y, need_dx=False, need_grads=True) is None
    assert gradients(layer).any() == (layer.n_parameters > 0)


@layers
def test_inputs_and_output_gradients_are_left_unchanged(backend: Backend, layer: pn.Layer, x: Any) -> None:
    placed(layer, backend)
    given = backend.asarray(x.copy())
    y, pullback = layer.vjp(given)
    dy = backend.asarray(np.ones(y.shape))
    pullback(dy)
    np.testing.assert_array_equal(backend.to_numpy(given), x)
    assert (backend.to_numpy(dy) == 1).all()


@layers
def test_reruns_are_bit_equal(backend: Backend, layer: pn.Layer, x: Any) -> None:
    def run() -> list[np.ndarray]:
        placed(layer, backend)
        y, pullback = layer.vjp(backend.asarray(x))
        return [np.array(backend.to_numpy(a)) for a in (y, pullback(y), layer.flat.grad, layer.flat.data)]

    for first, second in zip(run(), run(), strict=True):
        np.testing.assert_array_equal(first, second)


@losses
def test_a_loss_leaves_its_inputs_unchanged(backend: Backend, loss: pn.Loss, prediction: Any, target: Any) -> None:
    p, t = backend.asarray(prediction.copy()), backend.asarray(target.copy())
    value, pullback = loss.vjp(p, t)
    pullback(value)
    np.testing.assert_array_equal(backend.to_numpy(p), prediction)
    np.testing.assert_array_equal(backend.to_numpy(t), target)


@losses
def test_a_loss_computes_in_the_dtype_of_the_prediction(
    backend: Backend, loss: pn.Loss, prediction: Any, target: Any
) -> None:
    value, pullback = loss.vjp(backend.asarray(prediction, "float32"), backend.asarray(target))
    assert value.dtype == pullback().dtype == backend.xp.float32


@layers
def test_a_layer_computes_in_the_dtype_of_its_input(backend: Backend, layer: pn.Layer, x: Any) -> None:
    layer.initialize(device=backend, dtype="float32")
    y, pullback = layer.vjp(backend.asarray(x, None if x.dtype.kind == "i" else "float32"))
    assert y.dtype == pullback(y).dtype == backend.xp.float32


def a_step(layer: pn.Layer, x: np.ndarray, loss: pn.Loss, target: np.ndarray, optimizer: pn.Optimizer) -> None:
    strict = pn.get_backend("strict")
    trainer = pn.Trainer(layer.initialize(device=strict), loss, optimizer)
    trainer.step(layer.asarray(x), layer.asarray(target))


@layers
def test_no_step_reads_a_layer_back(no_host_reads: Backend, layer: pn.Layer, x: Any) -> None:
    a_step(layer, x, pn.MSELoss(), np.ones((len(x), *layer.output_shape(x.shape[1:]))), pn.SGD(0.1))


@losses
def test_no_step_reads_a_loss_back(no_host_reads: Backend, loss: pn.Loss, prediction: Any, target: Any) -> None:
    net = pn.Sequential(pn.Linear(6, 6), pn.Softmax()).initialize(device="strict")
    y, pullback = net.vjp(net.asarray(prediction))
    _, dloss = loss.vjp(y, net.asarray(target))
    pullback(dloss())


@optimizers
def test_no_step_reads_an_optimizer_back(no_host_reads: Backend, optimizer: pn.Optimizer) -> None:
    a_step(pn.Linear(6, 2), np.ones((3, 6)), pn.MSELoss(), np.ones((3, 2)), optimizer)


@optimizers
def test_an_optimizer_lowers_a_loss_equally_on_every_backend(backend: Backend, optimizer: pn.Optimizer) -> None:
    def losses(device: str | Backend) -> list[float]:
        net = pn.Linear(3, 2).initialize(seed=1, device=device, dtype="float64")
        trainer = pn.Trainer(net, pn.MSELoss(), optimizer)
        x = net.asarray(np.random.default_rng(0).normal(size=(8, 3)))
        target = net.asarray(np.ones((8, 2)))
        return [float(trainer.step(x, target)) for _ in range(30)]

    here = losses(backend)
    assert here[-1] < 0.9 * here[0]
    np.testing.assert_allclose(here, losses("cpu"), rtol=1e-12)
