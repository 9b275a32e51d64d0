"""Steps as one persistent kernel, whose blocks run at the same time on the stand-in for a GPU."""

from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any, Literal, NoReturn

import array_api_compat  # noqa: F401 (before one of its modules is replaced)
import numpy as np
import pytest

import portanet as pn
import portanet.engine.graph
from portanet.backends import Backend
from portanet.training.callbacks import Training
from tests.cupy_on_cpu import COMPILER, CuPy

pytestmark = [pytest.mark.skipif(COMPILER is None, reason="g++ compiles the kernels"), pytest.mark.mechanism]

rng = np.random.default_rng(0)
X, LABELS = rng.normal(size=(43, 6)), rng.integers(3, size=43)  # a last batch of 3
TARGETS = rng.random((43, 2))


@pytest.fixture(autouse=True)
def preferred(cuda: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """A persistent kernel is made for few steps, and is faster than a graph."""
    from portanet.backends.cupy import persistent

    monkeypatch.setattr(portanet.engine.graph, "MIN_STEPS_TO_RECORD", 1)
    monkeypatch.setattr(portanet.engine.graph, "STEPS_PER_GRAPH", 3)
    monkeypatch.setattr(persistent, "MIN_STEPS", 1)
    monkeypatch.setattr(persistent, "N_TIMED_LAUNCHES", 1)
    times = cycle([2.0, 1.0])  # of the graph, which is first, and of the kernel
    monkeypatch.setattr(CuPy.current.cuda, "get_elapsed_time", lambda begin, end: next(times))


def fit(trainer: pn.Trainer, y: Any, capture: Literal["auto", "never"], **settings: Any) -> Any:
    """Return the epochs, the weights, and what was launched after the first steps."""
    settings = {"epochs": 3, "batch_size": 8, "progress": False, **settings}
    CuPy.current.launches.clear()
    history = trainer.fit(X, y, capture=capture, **settings)
    return history.epochs, trainer.net.get_weights(), list(CuPy.current.launches)


def assert_equal(one: Any, other: Any) -> None:
    assert one[0] == other[0]
    for name, values in one[1].items():
        np.testing.assert_array_equal(values, other[1][name], name)


def classifier(
    hidden: Sequence[pn.Layer], *, dtype: str = "float32", **settings: Any
) -> Callable[[Backend], pn.Trainer]:
    def trainer(device: Backend) -> pn.Trainer:
        net = pn.Sequential(pn.Linear(6, 70), *hidden, pn.Linear(70, 3)).initialize(3, device=device, dtype=dtype)
        return pn.Trainer(net, pn.CrossEntropyLoss(), device=device, seed=3, **settings)

    return trainer


def convnet(device: Backend) -> pn.Trainer:
    layers = pn.Reshape(2, 3, 1), pn.Conv2D(1, 4, 2, padding="same"), pn.ReLU(), pn.MaxPool2D(2)
    net = pn.Sequential(*layers, pn.Flatten(), pn.Linear(4, 3))
    return pn.Trainer(net, pn.CrossEntropyLoss(), pn.Adam(0.01), device=device, seed=3)


def regressor(loss: pn.Loss, *end: pn.Layer, **settings: Any) -> Callable[[Backend], pn.Trainer]:
    def trainer(device: Backend) -> pn.Trainer:
        net = pn.Sequential(pn.Linear(6, 5, bias=False), pn.TanH(), pn.Linear(5, 2), *end)
        return pn.Trainer(net, loss, pn.SGD(0.1, momentum=0.9, nesterov=True), device=device, seed=3, **settings)

    return trainer


@pytest.mark.parametrize(
    ("make", "y"),
    [
        (classifier([pn.ReLU()], optimizer=pn.SGD(0.1)), LABELS),
        (classifier([pn.GELU()], optimizer=pn.Adam(0.01), metrics=["accuracy"]), LABELS.astype("uint8")),
        (classifier([pn.ReLU(), pn.Dropout(0.3)], optimizer=pn.SGD(0.1)), LABELS),
        (classifier([pn.Sigmoid()], optimizer=pn.RMSprop(0.01, centered=True), dtype="float64"), LABELS),
        (convnet, LABELS),
        (regressor(pn.MSELoss()), TARGETS),
        (regressor(pn.BCELoss(), pn.Sigmoid()), TARGETS),
        (regressor(pn.HuberLoss()), TARGETS),
    ],
    ids=["SGD", "Adam", "Dropout", "RMSprop", "convolution", "MSE", "BCE", "Huber"],
)
def test_a_persistent_kernel_trains_as_single_launches_do(cuda: Backend, make: Any, y: np.ndarray) -> None:
    one_by_one = fit(make(cuda), y, "never")
    made = fit(make(cuda), y, "auto")
    assert_equal(made, one_by_one)
    # Of 3 epochs with 5 full batches, 2 steps are warm-up. Then 3 steps run at once, once as a graph, and 4 that are
    # left singly, once as a graph. Each kernel has been launched for no steps.
    assert made[2].count("run_steps") == 1 + 2 + 1 + 3


def test_several_steps_are_one_launch(cuda: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portanet.engine.graph, "STEPS_PER_GRAPH", 5)
    launches = fit(classifier([pn.ReLU()], optimizer=pn.SGD(0.1))(cuda), LABELS, "auto", epochs=4)[2]
    # Single steps in the first epoch, and one launch in each other; less a graph of each, more a launch for no steps.
    assert launches.count("run_steps") == 3 + 3


def test_steps_between_callbacks_are_launched_singly(cuda: Backend) -> None:
    class Halving(pn.Callback):
        def on_train_batch_begin(self, trainer: Training) -> None:
            trainer.optimizer.lr *= 0.9

    trainers = [classifier([pn.ReLU()], optimizer=pn.SGD(0.1))(cuda) for _ in range(2)]
    made = fit(trainers[0], LABELS, "auto", callbacks=[Halving()])
    assert_equal(made, fit(trainers[1], LABELS, "never", callbacks=[Halving()]))
    assert made[2].count("run_steps") == 3 * 5 - 2  # less one as a graph, more one for no steps


def test_a_setting_that_a_callback_changes_is_followed(cuda: Backend) -> None:
    class Slowing(pn.Callback):
        def on_epoch_end(self, trainer: Training, logs: Any) -> None:
            trainer.optimizer.momentum = 0.5

    outcomes = [fit(regressor(pn.MSELoss())(cuda), TARGETS, how, callbacks=[Slowing()]) for how in ("auto", "never")]
    assert_equal(*outcomes)
    assert outcomes[0][0] != fit(regressor(pn.MSELoss())(cuda), TARGETS, "auto")[0]


@pytest.mark.parametrize("layer", [pn.GaussianNoise(0.2), pn.LayerNorm(70)], ids=["GaussianNoise", "LayerNorm"])
def test_steps_in_which_cupy_launches_kernels_are_a_graph(cuda: Backend, layer: pn.Layer) -> None:
    launches = fit(classifier([layer], optimizer=pn.SGD(0.1))(cuda), LABELS, "auto")[2]
    assert "run_steps" not in launches
    assert "launch" in CuPy.current.events


def test_large_kernels_are_a_graph(cuda: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    from portanet.backends.cupy import persistent

    monkeypatch.setattr(persistent, "MAX_BLOCKS", 17)  # that of the first weights has 490 outputs, in blocks of 32
    assert "run_steps" not in fit(classifier([pn.ReLU()], optimizer=pn.SGD(0.1))(cuda), LABELS, "auto")[2]
    assert "launch" in CuPy.current.events


def test_the_mechanism_can_be_switched_off(cuda: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    from portanet.backends.cupy import graph

    monkeypatch.setattr(graph, "enabled", lambda name: name != "persistent")
    assert "run_steps" not in fit(classifier([pn.ReLU()], optimizer=pn.SGD(0.1))(cuda), LABELS, "auto")[2]
    assert "launch" in CuPy.current.events


@pytest.mark.parametrize("times", [[1.0, 2.0], [2.0, 1.0]], ids=["graph", "kernel"])
def test_the_faster_one_is_used(cuda: Backend, monkeypatch: pytest.MonkeyPatch, times: list[float]) -> None:
    measured = cycle(times)
    monkeypatch.setattr(CuPy.current.cuda, "get_elapsed_time", lambda begin, end: next(measured))
    monkeypatch.setattr(portanet.engine.graph, "STEPS_PER_GRAPH", 1)
    CuPy.current.events.clear()
    launches = fit(classifier([pn.ReLU()], optimizer=pn.SGD(0.1))(cuda), LABELS, "auto")[2]
    n_graph, n_kernel = CuPy.current.events.count("launch"), launches.count("run_steps")
    assert (n_graph, n_kernel) == ((12, 1 + 1) if times[0] < times[1] else (1, 1 + 12))


def test_few_steps_are_a_graph(cuda: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    from portanet.backends.cupy import persistent

    monkeypatch.setattr(persistent, "MIN_STEPS", 17)  # 16 are left after the first two
    assert "run_steps" not in fit(classifier([pn.ReLU()], optimizer=pn.SGD(0.1))(cuda), LABELS, "auto")[2]
    assert "launch" in CuPy.current.events


@pytest.mark.parametrize("name", ["_n_nodes", "source_of"])
def test_steps_are_a_graph_where_a_kernel_cannot_be_made(
    cuda: Backend, monkeypatch: pytest.MonkeyPatch, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Because a library is missing, or the compiler fails."""
    from portanet.backends.cupy import persistent

    def fail(*_: Any) -> NoReturn:
        raise RuntimeError("cudadevrt is not found")

    monkeypatch.setattr(persistent, name, fail)
    with caplog.at_level("INFO", "portanet"):
        made = fit(classifier([pn.ReLU()], optimizer=pn.SGD(0.1))(cuda), LABELS, "auto")
    assert "persistent kernel (RuntimeError: cudadevrt is not found)" in caplog.text
    assert "run_steps" not in made[2]
    assert_equal(made, fit(classifier([pn.ReLU()], optimizer=pn.SGD(0.1))(cuda), LABELS, "never"))


def test_steps_that_differ_are_a_graph(cuda: Backend) -> None:
    class Alternating(pn.TanH):
        n = 0

        def vjp(self, x: Any, *, train: bool = True) -> Any:
            self.n += 1
            return super().vjp(x) if self.n % 2 else pn.ReLU().vjp(x)

    class AlternatingDropout(pn.Dropout):
        def transform(self, xp: Any, x: Any) -> Any:
            self.p = 0.5 - self.p
            return super().transform(xp, x)

    for layer in (Alternating(), AlternatingDropout(0.1)):
        trainer = classifier([layer], optimizer=pn.SGD(0.1))(cuda)
        CuPy.current.events.clear()
        assert "run_steps" not in fit(trainer, LABELS, "auto", epochs=1)[2]  # three steps are recorded as one
        assert "launch" in CuPy.current.events


def listed(step: Callable[[], Any]) -> Any:
    from portanet.backends.cupy.source import record_launches

    with record_launches() as launches:
        step()
    return launches


def test_a_kernel_waits_for_what_another_one_writes_or_reads(cuda: Backend) -> None:
    from portanet.backends.cupy import persistent

    x, a, b, c = (cuda.asarray(np.ones(shape)) for shape in ((4, 6), (6,), (6,), (6,)))
    lr = cuda.asarray(np.asarray(0.1))

    def sum_into(out: Any) -> None:
        cuda.kernels["bias_grad"](x, out)

    def update(data: Any, grad: Any) -> None:
        cuda.kernels["sgd"](data, grad, None, lr, 0.0, False)

    def waits(*steps: tuple[Any, ...]) -> list[bool]:
        return list(persistent._needs_grid_sync(listed(lambda: [function(*arrays) for function, *arrays in steps])))

    assert waits((sum_into, a), (sum_into, b)) == [False, False]
    assert waits((sum_into, a), (update, b, a)) == [False, True]  # reads what is written
    assert waits((update, b, a), (sum_into, a)) == [False, True]  # writes what is read
    assert waits((sum_into, a), (sum_into, a)) == [False, True]  # both write
    assert waits((sum_into, a), (update, b, a), (update, c, a)) == [False, True, False]  # one wait is enough


def test_a_part_of_an_array_overlaps_with_the_whole(cuda: Backend) -> None:
    from portanet.backends.cupy import persistent

    x, flat, data = (cuda.asarray(np.ones(shape)) for shape in ((4, 6), (12,), (12,)))

    def step() -> None:
        cuda.kernels["bias_grad"](x, flat[6:])
        cuda.kernels["bias_grad"](x, flat[:6])
        cuda.kernels["sgd"](data, flat, None, cuda.asarray(np.asarray(0.1)), 0.0, False)

    assert list(persistent._needs_grid_sync(listed(step))) == [False, False, True]


def test_what_a_persistent_kernel_cannot_run_is_not_given_to_it(cuda: Backend) -> None:
    from portanet.backends.cupy import persistent

    x, labels = cuda.asarray(np.ones((4, 6))), cuda.asarray(np.zeros(4, int))
    launches = listed(lambda: cuda.kernels["mean_cross_entropy"](x, labels))
    assert persistent.is_supported(launches)
    assert persistent.is_supported(launches * 70)
    assert not persistent.is_supported(launches * 80)  # too many arguments
    assert not persistent.is_supported([])
    (launch,) = launches
    assert not persistent.is_supported([launch._replace(n=np.int32(250))])  # six threads would miss its barrier
