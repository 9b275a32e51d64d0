"""Recorded steps that a further call of fit uses again."""

import copy
import gc
import weakref
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
import pytest

import portanet as pn
import portanet.engine.graph
from portanet.backends import Backend
from portanet.engine.graph import WARM_UP_STEPS

pytest.importorskip("array_api_strict", reason="its computations are what is recorded")
tape = import_module("tests.tape")  # not at the top: it imports array_api_strict
pytestmark = [pytest.mark.strict, pytest.mark.mechanism]

rng = np.random.default_rng(0)
X, LABELS = rng.normal(size=(40, 4)), rng.integers(3, size=40)


class Recordings:
    """Records, and counts how often."""

    def __init__(self) -> None:
        self.n, self.alive = 0, weakref.WeakSet[Any]()

    def capture(self, step: Callable[[], Any], n: int, n_expected: int, *pools: Any) -> Callable[[], None]:
        replay: Callable[[], None] = tape.capture(step, n)
        self.n += 1
        self.alive.add(replay.__self__)  # type: ignore[attr-defined]
        return replay


@pytest.fixture
def recordings(monkeypatch: pytest.MonkeyPatch) -> Recordings:
    monkeypatch.setattr(portanet.engine.graph, "MIN_STEPS_TO_RECORD", 1)
    return Recordings()


@pytest.fixture
def device(recordings: Recordings) -> Backend:
    return replace(pn.get_backend("strict"), name="recording", capture=recordings.capture)


def a_trainer(device: Backend, **settings: Any) -> pn.Trainer:
    net = pn.Sequential(pn.Linear(4, 8), pn.TanH(), pn.Linear(8, 3)).initialize(1, device=device, dtype="float64")
    return pn.Trainer(net, pn.CrossEntropyLoss(), pn.SGD(0.1, momentum=0.9), seed=3, **settings)


def fit(trainer: pn.Trainer, x: Any, y: Any, **settings: Any) -> None:
    trainer.fit(x, y, **{"epochs": 2, "batch_size": 8, "progress": False, **settings})


def test_a_further_fit_on_the_same_arrays_records_nothing(device: Backend, recordings: Recordings) -> None:
    x, y = device.asarray(X), device.asarray(LABELS)
    trainer, eager = a_trainer(device), a_trainer(device)
    for epochs in (2, 4):
        trainer.fit(x, y, epochs=epochs, batch_size=8, progress=False)
        eager.fit(x, y, epochs=epochs, batch_size=8, progress=False, capture="never")
    assert recordings.n == 1
    assert trainer.history == eager.history
    for name, values in trainer.net.get_weights().items():
        np.testing.assert_array_equal(values, eager.net.get_weights()[name], name)


def change_momentum(trainer: pn.Trainer) -> None:
    trainer.optimizer.momentum = 0.5


def change_metrics(trainer: pn.Trainer) -> None:
    trainer.metrics = ["accuracy"]


def change_loss(trainer: pn.Trainer) -> None:
    trainer.loss = pn.CrossEntropyLoss(label_smoothing=0.1)


def change_layers(trainer: pn.Trainer) -> None:
    trainer.net[0].freeze()  # type: ignore[index]


@pytest.mark.parametrize("change", [change_momentum, change_metrics, change_loss, change_layers])
def test_what_has_changed_is_recorded_anew(device: Backend, recordings: Recordings, change: Any) -> None:
    x, y = device.asarray(X), device.asarray(LABELS)
    outcomes = []
    for settings in ({}, {"capture": "never"}):
        trainer = a_trainer(device)
        fit(trainer, x, y, **settings)
        change(trainer)
        fit(trainer, x, y, **settings)
        outcomes.append(trainer.net.get_weights())
    assert recordings.n == 2
    for name, values in outcomes[0].items():
        np.testing.assert_array_equal(values, outcomes[1][name], name)


@pytest.mark.parametrize("settings", [{"batch_size": 10}, {"sample_weight": np.ones(40)}], ids=str)
def test_other_batches_are_recorded_anew(device: Backend, recordings: Recordings, settings: dict[str, Any]) -> None:
    trainer, x, y = a_trainer(device), device.asarray(X), device.asarray(LABELS)
    fit(trainer, x, y)
    fit(trainer, x, y, **settings)
    assert recordings.n == 2


def test_data_of_the_host_are_not_kept(device: Backend, recordings: Recordings) -> None:
    """Another fit copies them to the device again."""
    trainer = a_trainer(device)
    for _ in range(2):
        fit(trainer, X, LABELS)
        assert trainer._executors._kept is None
    gc.collect()
    assert (recordings.n, len(recordings.alive)) == (2, 0)


def test_only_one_executor_is_kept(device: Backend, recordings: Recordings) -> None:
    trainer = a_trainer(device)
    for _ in range(2):
        fit(trainer, device.asarray(X), device.asarray(LABELS))
    gc.collect()
    assert (recordings.n, len(recordings.alive)) == (2, 1)
    assert trainer._executors._kept is not None
    trainer.fit(X, LABELS, progress=False, capture="never")
    gc.collect()
    assert len(recordings.alive) == 0


def test_a_copy_of_a_trainer_records_its_own_steps(device: Backend, recordings: Recordings) -> None:
    trainer, x, y = a_trainer(device), device.asarray(X), device.asarray(LABELS)
    fit(trainer, x, y)
    fit(copy.deepcopy(trainer), x, y)
    assert recordings.n == 2


@pytest.mark.parametrize("method", ["evaluate", "predict"])
def test_without_memory_recordings_are_dropped(
    device: Backend, recordings: Recordings, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    trainer, x, y = a_trainer(device), device.asarray(X), device.asarray(LABELS)
    fit(trainer, x, y)

    def forward(self: pn.Layer, x: Any) -> Any:
        if len(recordings.alive) > 0:
            raise pn.OutOfMemory("recording", asked=2**30, free=0)
        return x

    monkeypatch.setattr(pn.TanH, "forward", forward)
    monkeypatch.setattr(pn.layers.Layer, "_infer", staticmethod(lambda net, x: net.forward(x)))
    arguments = (x, y) if method == "evaluate" else (x,)
    getattr(trainer, method)(*arguments)
    assert len(recordings.alive) == 0
    assert trainer.steps == 10 > WARM_UP_STEPS


def test_data_on_a_device_that_does_not_record_are_not_kept() -> None:
    trainer = a_trainer(pn.get_backend("cpu"))
    fit(trainer, X, LABELS)
    assert trainer._executors._kept is None
