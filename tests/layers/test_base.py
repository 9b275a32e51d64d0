"""Where a network's weights are, how they got there, and how they move."""

import copy
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend
from tests.cases import LAYERS, linear


def a_net() -> pn.Sequential:
    return pn.Sequential(pn.Linear(4, 3), pn.Dropout(0.2), pn.Linear(3, 2, init=pn.initializers.he_normal))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_seed_gives_the_same_bits_on_every_backend(backend: Backend, dtype: str) -> None:
    here = a_net().initialize(seed=7, device=backend, dtype=dtype).get_weights()
    there = a_net().initialize(seed=7, device="cpu", dtype=dtype).get_weights()
    assert here.keys() == there.keys() == {"0.weight", "0.bias", "2.weight", "2.bias", "1.stream"}
    for name in here:
        np.testing.assert_array_equal(here[name], there[name])


def test_seeds_differ_and_a_second_draw_does_not() -> None:
    net = a_net().initialize(seed=1)
    first = net.flat.data.copy()
    assert (first != net.initialize(seed=2).flat.data).any()
    np.testing.assert_array_equal(first, net.initialize(seed=1).flat.data)


def test_parameters_are_views_of_one_flat_array(backend: Backend) -> None:
    net = a_net().initialize(device=backend)
    net.flat.data[...] = 3.0
    assert all((backend.to_numpy(p.data) == 3).all() for p in net.parameters())
    linear(net, 0).weight.grad[...] = 1.0
    assert backend.to_numpy(net.flat.grad).sum() == 12
    net.zero_grad()
    assert not backend.to_numpy(linear(net, 0).weight.grad).any()


def test_moving_a_network_keeps_values_and_buffers(backend: Backend) -> None:
    net = a_net().initialize(seed=3)
    net[1].vjp(np.ones((2, 3), "float32"))
    before = net.get_weights()
    after = net.to(backend, dtype="float64").get_weights()
    assert net.flat.backend is backend
    assert net.flat.data.dtype == backend.xp.float64
    assert before["1.stream"][1] == 1
    for name in before:
        np.testing.assert_array_equal(before[name], after[name])


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))], ids=["copy", "pickle"])
def test_a_copy_has_flat_arrays_of_its_own(clone: Callable[..., Any]) -> None:
    net = a_net().initialize(seed=3)
    twin = clone(net)
    x = np.ones((2, 4), "float32")
    np.testing.assert_array_equal(twin(x), net(x))
    twin.flat.data[...] = 0.0
    assert not twin(x).any()
    assert net(x).any()
    assert not clone(a_net()).initialized


def test_a_parameter_belongs_to_the_network_that_gathered_it_last() -> None:
    shared = pn.Linear(3, 3)
    first, second = pn.Sequential(pn.Linear(3, 3), shared).initialize(), pn.Sequential(shared, pn.Linear(3, 2))
    trainer = pn.Trainer(first, pn.MSELoss(), pn.SGD(0.1))
    weights = shared.weight.data.copy()
    second.to("cpu")
    np.testing.assert_array_equal(shared.weight.data, weights)
    with pytest.raises(RuntimeError, match="make a new Trainer"):
        trainer.step(np.ones((1, 3), "float32"), np.ones((1, 3), "float32"))


def test_asarray_takes_the_dtype_of_the_network_for_floats_only(backend: Backend) -> None:
    net = a_net().initialize(device=backend)
    assert net.asarray([[1.0, 2.0]]).dtype == backend.xp.float32
    assert net.asarray(np.asarray([1, 2])).dtype == backend.xp.int64
    assert net.asarray(net.asarray([1.0])).device == backend.device


def test_predict_returns_arrays_of_the_kind_of_its_input(backend: Backend) -> None:
    net = pn.Linear(3, 2).initialize(device=backend)
    x = np.random.default_rng(0).normal(size=(25, 3))
    whole = net.predict(x)
    assert isinstance(whole, np.ndarray)
    np.testing.assert_allclose(net.predict(x, batch_size=10), whole, rtol=1e-6)
    assert isinstance(net.predict(net.asarray(x)), backend.array_type)
    assert net.predict(np.empty((0, 3))).shape == (0, 2)
    with pytest.raises(ValueError, match="batch_size must be a whole number of at least 1, got 0"):
        net.predict(x, batch_size=0)


