"""Training on iterables of batches: generators, data loaders, data sets that are read again for each epoch."""

import itertools
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend
from portanet.datasets import batches

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(50, 4)).astype("float32"), RNG.integers(0, 3, 50)
WEIGHTS = RNG.uniform(0.5, 2, 50).astype("float32")


def a_trainer(metrics: Any = ("accuracy",), *, sized: bool = True, **options: Any) -> pn.Trainer:
    net = pn.Sequential(pn.Linear(4, 8) if sized else pn.Linear(8), pn.TanH(), pn.Linear(8, 3))
    return pn.Trainer(net, pn.CrossEntropyLoss(), pn.Adam(0.01), metrics=metrics, **options)


def parts(*arrays: Any) -> Iterator[tuple[Any, ...]]:
    for begin in range(0, 50, 16):
        yield tuple(array[begin : begin + 16] for array in arrays)


class Again:
    """An iterable that can be read more than once."""

    def __init__(self, make: Callable[[], Iterator[Any]]):
        self.make = make

    def __iter__(self) -> Iterator[Any]:
        return self.make()


def assert_same(first: pn.Trainer, second: pn.Trainer) -> None:
    for name, values in first.net.get_weights().items():
        np.testing.assert_array_equal(second.net.get_weights()[name], values)
    assert first.history.epochs == second.history.epochs
    assert first.steps == second.steps


@pytest.mark.parametrize("weighted", [False, True])
def test_batches_train_like_the_arrays_that_they_are_parts_of(backend: Backend, weighted: bool) -> None:
    given = (X, Y, WEIGHTS) if weighted else (X, Y)
    of_arrays, of_batches = a_trainer(device=backend), a_trainer(device=backend)
    options: dict[str, Any] = {"epochs": 3, "progress": False}
    weights = WEIGHTS if weighted else None
    of_arrays.fit(
        X,
        Y,
        sample_weight=WEIGHTS if weighted else None,
        batch_size=16,
        shuffle=False,
        validation_data=given,
        **options,
    )
    of_batches.fit(Again(lambda: parts(*given)), validation_data=Again(lambda: iter([given])), **options)
    assert_same(of_arrays, of_batches)
    of_all = of_arrays.evaluate(*given[:2], sample_weight=weights)
    assert of_batches.evaluate(parts(*given)) == pytest.approx(of_all, rel=1e-6)


@pytest.mark.parametrize("metrics", [["accuracy"], [lambda p, t: 0.5]], ids=["of batches", "of all"])
def test_a_generator_without_end_is_divided_into_epochs(metrics: Any) -> None:
    def forever() -> Iterator[Any]:
        while True:
            yield from parts(X, Y)

    names = {"m": metrics[0]}
    whole, divided = a_trainer(names), a_trainer(names)
    whole.fit(Again(lambda: parts(X, Y)), epochs=3, progress=False)
    divided.fit(forever(), epochs=6, steps_per_epoch=2, progress=False)
    assert divided.steps == whole.steps == 12
    for name, values in whole.net.get_weights().items():
        np.testing.assert_array_equal(divided.net.get_weights()[name], values)


def test_a_data_loader_of_pytorch_is_an_iterable(torch: ModuleType) -> None:
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(torch.asarray(X), torch.asarray(Y)), batch_size=16
    )
    of_loader, of_arrays = a_trainer(), a_trainer()
    of_loader.fit(loader, epochs=2, progress=False, validation_data=loader)
    of_arrays.fit(X, Y, epochs=2, batch_size=16, shuffle=False, progress=False)
    for name, values in of_arrays.net.get_weights().items():
        np.testing.assert_array_equal(of_loader.net.get_weights()[name], values)


def test_input_sizes_come_from_the_first_batch() -> None:
    net = pn.Sequential(pn.Linear(8), pn.TanH(), pn.Linear(3))
    trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.SGD())
    trainer.fit(x=parts(X, Y), progress=False)
    assert trainer.steps == 4  # the first batch is trained on, too
    assert repr(net[0]) == "Linear(4, 8)"


