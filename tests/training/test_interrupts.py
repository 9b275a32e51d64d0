"""Whatever ends a process while it trains, the next one goes on from a whole step."""

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.files import read_tensors
from portanet.training.callbacks import Training
from portanet.training.interrupts import DeferredSignals

X, Y = np.ones((64, 4), "float32"), np.zeros(64, "int64")


def start(folder: Path, delay: float = 0.0) -> "subprocess.Popen[bytes]":
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.training.interrupted_run", str(folder), str(delay)]
    environment = {**os.environ, "PORTANET_NUM_THREADS": "1"}
    with (folder / "stderr").open("ab") as stderr:
        return subprocess.Popen(command, cwd=Path(__file__).parents[2], env=environment, stderr=stderr)


def wait_for(path: Path, process: "subprocess.Popen[bytes]") -> None:
    while not path.exists():
        assert process.poll() is None, (path.parent / "stderr").read_text()
        time.sleep(0.005)


def outcome(folder: Path) -> Any:
    arrays, metadata = read_tensors(folder / "end.safetensors")
    return {name: values.tobytes() for name, values in arrays.items()}, metadata, (folder / "log.csv").read_text()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert start(folder).wait() == 0
    return outcome(folder)


def kill_and_resume(folder: Path, rng: np.random.Generator, kills: int) -> int:
    """Kill runs at random moments, each of which goes on from the last, then let one end; return the kills."""
    killed = 0
    for _ in range(kills):
        (folder / "begun").unlink(missing_ok=True)
        process = start(folder, delay=0.01)
        wait_for(folder / "begun", process)
        time.sleep(rng.uniform(0, 0.2))
        process.kill()
        killed += process.wait() == -signal.SIGKILL
    process = start(folder)
    assert process.wait() == 0, (folder / "stderr").read_text()
    return killed


@pytest.mark.parametrize("seed", [0, 1])
def test_a_killed_run_goes_on_to_the_last_bit(tmp_path: Path, undisturbed: Any, seed: int) -> None:
    assert kill_and_resume(tmp_path, np.random.default_rng(seed), kills=3) > 0
    assert outcome(tmp_path) == undisturbed
    assert not list(tmp_path.glob(".*"))


@pytest.mark.job
def test_a_hundred_kills_lose_nothing(tmp_path: Path, undisturbed: Any) -> None:
    killed = 0
    for seed in range(40):
        folder = tmp_path / str(seed)
        killed += kill_and_resume(folder, np.random.default_rng(100 + seed), kills=3)
        assert outcome(folder) == undisturbed
        assert not list(folder.glob(".*"))
    assert killed >= 100


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_process_after_a_checkpoint(tmp_path: Path, undisturbed: Any, number: signal.Signals) -> None:
    process = start(tmp_path, delay=0.05)
    wait_for(tmp_path / "begun", process)
    process.send_signal(number)
    assert process.wait() == -number
    assert start(tmp_path).wait() == 0
    assert outcome(tmp_path) == undisturbed


def weights_of(trainer: pn.Trainer) -> bytes:
    return b"".join(values.tobytes() for values in trainer.net.get_weights().values())


def interrupt_often(interrupts: int) -> None:
    """Interrupt full-batch training at random moments: the weights are always those after a number of whole steps."""
    net = pn.Sequential(pn.Linear(4, 32), pn.TanH(), pn.Linear(32, 3))
    trainer, rng = pn.Trainer(net, pn.CrossEntropyLoss(), pn.Adam(1e-4)), np.random.default_rng(0)
    reference = pn.Trainer(pickle.loads(pickle.dumps(net)), pn.CrossEntropyLoss(), pn.Adam(1e-4))
    came = 0
    while came < interrupts:
        timer = threading.Timer(rng.uniform(0.002, 0.03), signal.raise_signal, [signal.SIGINT])
        try:
            timer.start()
            trainer.fit(X, Y, epochs=10**6, batch_size=64, progress=False)
        except KeyboardInterrupt:
            came += 1
        timer.join()
        while reference.steps < trainer.steps:
            reference.step(X, Y)
        assert weights_of(trainer) == weights_of(reference)
        assert len(trainer.history.epochs) <= trainer.steps
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_weights_after_an_interrupt_are_those_of_a_whole_step() -> None:
    interrupt_often(10)