def test_set_weights_sets_all_or_none(backend: Backend) -> None:
    net = a_net().initialize(device=backend)
    before = net.get_weights()
    wrong = {**before, "2.bias": np.zeros(3)}
    with pytest.raises(ValueError, match=r"weights\['2.bias'\] must have shape \(2,\), got \(3,\)"):
        net.set_weights({name: values + 1 for name, values in wrong.items()})
    with pytest.raises(ValueError, match=r"missing or unknown: 2\.bias"):
        net.set_weights({name: values for name, values in before.items() if name != "2.bias"})
    for odd in (np.zeros(2, int), np.zeros(2, bool)):
        with pytest.raises(ValueError, match=r"weights\['2.bias'\] must have a dtype like .*float32, got"):
            net.set_weights({**before, "2.bias": odd})
    for name, values in net.get_weights().items():
        np.testing.assert_array_equal(values, before[name])
    net.set_weights({**before, "2.bias": [0.5, 1.5]})
    np.testing.assert_array_equal(net.get_weights()["2.bias"], [0.5, 1.5])


def test_an_unsupported_dtype_is_refused() -> None:
    net = a_net().initialize(seed=1)
    before = net.flat.data.copy()
    change: Callable[[], pn.Layer]
    for change in (lambda: net.to(dtype="int64"), lambda: net.initialize(dtype="float16")):
        with pytest.raises(ValueError, match="dtype must be 'float32' or 'float64'"):
            change()
    np.testing.assert_array_equal(net.flat.data, before)


def test_a_network_is_initialized_on_the_default_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTANET_DEVICE", "strict")
    assert a_net().initialize().flat.backend.name == "strict"


def test_a_trainer_draws_only_missing_weights() -> None:
    net = a_net().initialize(seed=3)
    kept = linear(net, 0).weight.data.copy()
    net.pop()
    net.append(pn.Linear(3, 4))
    pn.Trainer(net, pn.MSELoss(), pn.SGD(), seed=9)
    np.testing.assert_array_equal(linear(net, 0).weight.data, kept)


def test_an_appended_layer_draws_weights_of_its_own() -> None:
    net = pn.Sequential(pn.Linear(4, 4)).initialize(seed=0)
    net.append(pn.Linear(4, 4))
    net(np.ones((1, 4), "float32"))
    assert (linear(net, 0).weight.data != linear(net, 1).weight.data).any()


def test_a_copy_of_a_partly_initialized_network_keeps_its_weights() -> None:
    net = a_net().initialize(seed=3)
    net.append(pn.Linear(2, 2))
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        np.testing.assert_array_equal(linear(twin, 0).weight.data, linear(net, 0).weight.data)


def test_a_copy_shares_layers_as_the_network_does() -> None:
    shared = pn.Linear(3, 3)
    twin = copy.deepcopy(pn.Sequential(shared, pn.TanH(), shared).initialize(seed=1))
    assert twin[0] is twin[2] is not shared
    assert twin.n_parameters == 12


def test_calling_an_inner_layer_leaves_its_buffers_in_place() -> None:
    normalize = pn.Normalize(4)
    net = pn.Sequential(normalize, pn.Linear(4, 3)).initialize(dtype="float64")
    state = normalize.mean.data
    normalize(np.ones((2, 4)))
    assert normalize.mean.data is state
    assert net(np.ones((2, 4))).dtype == np.float64


def test_predicting_with_a_strided_slice_leaves_the_flat_arrays() -> None:
    net = pn.Sequential(pn.Linear(4, 4), pn.Linear(4, 4), pn.Linear(4, 4)).initialize()
    trainer = pn.Trainer(net, pn.MSELoss(), pn.SGD(0.1))
    net[::2].predict(np.ones((2, 4)))
    trainer.step(np.ones((2, 4), "float32"), np.ones((2, 4), "float32"))


def test_layers_on_two_devices_give_an_error_with_the_fix() -> None:
    net = a_net().initialize()
    net[2].to("strict")
    with pytest.raises(
        ValueError, match=r"on cpu \(float32\) and strict \(float32\): bring them together with net\.to"
    ):
        net.predict(np.ones((1, 4)))
    assert net.to("cpu").predict(np.ones((1, 4))).shape == (1, 2)