def test_the_next_batch_is_fetched_while_a_step_runs() -> None:
    events: list[str] = []

    class Slow(pn.Callback):
        def on_train_batch_end(self, trainer: Any) -> None:
            time.sleep(0.05)
            events.append("step")

    def source() -> Iterator[Any]:
        for i, batch in enumerate(parts(X, Y)):
            events.append(f"batch {i}")
            yield batch

    a_trainer().fit(source(), callbacks=[Slow()], progress=False)
    assert events.index("batch 1") < events.index("step")


def test_no_thread_is_left(backend: Backend) -> None:
    class Broken(pn.Callback):
        def on_train_batch_end(self, trainer: Any) -> None:
            raise OSError("broken")

    before = threading.active_count()
    a_trainer().fit(parts(X, Y), progress=False)
    with pytest.raises(OSError, match="broken"):
        a_trainer().fit(parts(X, Y), callbacks=[Broken()], progress=False)
    a_trainer().evaluate(parts(X, Y))
    for _ in range(100):
        if threading.active_count() <= before:
            break
        time.sleep(0.01)
    assert threading.active_count() <= before


@pytest.mark.parametrize("steps", [None, 4])
def test_a_run_resumes_within_an_epoch(tmp_path: Path, steps: int | None) -> None:
    class Stop(Exception):
        pass

    class StopAt(pn.Callback):
        def on_train_batch_end(self, trainer: Any) -> None:
            if trainer.steps == 6:
                trainer.save(tmp_path / "run")
                raise Stop

    metrics = {"a": "accuracy", "b": lambda p, t: 0.5}
    whole, again = a_trainer(metrics), a_trainer(metrics)
    source = Again(lambda: parts(X, Y))
    options: dict[str, Any] = {"epochs": 3, "steps_per_epoch": steps, "progress": False}
    whole.fit(source, **options)
    with pytest.raises(Stop):
        a_trainer(metrics).fit(source, callbacks=[StopAt()], **options)
    again.fit(source, resume=tmp_path / "run", **options)
    assert_same(whole, again)
    with pytest.raises(ValueError, match="x yields only 1 batches"):
        a_trainer(metrics).fit([(X, Y)], resume=tmp_path / "run", **options)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"x": X}, ValueError, "y is None: give an array"),
        ({"x": 3}, ValueError, "y is None: give an array"),
        ({"x": []}, ValueError, "x yields no batches"),
        ({"x": [3]}, ValueError, r"batch 0 of x must be \(x, y\)"),
        ({"x": [(X, Y, WEIGHTS, Y)]}, ValueError, r"batch 0 of x must be \(x, y\)"),
        ({"x": [(X, Y[:3])]}, ValueError, "batch 0 of x: y holds 3 examples and x 50"),
        ({"x": [(X, Y), (X[:, :3], Y)]}, ValueError, r"batch 1 of x: data do not fit: .*Linear\(4, 8\) needs x"),
        ({"x": [(X, Y), (X, Y + 7)]}, ValueError, "batch 1 of x: data do not fit: class indices must be in"),
        ({"x": [(X, Y)], "validation_split": 0.5}, ValueError, "validation_split needs arrays"),
        ({"x": [(X, Y)], "class_weight": {0: 2.0}}, ValueError, "class_weight needs arrays"),
        ({"x": [(X, Y)], "sample_weight": WEIGHTS}, ValueError, "sample_weight needs arrays"),
        ({"x": [(X, Y), None, (X, Y)]}, ValueError, r"batch 1 of x must be \(x, y\).*got None"),
        ({"x": [(X, Y)], "validation_data": []}, ValueError, "validation_data yields no batches"),
        ({"x": [(X, Y)], "validation_data": [(X, Y[:3])]}, ValueError, "batch 0 of validation_data: y holds 3"),
        ({"x": [(X, Y)], "steps_per_epoch": 0}, ValueError, "steps_per_epoch must be"),
        ({"x": X, "y": Y, "steps_per_epoch": 2}, ValueError, "steps_per_epoch needs an iterable"),
        ({"x": iter([(X, Y)]), "epochs": 2}, ValueError, "can be read once: give steps_per_epoch"),
        ({"x": [(X, Y)], "validation_data": iter([(X, Y)])}, ValueError, "batches of these that can be read more"),
        ({"x": [(X, Y)], "validation_data": 3}, ValueError, "validation_data must be a tuple"),
    ],
)
def test_what_is_no_iterable_of_batches_is_refused(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    trainer = a_trainer()
    with pytest.raises(error, match=message):
        trainer.fit(**arguments, progress=False)


def test_evaluate_refuses_weights_beside_batches() -> None:
    with pytest.raises(ValueError, match="sample_weight needs arrays"):
        a_trainer().evaluate([(X, Y)], sample_weight=WEIGHTS)


def test_an_iterator_that_is_refused_is_not_read() -> None:
    source = parts(X, Y)
    with pytest.raises(ValueError, match="can be read once"):
        a_trainer().fit(source, epochs=2, progress=False)
    assert len(list(source)) == 4


def test_a_generator_can_be_trained_on_again_at_once() -> None:
    def slow() -> Iterator[Any]:
        while True:
            time.sleep(0.02)
            yield X, Y

    source, trainer = slow(), a_trainer()
    for _ in range(2):
        trainer.fit(source, steps_per_epoch=2, progress=False)
    next(source)
    assert trainer.steps == 4


@pytest.mark.parametrize("sized", [True, False], ids=["sized", "unsized"])
def test_each_epoch_reads_an_iterable_once(sized: bool) -> None:
    begun = []

    def source(name: str) -> Again:
        return Again(lambda: begun.append(name) or parts(X, Y))  # type: ignore[func-returns-value]

    a_trainer(sized=sized).fit(source("train"), epochs=3, validation_data=source("validation"), progress=False)
    assert begun == ["train", "validation"] * 3


@pytest.mark.parametrize("x", [[], [3], [(X,)], [X]])
def test_batches_that_tell_no_input_size_are_refused(x: Any) -> None:
    net = pn.Sequential(pn.Linear(8), pn.TanH(), pn.Linear(3))
    with pytest.raises(ValueError, match=r"x yields no batches|batch 0 of x must be \(x, y\)"):
        pn.Trainer(net, pn.CrossEntropyLoss(), pn.SGD()).fit(x, progress=False)
    assert repr(net) == "Sequential(Linear(8), TanH(), Linear(3))"


def test_an_error_of_the_iterable_is_its_own() -> None:
    def source() -> Iterator[Any]:
        yield X, Y
        raise KeyError("row 51")

    trainer, first = a_trainer(), a_trainer()
    with pytest.raises(KeyError, match="row 51"):
        trainer.fit(source(), progress=False)
    first.fit([(X, Y)], progress=False)
    assert trainer.steps == first.steps == 1  # and the weights are those after this step
    for name, values in first.net.get_weights().items():
        np.testing.assert_array_equal(trainer.net.get_weights()[name], values)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="the system cannot send a signal to a thread")
