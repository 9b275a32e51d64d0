"""Networks in threads and microbatches give what they give in one piece."""

import os
import threading
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from time import sleep
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np
import pytest

import portanet as pn
from portanet.backends.numpy import core, process
from portanet.backends.numpy.threads import NumpyThreads
from portanet.engine import Program, compiled, threaded, traits
from portanet.layers.base import Layer

pytestmark = pytest.mark.skipif(core.compiled is not None, reason="the compiled kernels have threads of their own")


@dataclass
class ThreeThreads:
    """A BLAS with three threads that records how it is called."""

    threads: int = 3
    calls: list[str] = field(default_factory=list)
    owner: int = 0

    def acquire(self) -> None:
        if not self.owner:
            self.owner = threading.get_ident()
            self.calls.append("acquire")

    def reapply(self) -> None:
        pass

    def release(self) -> None:
        if self.owner == threading.get_ident():
            self.owner = 0
            self.calls.append("release")


@pytest.fixture
def blas(monkeypatch: pytest.MonkeyPatch) -> ThreeThreads:
    """Three workers, and microbatches of two or three examples."""
    fake = ThreeThreads()
    monkeypatch.setattr(process, "blas", fake)
    monkeypatch.setattr(threaded, "MIN_OUTPUTS_PER_WORKER", 1)
    monkeypatch.setattr(threaded, "MICROBATCH_BYTES", 20_000)
    monkeypatch.setattr(NumpyThreads, "min_examples", 2)
    return fake


def batch_independent(kind: type[Layer]) -> type[Layer]:
    """Declare a class of this file to be so."""
    traits.register(kind, traits.Traits(batch_independent=True, batch_independent_inference=True))
    return kind


def convolutional(*end: pn.Layer) -> pn.Sequential:
    return pn.Sequential(
        *(pn.Conv2D(1, 4, 3, padding="same"), pn.Sigmoid(), pn.MaxPool2D(2)),
        *(pn.Residual(pn.Conv2D(4, 4, 3, padding="same")), pn.Flatten(), pn.Linear(196, 8), pn.ReLU()),
        *(end or (pn.Linear(8, 3),)),
    ).initialize(seed=0, dtype="float64")


IMAGES = np.random.default_rng(0).normal(size=(11, 14, 14, 1)).repeat(2, axis=0)


def passes(net: pn.Sequential, x: np.ndarray, how: str, **need: bool) -> tuple[np.ndarray, ...]:
    """Output, input gradient and parameter gradients, by the network itself or by its program."""
    net.zero_grad()
    y, pullback = (compiled(net) if how == "program" else net).vjp(x)
    dx = pullback(np.cos(y), **need)
    return y, np.zeros(()) if dx is None else dx, net.flat.grad.copy()


@pytest.mark.parametrize("need", [{}, {"need_dx": False}, {"need_grads": False}], ids=str)
def test_program_equals_the_network(blas: ThreeThreads, need: dict[str, bool]) -> None:
    net = convolutional()
    for ours, expected in zip(passes(net, IMAGES, "program", **need), passes(net, IMAGES, "net", **need), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-11, atol=1e-11)
    assert blas.calls, "nothing ran in threads"


def test_inference_equals_that_of_the_network(blas: ThreeThreads) -> None:
    net = convolutional()
    np.testing.assert_allclose(net(IMAGES), net.forward(IMAGES), rtol=1e-12, atol=1e-12)
    assert blas.calls == ["acquire", "release"]


def test_layers_that_use_the_whole_batch_run_between_segments(blas: ThreeThreads) -> None:
    """Batch norm between convolutions, and dropout after them: the same statistics and masks as without threads."""
    between = pn.Conv2D(1, 2, 3), pn.BatchNorm(2), pn.ReLU(), pn.Conv2D(2, 3, 3), pn.Flatten()
    both = [
        pn.Sequential(*map(deepcopy, between), pn.Dropout(0.5), pn.Linear(300, 3)).initialize(seed=0, dtype="float64")
        for _ in range(2)
    ]
    results = [passes(net, IMAGES, form) for net, form in zip(both, ("program", "net"), strict=True)]
    for ours, expected in zip(*results, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-10, atol=1e-10)
    assert blas.calls


def test_two_runs_are_bit_equal(blas: ThreeThreads) -> None:
    def train() -> np.ndarray:
        trainer = pn.Trainer(convolutional(), pn.CrossEntropyLoss(), pn.Adam())
        trainer.fit(IMAGES, np.arange(22) % 3, epochs=2, batch_size=8, progress=False)
        return trainer.net.flat.data

    np.testing.assert_array_equal(train(), train())


def test_workers_are_threads_and_start_no_workers_of_their_own(blas: ThreeThreads) -> None:
    seen = []

    @batch_independent
    class Watch(pn.Activation):
        def elementwise(self, xp: Any, x: Any) -> tuple[Any, Callable[[], Any]]:
            seen.append((threading.current_thread().name, len(x)))
            return x, lambda: xp.ones_like(x)

    inner = pn.Sequential(pn.Conv2D(1, 2, 3), Watch())
    Program(pn.Sequential(inner, pn.Flatten(), pn.Linear(288, 2)).initialize()).vjp(IMAGES.astype("float32"))
    assert sum(n for _, n in seen) == len(IMAGES)
    assert len({name for name, _ in seen}) > 1


