"""
A second GPU without any GPU: what runs on it activates it first.

CuPy puts every new array on the current device, and warns where an operand is on another. array-api-strict has two fake
devices; here it refuses to touch the memory of an array while the array's device is not the current one.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend, get_backend

strict = pytest.importorskip("array_api_strict", reason="its fake devices stand for GPUs")
pytestmark = pytest.mark.strict
GPUS = ["device1", "device2"]
X = np.random.default_rng(0).normal(size=(6, 4))
LABELS = np.asarray([0, 1, 2, 0, 1, 2])


@pytest.fixture
def second(registry: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Backend:
    """The backend "gpu:1", while "gpu:0" is the current device."""
    current, array = [GPUS[0]], get_backend("strict").array_type
    host, memory, new = strict.Device("CPU_DEVICE"), vars(array)["_array"], array._new

    def check(device: Any) -> None:
        name = device._device
        assert name not in GPUS or name == current[0], f"{name} is used while {current[0]} is the current device"

    def read(self: Any) -> Any:
        check(self.device)
        return memory.__get__(self)

    def of_memory(name: str, self: Any) -> Any:
        return getattr(memory.__get__(self), name)

    def create(values: Any, /, device: Any) -> Any:
        check(device or host)
        return new(values, device)

    monkeypatch.setattr(array, "_array", property(read, memory.__set__))
    monkeypatch.setattr(array, "_new", staticmethod(create))
    for name in ("shape", "ndim", "size"):
        monkeypatch.setattr(array, name, property(partial(of_memory, name)))

    @contextmanager
    def active(device: str) -> Iterator[None]:
        before, current[0] = current[0], device
        yield
        current[0] = before

    def load(ordinal: str | None) -> Backend:
        device = GPUS[int(ordinal or 0)]

        def to_numpy(values: Any) -> Any:
            with active(device):
                return np.asarray(values.to_device(host))

        name = f"gpu:{ordinal or 0}"
        there = strict.Device(device)
        return replace(
            get_backend("strict"), name=name, device=there, to_numpy=to_numpy, activate=partial(active, device)
        )

    pn.backends.register("gpu", load, library="no library of its own")
    return get_backend("gpu:1")


def a_net() -> pn.Sequential:
    return pn.Sequential(pn.Linear(4, 5), pn.ReLU(), pn.Dropout(0.2), pn.Linear(5, 3))


def a_trainer(device: Backend) -> pn.Trainer:
    return pn.Trainer(a_net(), pn.CrossEntropyLoss(), pn.Adam(), metrics=[pn.accuracy], device=device)


def test_the_check_itself(second: Backend) -> None:
    array = second.asarray([1.0])
    with pytest.raises(AssertionError, match="device2 is used while device1 is the current device"):
        array + 1.0
    with pytest.raises(AssertionError, match="device2 is used"):
        strict.zeros(1, device=second.device)
    with second.activate():
        assert second.to_numpy(array + strict.ones(1, device=second.device)) == [2.0]


def test_transfer(second: Backend) -> None:
    array = second.asarray([[1.0, 2.0]])
    np.testing.assert_array_equal(second.to_numpy(second.asarray(array, "float32")), [[1.0, 2.0]])


def save(net: pn.Layer, folder: Path) -> None:
    net.save(folder / "net.safetensors")
    pn.load(folder / "net.safetensors", device="gpu:1")


NETWORK = {
    "call": lambda net, _: net(net.asarray(X)),
    "predict": lambda net, _: net.predict(X, batch_size=4),
    "predict there": lambda net, _: net.predict(net.asarray(X)),
    "to the other": lambda net, _: net.to("gpu:0").to("gpu:1"),
    "to float64": lambda net, _: net.to(dtype="float64"),
    "to the host": lambda net, _: net.to("cpu"),
    "weights": lambda net, _: net.set_weights(net.get_weights()),
    "zero_grad": lambda net, _: net.zero_grad(),
    "deepcopy": lambda net, _: copy.deepcopy(net),
    "save and load": save,
    "initialize": lambda net, _: net.initialize(3),
}


@pytest.mark.parametrize("use", [pytest.param(use, id=name) for name, use in NETWORK.items()])
def test_network(second: Backend, tmp_path: Path, use: Callable[..., Any]) -> None:
    use(a_net().initialize(device=second), tmp_path)


TRAINER = {
    "fit": lambda trainer, x, labels: trainer.fit(X, LABELS, batch_size=4, validation_data=(X, LABELS), progress=False),
    "fit there": lambda trainer, x, labels: trainer.fit(x, labels, batch_size=4, progress=False),
    "step": lambda trainer, x, labels: trainer.step(x, labels),
    "evaluate": lambda trainer, x, labels: trainer.evaluate(X, LABELS),
    "snapshot": lambda trainer, x, labels: trainer.restore(trainer.snapshot()),
    "early stopping": lambda trainer, x, labels: trainer.fit(
        X, LABELS, epochs=3, validation_data=(X, LABELS), callbacks=[pn.EarlyStopping(patience=1)], progress=False
    ),
}


@pytest.mark.parametrize("use", [pytest.param(use, id=name) for name, use in TRAINER.items()])
def test_trainer(second: Backend, use: Callable[..., Any]) -> None:
    trainer = a_trainer(second)
    use(trainer, trainer.net.asarray(X), trainer.net.asarray(LABELS))


def test_check_gradients(second: Backend) -> None:
    pn.testing.check_gradients(a_net(), X, device=second)


def test_a_step_written_by_hand(second: Backend) -> None:
    """What its author activates once."""
    net, loss = a_net().initialize(device=second), pn.CrossEntropyLoss()
    optimizer = pn.SGD(0.1).bind(net)
    x, labels = net.asarray(X), net.asarray(LABELS)
    with second.activate():
        prediction, pullback = net.vjp(x)
        _, dloss = loss.vjp(prediction, labels)
        net.zero_grad()
        pullback(dloss(), need_dx=False)
        optimizer.step()