def test_an_interrupt_does_not_wait_for_the_next_batch() -> None:
    waits, comes = threading.Event(), threading.Event()

    def source() -> Iterator[Any]:
        yield X, Y
        waits.set()
        comes.wait(timeout=30)

    def interrupt() -> None:
        waits.wait(timeout=30)
        time.sleep(0.05)  # fit waits too
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    trainer, sender = a_trainer(), threading.Thread(target=interrupt)
    sender.start()
    try:
        begin = time.perf_counter()
        with pytest.raises(KeyboardInterrupt):
            trainer.fit(source(), progress=False)
        assert time.perf_counter() - begin < 20
        assert trainer.steps == 1
    finally:
        comes.set()
        sender.join()


def test_batches_of_datasets_are_taken() -> None:
    trainer = a_trainer()
    trainer.fit(batches(X, Y, batch_size=16), epochs=20, progress=False)
    assert trainer.history["loss"][-1] < trainer.history["loss"][0]


def test_a_run_on_an_iterator_resumes_after_the_batches_that_it_has_read(tmp_path: Path) -> None:
    def forever() -> Iterator[Any]:
        for seed in itertools.count():
            x = np.random.default_rng(seed).normal(size=(10, 4)).astype("float32")
            yield x, Y[:10]

    class Stop(Exception):
        pass

    class StopAt(pn.Callback):
        def on_train_batch_end(self, trainer: Any) -> None:
            if trainer.steps == at:
                raise Stop

    options: dict[str, Any] = {"epochs": 3, "steps_per_epoch": 4, "progress": False}
    whole = a_trainer()
    whole.fit(forever(), **options)
    for per, at in (("epoch", 5), ("step", 4), ("step", 6), ("step", 8)):
        checkpoint = pn.ModelCheckpoint(tmp_path / f"{per}-{at}", per=per)  # type: ignore[arg-type]
        with pytest.raises(Stop):
            a_trainer().fit(forever(), callbacks=[checkpoint, StopAt()], **options)
        again = a_trainer()
        again.fit(forever(), resume=tmp_path / f"{per}-{at}", **options)
        assert_same(whole, again)


