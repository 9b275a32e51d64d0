"""The pool of threads of the compiled kernels."""

import os
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet import kernels
from portanet.backends.numpy import core
from portanet.backends.numpy.layout import to_batch_last
from portanet.kernels.windows import Window

pytestmark = pytest.mark.skipif(core.compiled is None, reason="the compiled kernels are not in use")


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    before = pn.get_num_threads()
    yield
    pn.set_num_threads(before)


def relu(x: np.ndarray) -> np.ndarray:
    y: np.ndarray = pn.ReLU()(x)
    return y


X = np.random.default_rng(0).normal(size=(64, 8192)).astype("float32")
EXPECTED = np.maximum(X, 0)


def test_the_number_of_threads_is_set_and_told() -> None:
    for number in (3, 1):
        pn.set_num_threads(number)
        assert pn.get_num_threads() == number
    for wrong in (0, -1, 1.5, "2"):
        with pytest.raises(ValueError, match="number must be a whole number of at least 1"):
            pn.set_num_threads(wrong)  # type: ignore[arg-type]
    assert pn.get_num_threads() == 1


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"PORTANET_NUM_THREADS": "3", "OMP_NUM_THREADS": "5"}, 3),
        ({"OMP_NUM_THREADS": "5,2"}, 5),
        ({"OMP_NUM_THREADS": "0"}, None),
        ({}, None),
    ],
)
def test_the_first_number_is_that_of_the_environment_or_of_the_cores(
    variables: dict[str, str], expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PORTANET_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert core.default_num_threads() == (expected or cores)


def trained(number: int) -> Any:
    pn.set_num_threads(number)
    net = pn.Sequential(
        *(pn.Conv2D(3, 32, 3, padding="same"), pn.ReLU(), pn.MaxPool2D(2), pn.Conv2D(32, 48, 5), pn.TanH()),
        *(pn.AvgPool2D(2), pn.Flatten(), pn.Linear(4 * 4 * 48 // 4, 64), pn.GELU(approximate=True), pn.Linear(64, 10)),
    )
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(96, 16, 16, 3)).astype("float32"), rng.integers(10, size=96)
    trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.Adam(1e-3))
    trainer.fit(x, y, epochs=2, batch_size=48, progress=False)
    return net.flat.data


def test_the_number_of_threads_changes_no_bit() -> None:
    one = trained(1)
    for number in (2, 5):
        np.testing.assert_array_equal(trained(number), one)


@pytest.mark.parametrize(
    "layer",
    [
        pn.GRU(128, 64, return_sequences=True),
        pn.LSTM(128, 33),
        pn.Sequential(pn.TransformerBlock(128, 4, dropout=0.1, is_causal=True), pn.TransformerBlock(128, 4)),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_the_number_of_threads_changes_no_bit_of_a_sequence(layer: pn.Layer) -> None:
    x, results = np.random.default_rng(0).normal(size=(37, 40, 128)).astype("float32"), []
    for number in (1, 2, 5):
        pn.set_num_threads(number)
        layer.initialize(seed=0)
        y, pullback = layer.vjp(x)
        layer.zero_grad()
        results.append((y, pullback(y), layer.flat.grad.copy()))
    for others in results[1:]:
        for first, other in zip(results[0], others, strict=True):
            np.testing.assert_array_equal(other, first)


@pytest.mark.parametrize("layer", [pn.BatchNorm(32), pn.GroupNorm(4, 32), pn.LayerNorm(32)], ids=repr)
@pytest.mark.parametrize("batch_last", [False, True])
def test_the_number_of_threads_changes_no_normalization(layer: pn.Layer, batch_last: bool) -> None:
    rng, found = np.random.default_rng(0), []
    x, dy = rng.normal(size=(2, 40, 20, 20, 32)).astype("float32")
    if batch_last:
        x, dy = to_batch_last(x), to_batch_last(dy)
    for number in (1, 2, 5):
        pn.set_num_threads(number)
        layer.initialize()
        y, pullback = layer.vjp(x)
        found.append((y, pullback(dy), layer.flat.grad.copy()))
    for other in found[1:]:
        for one, same in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(one, same)


def test_the_number_of_threads_changes_no_cluster() -> None:
    rng, found = np.random.default_rng(0), []
    x = rng.normal(size=(3000, 50)).astype("float32")
    for number in (1, 2, 5):
        pn.set_num_threads(number)
        kmeans = pn.KMeans(20, init=x[:20], max_iter=5).fit(x)
        found.append((kmeans.cluster_centers_, kmeans.labels_, kmeans.cost_history_))
    for other in found[1:]:
        for one, same in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(one, same)


@pytest.mark.parametrize("n", [3, 40])
@pytest.mark.parametrize("groups", [1, 4, 32])
def test_the_number_of_threads_changes_no_bit_of_a_convolution(groups: int, n: int) -> None:
    """In each memory layout: with few images and with many."""
    rng = np.random.default_rng(0)
    for stride in (1, 2):
        window = Window.fit((30, 29), (3, 3), stride=(stride, stride), dilation=(1, 1), padding="same")
        x, w = rng.normal(size=(n, 30, 29, 32)), rng.normal(size=(3, 3, 32 // groups, 32))
        dy = rng.normal(size=(n, *window.output_shape, 32))
        results = []
        for number in (1, 2, 5):
            pn.set_num_threads(number)
            results.append(
                (
                    kernels.conv(x, w, window, groups),
                    kernels.conv_input_gradient(dy, w, window, groups),
                    kernels.conv_weight_gradient(x, dy, window, groups),
                )
            )
        for others in results[1:]:
            for one, other in zip(results[0], others, strict=True):
                np.testing.assert_array_equal(one, other)


def test_callers_in_several_threads_get_their_own_results() -> None:
    pn.set_num_threads(4)
    wrong = []

    def call() -> None:
        for _ in range(20):
            if not np.array_equal(relu(X), EXPECTED):
                wrong.append(1)

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_process_starts_threads_of_its_own() -> None:
    pn.set_num_threads(4)
    relu(X)  # the pool exists
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(relu(X), EXPECTED) else 1)
    assert os.waitpid(child, 0)[1] == 0
    np.testing.assert_array_equal(relu(X), EXPECTED)


@pytest.mark.parametrize("value", ["abc", "0", "-1", "1.5"])
def test_an_invalid_number_of_threads_gives_a_warning(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("PORTANET_NUM_THREADS", value)
    with pytest.warns(UserWarning, match=f"PORTANET_NUM_THREADS must be a number of threads, got '{value}'"):
        assert core.default_num_threads() >= 1
