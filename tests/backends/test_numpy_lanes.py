"""Networks in lanes and parts give what they give in one piece."""

import os
import threading
from copy import deepcopy
from dataclasses import dataclass, field
from time import sleep
from types import SimpleNamespace

import numpy as np
import pytest

import portanet as pn
from portanet import kernels
from portanet.backends.numpy import lanes, process


@dataclass
class ThreeThreads:
    """A BLAS with three threads that notes what it is asked for."""

    threads: int = 3
    calls: list[str] = field(default_factory=list)
    taker: int = 0

    def acquire(self) -> None:
        if not self.taker:
            self.taker = threading.get_ident()
            self.calls.append("take")

    def reapply(self) -> None:
        pass

    def release(self) -> None:
        if self.taker == threading.get_ident():
            self.taker = 0
            self.calls.append("give back")


@pytest.fixture
def blas(monkeypatch) -> ThreeThreads:
    """Three lanes, and parts of two or three examples."""
    fake = ThreeThreads()
    for module in (lanes, process):
        monkeypatch.setattr(module, "blas", fake)
    monkeypatch.setattr(lanes, "LANE", 1)
    monkeypatch.setattr(lanes, "PART", 20_000)
    monkeypatch.setattr(lanes, "FEW", 2)
    monkeypatch.setattr(lanes, "_plans", {})
    return fake


def convolutional(*end: pn.Layer) -> pn.Sequential:
    return pn.Sequential(
        *(pn.Conv2D(1, 4, 3, padding="same"), pn.Sigmoid(), pn.MaxPool2D(2)),
        *(pn.Residual(pn.Conv2D(4, 4, 3, padding="same")), pn.Flatten(), pn.Linear(196, 8), pn.ReLU()),
        *(end or (pn.Linear(8, 3),)),
    ).initialize(seed=0, dtype="float64")


IMAGES = np.random.default_rng(0).normal(size=(11, 14, 14, 1)).repeat(2, axis=0)


def passes(net: pn.Sequential, x: np.ndarray, form: str, **need: bool) -> tuple[np.ndarray, ...]:
    """Output, input gradient and parameter gradients, by the tuned or the portable chain."""
    chain = kernels.chain if form == "tuned" else kernels.chain.portable
    net.zero_grad()
    y, pullback = chain(x, net.layers, True)
    dx = pullback(np.cos(y), **need)
    return y, np.zeros(()) if dx is None else dx, net.flat.grad.copy()


@pytest.mark.parametrize("need", [{}, {"need_dx": False}, {"need_grads": False}], ids=str)
def test_outputs_and_gradients_are_those_of_one_piece(blas, need):
    net = convolutional()
    for ours, expected in zip(
        passes(net, IMAGES, "tuned", **need), passes(net, IMAGES, "portable", **need), strict=True
    ):
        np.testing.assert_allclose(ours, expected, rtol=1e-11, atol=1e-11)
    assert blas.calls, "nothing ran in lanes"


def test_inference_is_that_of_one_piece(blas):
    net = convolutional()
    np.testing.assert_allclose(net(IMAGES), kernels.chain_forward.portable(IMAGES, net.layers), rtol=1e-12, atol=1e-12)
    assert blas.calls == ["take", "give back"]


def test_layers_that_look_at_the_whole_batch_do_so_between_lanes(blas):
    """Batch norm amid convolutions, and dropout after them: the same statistics and masks as without lanes."""
    between = pn.Conv2D(1, 2, 3), pn.BatchNorm(2), pn.ReLU(), pn.Conv2D(2, 3, 3), pn.Flatten()
    both = [
        pn.Sequential(*map(deepcopy, between), pn.Dropout(0.5), pn.Linear(300, 3)).initialize(seed=0, dtype="float64")
        for _ in range(2)
    ]
    results = [passes(net, IMAGES, form) for net, form in zip(both, ("tuned", "portable"), strict=True)]
    for ours, expected in zip(*results, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-10, atol=1e-10)
    assert blas.calls


def test_two_runs_are_bit_equal(blas):
    def train() -> np.ndarray:
        trainer = pn.Trainer(convolutional(), pn.CrossEntropyLoss(), pn.Adam())
        trainer.fit(IMAGES, np.arange(22) % 3, epochs=2, batch_size=8, progress=False)
        return trainer.net.flat.data

    np.testing.assert_array_equal(train(), train())


def test_gradients_of_two_passes_add_up(blas):
    net = convolutional()
    *_, once = passes(net, IMAGES, "tuned")
    y, pullback = kernels.chain(IMAGES, net.layers, True)
    pullback(np.cos(y))
    np.testing.assert_allclose(net.flat.grad, 2 * once, rtol=1e-11, atol=1e-11)


def test_lanes_are_threads_and_do_not_have_lanes_of_their_own(blas):
    seen = []

    class Watch(pn.Activation):
        def elementwise(self, xp, x):
            seen.append((threading.current_thread().name, len(x)))
            return x, lambda: xp.ones_like(x)

    inner = pn.Sequential(pn.Conv2D(1, 2, 3), Watch())
    pn.Sequential(inner, pn.Flatten(), pn.Linear(288, 2)).initialize().vjp(IMAGES.astype("float32"))
    assert sum(n for _, n in seen) == len(IMAGES)
    assert len({name for name, _ in seen}) > 1


@pytest.mark.filterwarnings("error")
def test_overflow_is_silent_in_every_lane(blas):
    net = pn.Sequential(pn.Conv2D(1, 2, 3), pn.Flatten(), pn.Linear(288, 2)).initialize()
    net.flat.data[:] = 1e30
    assert not np.isfinite(net(IMAGES.astype("float32") * 1e30)).all()


