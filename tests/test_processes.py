"""Networks in several processes: forked, spawned and of joblib; each test runs in a process of its own."""

import multiprocessing
import os
import pickle
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.pool import ThreadPool
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.training.callbacks import Training
from tests.isolated import isolated
from tests.test_threads import NETWORKS, assert_equal, dense, examples, trained

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")


@contextmanager
def forks_allowed() -> Iterator[None]:
    """Python warns of each fork beside threads: these tests are about them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This process", DeprecationWarning)
        yield


def in_fork(function: Callable[[], Any]) -> Any:
    """Call a function in a child that was forked here; return what it returns."""
    reader, writer = os.pipe()
    with forks_allowed():
        child = os.fork()
    if child == 0:
        try:
            with os.fdopen(writer, "wb") as file:
                pickle.dump(function(), file)
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        content = file.read()
    assert os.waitpid(child, 0)[1] == 0
    return pickle.loads(content)


def train(name: str, seed: int = 0) -> dict[str, np.ndarray]:
    return trained(NETWORKS[name](), seed)


@needs_fork
@pytest.mark.parametrize("name", NETWORKS)
@isolated(PORTANET_NUM_THREADS="4")
def test_a_forked_child_trains_as_its_parent(name: str) -> None:
    x, _ = examples()
    expected, net = train(name), NETWORKS[name]().initialize()
    output = net.predict(x)
    assert_equal(in_fork(lambda: train(name)), expected)
    np.testing.assert_array_equal(in_fork(lambda: net.predict(x)), output)
    assert_equal(train(name), expected)


@needs_fork
@isolated(PORTANET_NUM_THREADS="4")
def test_forks_while_a_thread_trains_disturb_neither() -> None:
    expected, over, runs = train("convolutional"), threading.Event(), []

    def run() -> None:
        while not over.is_set():
            runs.append(train("convolutional"))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        for _ in range(8):
            assert_equal(in_fork(lambda: train("convolutional")), expected)
    finally:
        over.set()
        thread.join()
    for weights in runs:
        assert_equal(weights, expected)


@needs_fork
@isolated()
def test_forks_while_a_thread_makes_networks_leave_no_lock_held() -> None:
    over = threading.Event()

    def make() -> None:
        while not over.is_set():
            dense().initialize()

    thread = threading.Thread(target=make)
    thread.start()
    try:
        for _ in range(30):
            assert in_fork(lambda: dense().initialize().n_parameters) == dense().n_parameters
    finally:
        over.set()
        thread.join()


@needs_fork
@isolated(PORTANET_NUM_THREADS="4")
def test_a_fork_within_a_training_step_leaves_both_whole() -> None:
    class Forks(pn.Callback):
        def on_train_batch_end(self, trainer: Training) -> None:
            if trainer.steps == 5:
                self.child = in_fork(lambda: train("dense"))

    forks = Forks()
    expected = train("dense")
    assert_equal(trained(dense(), callbacks=[forks]), expected)
    assert_equal(forks.child, expected)


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
@isolated(PORTANET_NUM_THREADS="2")
def test_a_pool_of_processes_trains_as_one_process(method: str) -> None:
    expected = [train("dense", seed) for seed in range(3)]
    with forks_allowed(), multiprocessing.get_context(method).Pool(2) as pool:
        found = pool.starmap(train, [("dense", seed) for seed in range(3)])
    for weights, same in zip(found, expected, strict=True):
        assert_equal(weights, same)


@needs_fork
@isolated(PORTANET_NUM_THREADS="4")
def test_threads_that_fork_processes_train_all() -> None:
    expected = train("dense")

    def fork(_: int) -> dict[str, np.ndarray]:
        weights: dict[str, np.ndarray] = in_fork(lambda: train("dense"))
        return weights

    with ThreadPool(3) as pool:
        for weights in pool.map(fork, range(3)):
            assert_equal(weights, expected)


def make_trainer(seed: int = 0) -> pn.Trainer:
    return pn.Trainer(dense(), pn.CrossEntropyLoss(), pn.Adam(), metrics="accuracy", seed=seed)


def fit(trainer: pn.Trainer, epochs: int = 2) -> pn.Trainer:
    x, y = examples()
    trainer.fit(x, y, epochs=epochs, progress=False)
    return trainer


def fit_with(trainer: pn.Trainer, callbacks: list[pn.Callback]) -> tuple[pn.Trainer, list[pn.Callback]]:
    x, y = examples()
    trainer.fit(x, y, epochs=6, validation_data=(x, y), callbacks=callbacks, progress=False)
    return trainer, callbacks


def make_callbacks() -> list[pn.Callback]:
    return [
        pn.EarlyStopping("val_loss", patience=1, restore_best_weights=True),
        pn.ReduceLROnPlateau("loss", patience=1),
    ]


@pytest.mark.parametrize("method", ["spawn", "loky"])
@isolated(PORTANET_NUM_THREADS="2")
def test_a_trainer_goes_to_another_process_and_back(method: str) -> None:
    """Halfway through its training, with its callbacks; and the network, the optimizer and k-means alone."""
    x, _ = examples()
    whole, half = fit(fit(make_trainer())), fit(make_trainer())
    together, _ = fit_with(make_trainer(), make_callbacks())
    if method == "spawn":
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            sent = pool.apply(fit, (half,))
            sent_together, _ = pool.apply(fit_with, (make_trainer(), make_callbacks()))
            output, rate = pool.apply(half.net.predict, (x,)), pool.apply(pn.SGD(0.25).arguments)["lr"]
            labels = pool.apply(pn.KMeans(3).fit(x).predict, (x,))
    else:
        joblib = pytest.importorskip("joblib", reason="scikit-learn brings joblib")
        jobs: list[tuple[Any, ...]] = [
            *((fit, half), (fit_with, make_trainer(), make_callbacks()), (half.net.predict, x)),
            *((pn.SGD(0.25).arguments,), (pn.KMeans(3).fit(x).predict, x)),
        ]
        with joblib.parallel_config("loky"):
            results = joblib.Parallel(n_jobs=2)(joblib.delayed(job)(*arguments) for job, *arguments in jobs)
        sent, (sent_together, _), output, settings, labels = results
        rate = settings["lr"]
    assert sent.steps == whole.steps
    assert_equal(sent.net.get_weights(), whole.net.get_weights())
    assert_equal(fit(sent).net.get_weights(), fit(whole).net.get_weights())
    assert sent_together.history == together.history
    assert_equal(sent_together.net.get_weights(), together.net.get_weights())
    np.testing.assert_array_equal(output, half.net.predict(x))
    assert rate == 0.25
    np.testing.assert_array_equal(labels, pn.KMeans(3).fit(x).predict(x))


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
@isolated(PORTANET_NUM_THREADS="2")
def test_scikit_learns_parallel_trains_two_trainers(backend: str) -> None:
    parallel = pytest.importorskip("sklearn.utils.parallel", reason="scikit-learn is not installed")
    joblib = pytest.importorskip("joblib", reason="scikit-learn brings joblib")
    expected = [fit(make_trainer(seed)) for seed in (0, 1)]
    with forks_allowed(), joblib.parallel_config(backend):
        found = parallel.Parallel(n_jobs=2)(parallel.delayed(fit)(make_trainer(seed)) for seed in (0, 1))
    for trainer, same in zip(found, expected, strict=True):
        assert trainer.history == same.history
        assert_equal(trainer.net.get_weights(), same.net.get_weights())


@isolated(PORTANET_NUM_THREADS="2")
def test_a_process_that_was_spawned_computes_with_the_threads_of_its_environment() -> None:
    pn.set_num_threads(5)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(pn.get_num_threads) == 2
    if hasattr(os, "fork"):
        assert in_fork(pn.get_num_threads) == 5