def test_the_buffer_of_an_appended_layer_is_initialized() -> None:
    net = pn.Sequential(pn.Linear(4, 4)).initialize()
    weights = linear(net, 0).weight.data.copy()
    net.append(pn.Dropout())
    x = np.ones((2, 4), "float32")
    net(x)
    net.vjp(x)
    np.testing.assert_array_equal(linear(net, 0).weight.data, weights)


@pytest.mark.parametrize("layer", [pn.Flatten(), pn.Dropout(0.5), pn.Sequential()], ids=repr)
def test_predictions_share_no_memory_with_their_input(layer: pn.Layer) -> None:
    x = np.ones((4, 3), "float32")
    layer.initialize().predict(x)[...] = 2.0
    np.testing.assert_array_equal(x, 1.0)


@pytest.mark.parametrize("values", [np.asarray([True, False]), np.asarray([1, 2], "uint8"), np.asarray([3, 4])])
def test_buffers_of_any_dtype_are_set_and_pickled(values: Any) -> None:
    net = StateOf(values).initialize()
    net.set_weights(net.get_weights())
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(net)).get_weights()["kept"], values)
    with pytest.raises(ValueError, match="must have a dtype like"):
        net.set_weights({"kept": values.astype(float)})


def _values(values: Any, shape: tuple[int, ...], rng: np.random.Generator) -> Any:
    return np.asarray(values)


class StateOf(pn.Layer):
    def __init__(self, values: Any):
        self.values = values
        self.kept = pn.Buffer(np.shape(values), partial(_values, values))


def test_a_layer_may_keep_a_loss() -> None:
    class Penalty(pn.Layer):
        def __init__(self) -> None:
            self.loss = pn.MSELoss()
            self.inner = pn.Linear(2, 2)

        def vjp(self, x: Any, *, train: bool = True) -> tuple[Any, Any]:
            return self.inner.vjp(x, train=train)

    layer = Penalty().initialize()
    assert layer.n_parameters == 6
    assert layer(np.ones((3, 2), dtype="float32")).shape == (3, 2)


def test_drawing_anew_keeps_device_and_dtype() -> None:
    net = pn.Linear(2, 1).to(dtype="float64").initialize(seed=1)
    assert net.weight.data.dtype == np.float64
    assert net.initialize(dtype="float32").weight.data.dtype == np.float32


@pytest.mark.parametrize("seed", [-1, None, 1.5, "a"], ids=repr)
def test_a_bad_seed_is_refused_and_changes_nothing(seed: Any) -> None:
    net = pn.Linear(3, 2).initialize(seed=3)
    before = net.get_weights()
    for draw in (net.initialize, partial(net.to, "cpu")):
        with pytest.raises(ValueError, match=f"seed must be a whole number of at least 0, got {seed!r}"):
            draw(seed=seed)
    assert net.initialized
    for name, values in net.get_weights().items():
        np.testing.assert_array_equal(values, before[name])


def test_data_may_be_a_memory_map(tmp_path: Path) -> None:
    x = np.memmap(tmp_path / "x", dtype="float32", mode="w+", shape=(8, 3))
    x[...] = np.arange(24).reshape(8, 3)
    trainer = pn.Trainer(pn.Linear(3, 1), pn.MSELoss(), pn.SGD(1e-3))
    plain = np.array(x)
    np.testing.assert_array_equal(trainer.predict(x), trainer.predict(plain))
    assert trainer.evaluate(x, plain[:, :1]) == trainer.evaluate(plain, plain[:, :1])
    assert trainer.fit(x, x[:, :1], validation_data=(x, x[:, :1]), progress=False)["val_loss"]


@pytest.mark.parametrize(("layer", "x"), LAYERS, ids=[repr(layer) for layer, _ in LAYERS])
def test_a_pullback_refuses_a_gradient_of_another_shape(layer: pn.Layer, x: Any) -> None:
    layer.initialize(device="cpu", dtype="float64")
    y, pullback = layer.vjp(x)
    layer.zero_grad()
    broadcast = np.ones((1, *y.shape[1:])) if len(x) > 1 else np.ones(2)
    for dy in (broadcast, np.ones((*y.shape, 2)), y.tolist(), 1.0, None, "x"):
        with pytest.raises(ValueError, match="dy must be an array of the output's shape"):
            pullback(dy)
    assert not layer.flat.grad.any()
