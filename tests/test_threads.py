"""Networks used from several threads; each test runs in a process of its own, so that a deadlock is a failure."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace
from functools import partial
from multiprocessing.pool import ThreadPool
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend, get_backend, registry
from portanet.training.callbacks import Training
from portanet.typing import Array, Pullback
from tests.isolated import isolated

N_THREADS = 8


def dense() -> pn.Layer:
    return pn.Sequential(pn.Linear(12, 64), pn.TanH(), pn.Dropout(0.2), pn.Linear(64, 3))


def convolutional() -> pn.Layer:
    return pn.Sequential(
        *(pn.Reshape(2, 6, 1), pn.Conv2D(1, 16, 3, padding="same"), pn.BatchNorm(16), pn.ReLU(), pn.MaxPool2D(2)),
        *(pn.Flatten(), pn.Linear(48, 3)),
    )


NETWORKS = {"dense": dense, "convolutional": convolutional}


def examples(n: int = 256) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 12)).astype("float32"), rng.integers(3, size=n)


def in_threads(functions: Sequence[Callable[[], Any]]) -> list[Any]:
    """Call functions at the same time, switching between threads as often as Python can; return what they return."""
    sys.setswitchinterval(1e-6)
    together = threading.Barrier(len(functions))

    def call(function: Callable[[], Any]) -> Any:
        together.wait()
        return function()

    with ThreadPoolExecutor(len(functions)) as pool:
        return [future.result() for future in [pool.submit(call, function) for function in functions]]


def trained(net: pn.Layer, seed: int = 0, callbacks: Sequence[pn.Callback] = ()) -> dict[str, np.ndarray]:
    x, y = examples()
    pn.Trainer(net, pn.CrossEntropyLoss(), pn.Adam(), seed=seed).fit(
        x, y, epochs=3, batch_size=16, callbacks=callbacks, progress=False
    )
    return net.get_weights()


def assert_equal(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


@pytest.mark.parametrize("name", NETWORKS)
@isolated(PORTANET_NUM_THREADS="4")
def test_a_network_predicts_the_same_from_eight_threads(name: str) -> None:
    x, _ = examples(2000)
    net = NETWORKS[name]().initialize(seed=1)
    expected = net.predict(x)

    def predict() -> list[np.ndarray]:
        return [net.predict(x, batch_size=n) for n in (2000, 500, 2000)] + [net(x)]

    for outputs in in_threads([predict] * N_THREADS):
        for output in outputs:
            np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(outputs[0], expected)
        np.testing.assert_array_equal(outputs[2], expected)


@pytest.mark.parametrize("name", NETWORKS)
@isolated()
def test_a_network_without_weights_draws_them_once_when_eight_threads_use_it_first(name: str) -> None:
    x, _ = examples(20)
    expected = NETWORKS[name]().predict(x)
    for _ in range(50):
        net = NETWORKS[name]()
        for output in in_threads([partial(net, x)] * N_THREADS):
            np.testing.assert_array_equal(output, expected)
        np.testing.assert_array_equal(net(x), expected)
        trained(net)


@isolated()
def test_a_backend_exists_once_when_eight_threads_ask_for_it_first() -> None:
    load = registry.registered["cpu"].factory

    class Slow(dict[str, Callable[..., Any]]):
        """Kernels whose comparison gives the other threads time to load the backend too."""

        def keys(self) -> Any:
            time.sleep(0.01)
            return super().keys()

    def load_for_a_comparison(ordinal: str | None) -> Backend:
        backend = load(ordinal)
        return replace(backend, kernels=Slow(backend.kernels))

    registry.registered["cpu"] = registry.Registered(load_for_a_comparison, "numpy")
    for _ in range(5):
        registry._loaded.clear()
        registry.by_type.clear()
        found = in_threads([get_backend] * N_THREADS)
        assert {id(backend) for backend in found} == {id(registry.by_type[np.ndarray])}


@pytest.mark.parametrize("name", NETWORKS)
@isolated(PORTANET_NUM_THREADS="4")
def test_networks_trained_at_the_same_time_are_those_trained_one_after_the_other(name: str) -> None:
    expected = [trained(NETWORKS[name](), seed) for seed in (0, 1, 2)]
    found = in_threads([partial(trained, NETWORKS[name](), seed) for seed in (0, 1, 2)])
    for weights, same in zip(found, expected, strict=True):
        assert_equal(weights, same)


@pytest.mark.parametrize("name", NETWORKS)
@isolated(PORTANET_NUM_THREADS="4")
def test_predictions_in_another_thread_do_not_change_a_training_run(name: str) -> None:
    x, _ = examples()
    expected, net, over = trained(NETWORKS[name]()), NETWORKS[name]().initialize(), threading.Event()

    def train() -> Any:
        try:
            return trained(net)
        finally:
            over.set()

    def predict() -> int:
        n = 0
        while not over.is_set():
            assert np.isfinite(net.predict(x)).all()
            n += 1
        return n

    weights, *counts = in_threads([train, predict, predict])
    assert_equal(weights, expected)
    assert min(counts) > 0


class Copies(pn.Callback):
    """Copies the network after each epoch, as docs/howto/threads.md recommends."""

    def on_epoch_end(self, trainer: Training, logs: dict[str, float]) -> None:
        self.net = deepcopy(trainer.net)


@isolated()
def test_a_copy_that_a_callback_makes_predicts_as_the_network_did() -> None:
    x, _ = examples()
    net, copies = dense(), Copies()
    trained(net, callbacks=[copies])
    np.testing.assert_array_equal(copies.net.predict(x), net.predict(x))


@isolated()
def test_a_trainer_that_trains_refuses_a_second_fit() -> None:
    x, y = examples(32)
    trainer = pn.Trainer(dense(), pn.CrossEntropyLoss(), pn.SGD(0.1))
    begun, over = threading.Event(), threading.Event()

    class Waits(pn.Callback):
        def on_train_begin(self, trainer: Training) -> None:
            begun.set()
            over.wait()

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(trainer.fit, x, y, callbacks=[Waits()], progress=False)
        begun.wait()
        try:
            with pytest.raises(RuntimeError, match="fit of this Trainer is running"):
                trainer.fit(x, y, progress=False)
        finally:
            over.set()
        assert len(first.result().epochs) == 1
    assert len(trainer.fit(x, y, progress=False).epochs) == 1


class InPool(pn.Layer):
    """A layer that calls an inner one on copies of each batch, in threads of its own."""

    def __init__(self, inner: pn.Layer, n: int = 2):
        self.inner, self.n = inner, n

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        y, pullback = self.inner.vjp(x, train=train)
        with ThreadPool(self.n) as pool:
            for output in pool.map(self.inner.predict, [x] * self.n):
                np.testing.assert_allclose(output, y, rtol=1e-5, atol=1e-6)
        return y, pullback


@pytest.mark.parametrize("width", [16, 1024])
@isolated(PORTANET_NUM_THREADS="4")
def test_a_layer_predicts_in_a_pool_within_a_training_step(width: int) -> None:
    """In an earlier version it waited for ever for a thread that waited for it."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(256, 64)).astype("float32"), rng.integers(3, size=256)

    def net(inner: Callable[[pn.Layer], pn.Layer]) -> pn.Layer:
        return pn.Sequential(pn.Linear(64, width), inner(pn.Linear(width, width)), pn.ReLU(), pn.Linear(width, 3))

    def weights(net: pn.Layer) -> list[np.ndarray]:
        trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.SGD(0.1))
        trainer.fit(x, y, epochs=2, batch_size=128, progress=False)
        return list(net.get_weights().values())

    found, expected = weights(net(InPool)), weights(net(pn.Sequential))
    for values, same in zip(found, expected, strict=True):
        np.testing.assert_allclose(values, same, rtol=1e-4, atol=1e-5)