def test_a_checkpoint_after_the_last_batch_of_an_epoch_resumes(tmp_path: Path) -> None:
    data = list(parts(X, Y))
    whole, again = a_trainer(), a_trainer()
    whole.fit(data, epochs=3, progress=False)
    a_trainer().fit(data, epochs=2, callbacks=[pn.ModelCheckpoint(tmp_path / "run", per="step")], progress=False)
    again.fit(data, epochs=3, resume=tmp_path / "run", progress=False)
    assert_same(whole, again)


@pytest.mark.parametrize("sized", [True, False], ids=["sized", "unsized"])
@pytest.mark.parametrize("after", [2, 4, 6, 9])
@pytest.mark.parametrize("read_before", [0, 2])
def test_shuffled_batches_go_on_in_their_orders(tmp_path: Path, after: int, sized: bool, read_before: int) -> None:
    class Stop(Exception):
        pass

    class StopAfter(pn.Callback):
        def on_train_batch_end(self, trainer: Any) -> None:
            if trainer.steps == after:
                trainer.save(tmp_path / "run")
                raise Stop

    def source() -> Any:
        data = batches(X, Y, batch_size=16)
        for _ in range(read_before):
            list(data)
        return data

    whole, again, sized_first = a_trainer(sized=sized), a_trainer(sized=sized), a_trainer()
    whole.fit(source(), epochs=3, progress=False)
    sized_first.fit(source(), epochs=3, progress=False)
    assert_same(whole, sized_first)
    with pytest.raises(Stop):
        a_trainer(sized=sized).fit(source(), epochs=3, callbacks=[StopAfter()], progress=False)
    again.fit(batches(X, Y, batch_size=16), epochs=3, resume=tmp_path / "run", progress=False)
    assert_same(whole, again)


def test_evaluation_between_epochs_does_not_change_the_orders_of_training() -> None:
    alone, beside, data = a_trainer(), a_trainer(), batches(X, Y, batch_size=16)
    alone.fit(batches(X, Y, batch_size=16), epochs=3, progress=False)
    beside.fit(data, epochs=3, validation_data=data, progress=False)
    np.testing.assert_array_equal(alone.net.flat.data, beside.net.flat.data)


def test_the_source_sees_the_context_variables_of_the_caller() -> None:
    folder: ContextVar[str] = ContextVar("folder", default="")
    found: list[str] = []

    def source() -> Iterator[Any]:
        for batch in parts(X, Y):
            found.append(folder.get())
            yield batch

    folder.set("data")
    a_trainer().fit(source(), progress=False)
    assert set(found) == {"data"}