@pytest.mark.filterwarnings("error")
def test_overflow_is_silent_in_every_worker(blas: ThreeThreads) -> None:
    net = pn.Sequential(pn.Conv2D(1, 2, 3), pn.Flatten(), pn.Linear(288, 2)).initialize()
    net.flat.data[:] = 1e30
    assert not np.isfinite(net(IMAGES.astype("float32") * 1e30)).all()


def test_an_error_in_one_worker_is_raised_when_all_are_done(blas: ThreeThreads) -> None:
    done = []

    @batch_independent
    class Fails(pn.Activation):
        def elementwise(self, xp: Any, x: Any) -> tuple[Any, Callable[[], Any]]:
            if x[0, 0, 0, 0] > 100:
                raise ArithmeticError("in a worker")
            sleep(0.05)
            done.append(len(x))
            return x, lambda: xp.ones_like(x)

    images = np.zeros((24, 14, 14, 1), "float32")
    for bad in (0, 8, 16):  # the first example of each worker
        images[...], done[:] = 0, []
        images[bad] = 1e6
        with pytest.raises(ArithmeticError, match="in a worker"):
            pn.Sequential(pn.Conv2D(1, 1, 1, init=pn.initializers.ones), Fails())(images)
        assert sum(done) >= 16
    assert blas.calls == ["acquire", "release"] * 3


def test_blas_has_one_thread_until_the_end_of_the_step(blas: ThreeThreads) -> None:
    trainer = pn.Trainer(convolutional(), pn.CrossEntropyLoss(), pn.SGD())
    trainer.step(IMAGES, np.arange(22) % 3)
    assert blas.calls == ["acquire", "release"]


def test_a_dense_layer_of_many_weights_is_not_shared_out(blas: ThreeThreads) -> None:
    net = pn.Sequential(pn.Conv2D(1, 1, 3), pn.Flatten(), pn.Linear(144, 2000)).initialize()
    Program(net).vjp(IMAGES.astype("float32"))
    assert blas.calls == []


def test_a_layer_used_twice_is_right_in_threads(blas: ThreeThreads) -> None:
    twice = pn.Conv2D(1, 1, 3, padding="same")
    both = [pn.Sequential(twice, pn.TanH(), twice).initialize(seed=0, dtype="float64") for _ in range(2)]
    results = [passes(net, IMAGES, form) for net, form in zip(both, ("program", "net"), strict=True)]
    for ours, expected in zip(*results, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-11, atol=1e-11)
    assert blas.calls


def test_small_and_dense_networks_use_no_threads(blas: ThreeThreads) -> None:
    pn.Linear(784, 10)(np.ones((100, 784), "float32"))
    Program(pn.Sequential(pn.Linear(784, 10), pn.ReLU()).initialize()).vjp(np.ones((100, 784), "float32"))
    convolutional()(IMAGES[:2])
    assert blas.calls == []


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, TimeoutError])
@pytest.mark.parametrize("where", ["put", "wait"])
def test_an_interruption_waits_for_all_workers(
    blas: ThreeThreads, monkeypatch: pytest.MonkeyPatch, where: str, kind: type[BaseException]
) -> None:
    """Wherever a signal meets the thread that waits, whatever it raises, and more than once."""
    busy, left = [], [2]

    @batch_independent
    class Slow(pn.Activation):
        def elementwise(self, xp: Any, x: Any) -> tuple[Any, Callable[[], Any]]:
            busy.append(1)
            sleep(0 if threading.current_thread() is threading.main_thread() else 0.2)
            busy.pop()
            return x, lambda: xp.ones_like(x)

    def interrupted(call: Callable[..., Any]) -> Callable[..., Any]:
        def calls(*args: Any) -> Any:
            if left[0]:
                left[0] -= 1
                raise kind
            return call(*args)

        return calls

    net = pn.Sequential(pn.Conv2D(1, 1, 3), Slow()).initialize(dtype="float64")
    net(IMAGES)  # starts the threads
    with monkeypatch.context() as patch:
        if where == "wait":
            patch.setattr(threaded._Task, "wait", interrupted(threaded._Task.wait))
        else:
            tasks = threaded._workers.tasks
            patch.setattr(threaded._workers, "tasks", SimpleNamespace(put=interrupted(tasks.put), get=tasks.get))
        with pytest.raises(kind):
            net(IMAGES)
    assert left == [0]
    assert busy == []
    assert blas.owner == 0
    np.testing.assert_allclose(net(IMAGES), net.layers[0](IMAGES), rtol=1e-12, atol=1e-12)


def test_an_interpreter_that_starts_no_threads_computes_in_one(
    blas: ThreeThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = convolutional()
    expected = net(IMAGES)
    monkeypatch.setattr(threaded, "_workers", threaded._Workers())

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    np.testing.assert_array_equal(net(IMAGES), expected)


def test_stop_iteration_in_a_layer_is_raised(blas: ThreeThreads) -> None:
    @batch_independent
    class Ends(pn.Activation):
        def elementwise(self, xp: Any, x: Any) -> NoReturn:
            raise StopIteration("too soon")

    with pytest.raises(StopIteration, match="too soon"):
        Program(pn.Sequential(pn.Conv2D(1, 1, 3), Ends()).initialize(dtype="float64")).vjp(IMAGES)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_workers_of_its_own(blas: ThreeThreads) -> None:
    net = convolutional()
    expected = net(IMAGES)
    with process.ComputeContext():
        child = os.fork()
        if not child:
            os._exit(not np.array_equal(net(IMAGES), expected))
    assert os.waitpid(child, 0)[1] == 0