@isolated(PORTANET_NUM_THREADS="4")
def test_pools_within_pools_train_and_predict() -> None:
    x, _ = examples()
    expected = dense().initialize(seed=1).predict(x)

    def inner(seed: int) -> np.ndarray:
        return dense().initialize(seed=seed).predict(x)

    def outer(seed: int) -> list[np.ndarray]:
        trained(dense())
        with ThreadPool(3) as pool:
            return pool.map(inner, [seed] * 3)

    with ThreadPool(4) as pool:
        for outputs in pool.map(outer, [1] * 4):
            for output in outputs:
                np.testing.assert_array_equal(output, expected)


@isolated(PORTANET_NUM_THREADS="4")
def test_the_number_of_threads_may_change_while_networks_train() -> None:
    expected, over = trained(convolutional()), threading.Event()

    def train() -> list[dict[str, np.ndarray]]:
        try:
            return [trained(convolutional()) for _ in range(3)]
        finally:
            over.set()

    def change() -> None:
        number = 0
        while not over.wait(0.002):
            number += 1
            pn.set_num_threads(1 + number % 6)

    runs, _ = in_threads([train, change])
    for weights in runs:
        assert_equal(weights, expected)


@isolated()
def test_a_thread_trains_while_the_main_one_is_interrupted() -> None:
    """Only the main thread handles signals: the other run is not disturbed."""
    expected = trained(dense())
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(trained, dense())
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert_equal(future.result(), expected)