def test_an_error_in_one_lane_is_raised_when_all_are_done(blas):
    done = []

    class Fails(pn.Activation):
        def elementwise(self, xp, x):
            if x[0, 0, 0, 0] > 100:
                raise ArithmeticError("in a lane")
            sleep(0.05)
            done.append(len(x))
            return x, lambda: xp.ones_like(x)

    images = np.zeros((24, 14, 14, 1), "float32")
    for bad in (0, 8, 16):  # the first example of each lane
        images[...], done[:] = 0, []
        images[bad] = 1e6
        with pytest.raises(ArithmeticError, match="in a lane"):
            pn.Sequential(pn.Conv2D(1, 1, 1, init=pn.initializers.ones), Fails())(images)
        assert sum(done) >= 16
    assert blas.calls == ["take", "give back"] * 3


def test_blas_has_one_thread_from_the_first_lane_to_the_end_of_the_step(blas):
    trainer = pn.Trainer(convolutional(), pn.CrossEntropyLoss(), pn.SGD())
    trainer.step(IMAGES, np.arange(22) % 3)
    assert blas.calls == ["take", "give back"]


def test_a_dense_layer_of_many_weights_has_no_gradients_in_lanes(blas):
    net = pn.Sequential(pn.Conv2D(1, 1, 3), pn.Flatten(), pn.Linear(144, 2000)).initialize()
    net.vjp(IMAGES.astype("float32"))
    assert blas.calls == []


def test_a_layer_used_twice_is_right_in_lanes(blas):
    twice = pn.Conv2D(1, 1, 3, padding="same")
    both = [pn.Sequential(twice, pn.TanH(), twice).initialize(seed=0, dtype="float64") for _ in range(2)]
    results = [passes(net, IMAGES, form) for net, form in zip(both, ("tuned", "portable"), strict=True)]
    for ours, expected in zip(*results, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-11, atol=1e-11)
    assert blas.calls


def test_small_and_dense_networks_take_no_lanes(blas):
    pn.Linear(784, 10)(np.ones((100, 784), "float32"))
    pn.Sequential(pn.Linear(784, 10), pn.ReLU()).initialize().vjp(np.ones((100, 784), "float32"))
    convolutional()(IMAGES[:2])
    assert blas.calls == []


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, TimeoutError])
@pytest.mark.parametrize("where", ["put", "wait"])
def test_after_an_interruption_no_lane_is_at_work(blas, monkeypatch, where, kind):
    """Wherever a signal meets the thread that waits, whatever it raises, and more than once."""
    busy, left = [], [2]

    class Slow(pn.Activation):
        def elementwise(self, xp, x):
            busy.append(1)
            sleep(0 if threading.current_thread() is threading.main_thread() else 0.2)
            busy.pop()
            return x, lambda: xp.ones_like(x)

    def interrupted(call):
        def calls(*args):
            if left[0]:
                left[0] -= 1
                raise kind
            return call(*args)

        return calls

    net = pn.Sequential(pn.Conv2D(1, 1, 3), Slow()).initialize(dtype="float64")
    net(IMAGES)  # begins the threads
    with monkeypatch.context() as patch:
        if where == "wait":
            patch.setattr(lanes._Task, "wait", interrupted(lanes._Task.wait))
        else:
            tasks = lanes._workers.tasks
            patch.setattr(lanes._workers, "tasks", SimpleNamespace(put=interrupted(tasks.put), get=tasks.get))
        with pytest.raises(kind):
            net(IMAGES)
    assert left == [0]
    assert busy == []
    assert blas.taker == 0
    np.testing.assert_allclose(net(IMAGES), net.layers[0](IMAGES), rtol=1e-12, atol=1e-12)


def test_an_interpreter_that_begins_no_threads_computes_in_one(blas, monkeypatch):
    net = convolutional()
    expected = net(IMAGES)
    monkeypatch.setattr(lanes, "_workers", lanes._Workers())

    def refuse(self):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    np.testing.assert_array_equal(net(IMAGES), expected)


def test_an_end_of_iteration_in_a_layer_is_an_error_like_others(blas):
    class Ends(pn.Activation):
        def elementwise(self, xp, x):
            raise StopIteration("too soon")

    with pytest.raises(StopIteration, match="too soon"):
        pn.Sequential(pn.Conv2D(1, 1, 3), Ends()).initialize(dtype="float64").vjp(IMAGES)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_lanes_of_its_own(blas):
    net = convolutional()
    expected = net(IMAGES)
    with process.ComputeContext():
        child = os.fork()
        if not child:
            os._exit(not np.array_equal(net(IMAGES), expected))
    assert os.waitpid(child, 0)[1] == 0


def test_a_plan_is_that_of_its_network_and_not_of_one_that_had_its_identity(monkeypatch):
    monkeypatch.setattr(lanes, "_plans", {})
    monkeypatch.setattr(lanes, "id", lambda link: 1, raising=False)  # all have the same
    x = np.zeros((64, 28, 28, 1), "float32")
    few, many = [pn.Conv2D(1, 1, 3)], [pn.Conv2D(1, 64, 3)]
    assert lanes._Plan.fit(x, few) is None
    plan = lanes._Plan.fit(x, many)
    assert plan is not None
    assert lanes._Plan.fit(x, many) is plan
    assert lanes._Plan.fit(x, few) is None