@pytest.mark.job
def test_two_hundred_interrupts_leave_whole_steps() -> None:
    interrupt_often(200)


class Sends(pn.Callback):
    """Sends a signal to its own process, in a hook."""

    def __init__(self, hook: str, number: int = signal.SIGINT, times: int = 1):
        self.hook, self.number, self.times = hook, number, times
        setattr(self, hook, self._send)
        self.reached = 0

    def _send(self, *arguments: Any) -> None:
        for _ in range(self.times):
            signal.raise_signal(self.number)
        self.reached += 1

    # fit calls the hooks of steps only if the class overrides them.
    def on_train_batch_begin(self, trainer: Training) -> None: ...
    def on_train_batch_end(self, trainer: Training) -> None: ...


def a_trainer() -> pn.Trainer:
    return pn.Trainer(pn.Linear(4, 3), pn.CrossEntropyLoss(), pn.SGD(0.1))


@pytest.mark.parametrize("hook", ["on_train_batch_begin", "on_train_batch_end", "on_epoch_end"])
def test_a_signal_waits_for_the_step_and_the_callbacks(tmp_path: Path, hook: str) -> None:
    trainer, sends = a_trainer(), Sends(hook)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, Y, epochs=9, callbacks=[sends, pn.ModelCheckpoint(tmp_path / "run")], progress=False)
    assert sends.reached == 1
    assert trainer.steps == (2 if hook == "on_epoch_end" else 1)
    again = a_trainer()
    again.load(tmp_path / "run")
    assert again.steps == trainer.steps
    np.testing.assert_array_equal(again.predict(X), trainer.predict(X))
    assert len(trainer.fit(X, Y, epochs=2, progress=False).epochs) == 2


@pytest.mark.parametrize("path", ["run", "run-{epoch}", "{epoch}-run.safetensors"])
def test_the_checkpoint_of_an_interrupted_run_is_found(tmp_path: Path, path: str) -> None:
    checkpoint = pn.ModelCheckpoint(tmp_path / path, every=5)
    with pytest.raises(KeyboardInterrupt):
        a_trainer().fit(X, Y, epochs=9, callbacks=[Sends("on_epoch_end"), checkpoint], progress=False)
    assert checkpoint.found() == list(tmp_path.iterdir())
    assert len(checkpoint.found()) == 1


def test_a_second_signal_does_not_wait() -> None:
    trainer, sends = a_trainer(), Sends("on_train_batch_end", times=2)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, Y, callbacks=[sends], progress=False)
    assert sends.reached == 0


def test_validation_is_left_at_once() -> None:
    reached = []

    def metric(prediction: Any, target: Any) -> float:
        if len(target) == 7:
            signal.raise_signal(signal.SIGINT)
            reached.append(True)
        return 0.0

    trainer = pn.Trainer(pn.Linear(4, 3), pn.CrossEntropyLoss(), pn.SGD(0.1), metrics=[metric])
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, Y, validation_data=(X[:7], Y[:7]), progress=False)
    assert not reached


def test_handlers_are_those_of_before() -> None:
    received: list[int] = []

    def handler(number: int, frame: Any) -> None:
        received.append(number)

    before = signal.signal(signal.SIGTERM, handler)
    try:
        trainer = a_trainer()
        trainer.fit(X, Y, callbacks=[Sends("on_train_batch_end", signal.SIGTERM)], progress=False)
        assert received == [signal.SIGTERM] * 2  # a handler of the user's own is called at once, and decides
        assert trainer.steps == 2
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        trainer = a_trainer()
        trainer.fit(X, Y, callbacks=[Sends("on_train_batch_end")], progress=False)
        assert trainer.steps == 2
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_trains_without_handlers() -> None:
    trainer = a_trainer()
    thread = threading.Thread(target=lambda: trainer.fit(X, Y, progress=False))
    thread.start()
    thread.join()
    assert trainer.steps == 2


def test_a_signal_before_an_error_is_not_lost() -> None:
    def fail() -> None:
        with DeferredSignals():
            signal.raise_signal(signal.SIGINT)
            raise ValueError

    with pytest.raises(KeyboardInterrupt):
        fail()
