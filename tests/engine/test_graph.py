"""Steps that are recorded: what they compute is what steps one by one compute, to the last bit."""

import gc
import warnings
import weakref
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Literal, NoReturn

import numpy as np
import pytest

import portanet as pn
import portanet.engine.graph
import portanet.training.trainer
from portanet.backends import Backend
from portanet.engine.graph import WARM_UP_STEPS, GraphExecutor
from portanet.training.callbacks import Training
from portanet.training.data import Data
from portanet.typing import Pullback
from tests.cases import LAYERS, LOSSES, OPTIMIZERS

pytest.importorskip("array_api_strict", reason="its computations are what is recorded")
tape = import_module("tests.tape")  # not at the top: it imports array_api_strict
pytestmark = pytest.mark.strict

Capture = Literal["auto", "never"]
CAPTURES: tuple[Capture, ...] = ("auto", "never")
Outcome = tuple[list[dict[str, float]], dict[str, np.ndarray]]  # the epochs and the weights

rng = np.random.default_rng(0)
X = rng.normal(size=(45, 4))
LABELS = (X[:, 0] > 0).astype("int64") + (X[:, 2] > 1)


@pytest.fixture
def recording() -> Backend:
    return replace(pn.get_backend("strict"), name="recording", capture=tape.capture)


class Counted(pn.Linear):
    """Counts how often its Python runs in training."""

    calls = 0

    def vjp(self, x: Any, *, train: bool = True) -> tuple[Any, Pullback]:
        self.calls += train
        return super().vjp(x, train=train)


def a_trainer(device: Backend, optimizer: pn.Optimizer | None = None) -> pn.Trainer:
    net = pn.Sequential(pn.Linear(4, 8), pn.BatchNorm(8), pn.TanH(), pn.Dropout(0.2), Counted(8, 3))
    return pn.Trainer(
        net, pn.CrossEntropyLoss(), optimizer or pn.Adam(0.01), metrics=[pn.accuracy], device=device, seed=3
    )


def calls_of(trainer: pn.Trainer) -> int:
    assert isinstance(trainer.net, pn.Sequential)
    counted = trainer.net[4]
    assert isinstance(counted, Counted)
    return counted.calls


def run(trainer: pn.Trainer, capture: Capture, **settings: Any) -> Outcome:
    settings = {"epochs": 3, "batch_size": 8, "progress": False, **settings}
    history = trainer.fit(X, LABELS, capture=capture, **settings)
    return history.epochs, trainer.net.get_weights()


def assert_equal(one: Outcome, other: Outcome) -> None:
    assert one[0] == other[0]
    for name, values in one[1].items():
        np.testing.assert_array_equal(values, other[1][name], name)


@pytest.mark.parametrize("together", [2, 3, 1000])  # steps recorded as one: with and without a rest, and none
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("batch_size", [8, 9, 40, 45, 44])  # a short last batch, none, one of another size, one in all
def test_a_recorded_run_equals_an_eager_run(
    recording: Backend, monkeypatch: pytest.MonkeyPatch, shuffle: bool, batch_size: int, together: int
) -> None:
    monkeypatch.setattr(portanet.engine.graph, "STEPS_PER_GRAPH", together)
    settings: dict[str, Any] = {"shuffle": shuffle, "batch_size": batch_size, "epochs": 5}
    trainers = [a_trainer(recording) for _ in range(2)]
    assert_equal(*(run(t, how, **settings) for t, how in zip(trainers, CAPTURES, strict=True)))
    assert trainers[0].steps == trainers[1].steps


@pytest.mark.parametrize(("together", "recorded"), [(6, 1), (5, 1 + 5), (2, 1 + 2)])
def test_replayed_steps_run_no_python(
    recording: Backend, monkeypatch: pytest.MonkeyPatch, together: int, recorded: int
) -> None:
    monkeypatch.setattr(portanet.engine.graph, "STEPS_PER_GRAPH", together)
    trainer = a_trainer(recording)
    run(trainer, "auto", epochs=4)
    full, short = 5, 1  # in each of 4 epochs of 45 examples
    assert calls_of(trainer) == WARM_UP_STEPS + recorded + 4 * short
    assert trainer.steps == 4 * (full + short)


@pytest.mark.parametrize(
    ("epochs", "recorded"),
    [(3, 18), (4, WARM_UP_STEPS + 1 + 4), (40, WARM_UP_STEPS + 1 + 40)],  # a recorded epoch has a short last batch
)
def test_few_steps_are_not_recorded(
    recording: Backend, monkeypatch: pytest.MonkeyPatch, epochs: int, recorded: int
) -> None:
    """Recording takes as long as many steps."""
    monkeypatch.setattr(portanet.engine.graph, "MIN_STEPS_TO_RECORD", 20)
    trainer = a_trainer(recording)
    run(trainer, "auto", epochs=epochs)
    assert calls_of(trainer) == recorded


def test_steps_with_a_callback_before_each_are_replayed_one_at_a_time(
    recording: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portanet.engine.graph, "STEPS_PER_GRAPH", 2)
    called = []

    class Counting(pn.Callback):
        def on_train_batch_begin(self, trainer: Training) -> None:
            called.append(trainer.steps)

    trainer = a_trainer(recording)
    run(trainer, "auto", epochs=2, callbacks=[Counting()])
    assert called == list(range(12))
    assert calls_of(trainer) == WARM_UP_STEPS + 1 + 2


@pytest.mark.filterwarnings("ignore:LBFGS needs all 45 examples")
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_every_optimizer_can_be_recorded(recording: Backend, optimizer: pn.Optimizer) -> None:
    assert_equal(*(run(a_trainer(recording, optimizer), how) for how in CAPTURES))


def test_a_recorded_step_follows_a_changing_learning_rate(recording: Backend) -> None:
    def schedule(t: int) -> float:
        return 0.1 / (1 + t)

    histories = [run(a_trainer(recording), how, callbacks=[pn.LearningRateScheduler(schedule)]) for how in CAPTURES]
    assert_equal(*histories)
    assert histories[0][0] != run(a_trainer(recording), "auto", callbacks=[])[0]


@pytest.mark.parametrize(("layer", "x"), LAYERS, ids=[repr(layer) for layer, _ in LAYERS])
def test_every_layer_can_be_recorded(recording: Backend, layer: pn.Layer, x: Any) -> None:
    x = np.concatenate([x] * 5)
    before: tuple[pn.Layer, ...] = ()  # integers have no gradient
    if x.dtype.kind == "f":
        x = x.astype("float32")
        before = pn.Flatten(), pn.Linear(x[0].size, x[0].size), pn.Reshape(*x.shape[1:])

    def weights(how: Capture) -> list[np.ndarray]:
        net = pn.Sequential(*before, layer)
        trainer = pn.Trainer(net.initialize(1, device=recording), pn.MSELoss(), pn.SGD(0.01))
        target = np.ones((len(x), *net.output_shape(x.shape[1:])))
        trainer.fit(x, target, batch_size=len(x) // 5, progress=False, capture=how)
        return list(net.get_weights().values())

    for one, other in zip(weights("auto"), weights("never"), strict=True):
        np.testing.assert_array_equal(one, other)


TRAINABLE = [case for case in LOSSES if case[0].reduction != "none"]


@pytest.mark.parametrize(
    ("loss", "prediction", "target"), TRAINABLE, ids=[f"{loss!r}-{target.ndim}d" for loss, _, target in TRAINABLE]
)
def test_every_loss_can_be_recorded(recording: Backend, loss: pn.Loss, prediction: Any, target: Any) -> None:
    x, wanted = (np.concatenate([a] * 5) for a in (prediction.astype("float32"), target))

    def weights(how: Capture) -> np.ndarray:
        n = prediction.shape[-1]
        logits = isinstance(loss, pn.CrossEntropyLoss | pn.BCEWithLogitsLoss)
        log_probabilities = isinstance(loss, pn.NLLLoss | pn.KLDivLoss)
        end = () if logits else (pn.LogSoftmax(),) if log_probabilities else (pn.Softmax(),)
        net = pn.Sequential(pn.Linear(n, n), *end) if prediction.ndim == 2 else pn.LayerNorm(n)
        trainer = pn.Trainer(net.initialize(1, device=recording), loss, pn.SGD(0.01))
        trainer.fit(x, wanted, batch_size=len(x) // 5, progress=False, capture=how)
        return recording.to_numpy(net.flat.data)

    np.testing.assert_array_equal(weights("auto"), weights("never"))


def test_steps_that_cannot_be_recorded_run_eagerly_with_one_warning(recording: Backend) -> None:
    class Reading(pn.MSELoss):
        def pointwise(self, xp: Any, p: Any, t: Any) -> tuple[Any, Callable[[], Any]]:
            float(xp.max(p))
            return super().pointwise(xp, p, t)

    def run(how: Capture) -> list[float]:
        trainer = pn.Trainer(pn.Linear(4, 4).initialize(1, device=recording), Reading(), pn.SGD(0.1))
        return trainer.fit(X, X, epochs=3, batch_size=5, progress=False, capture=how)["loss"]

    with pytest.warns(RuntimeWarning, match=r"one by one: .*RuntimeError: a number was read back") as caught:
        losses = run("auto")
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert losses == run("never")


@pytest.mark.parametrize("together", [2, 16])
def test_a_failed_recording_changes_nothing(recording: Backend, monkeypatch: pytest.MonkeyPatch, together: int) -> None:
    monkeypatch.setattr(portanet.engine.graph, "STEPS_PER_GRAPH", together)

    def fail(step: Callable[[], Any], *pools: Any) -> NoReturn:
        tape.capture(step)  # changes no array, but the step's Python has run
        raise RuntimeError("cudaErrorStreamCaptureInvalidated")

    with pytest.warns(RuntimeWarning, match="cudaErrorStreamCaptureInvalidated"):
        failed = run(a_trainer(replace(recording, capture=fail)), "auto")
    assert_equal(failed, run(a_trainer(recording), "never"))


def test_steps_that_cannot_be_recorded_together_are_recorded_singly(
    recording: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portanet.engine.graph, "STEPS_PER_GRAPH", 2)
    calls = []

    def fail_several(step: Callable[[], Any], n: int, n_expected: int, *pools: Any) -> Callable[[], None]:
        calls.append((n, *pools))
        if n > 1:
            raise RuntimeError("too many")
        return tape.capture(step)

    trainer = a_trainer(replace(recording, capture=fail_several))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = run(trainer, "auto")
    assert calls == [(2,), (1,)]
    assert_equal(made, run(a_trainer(recording), "never"))


def test_a_failed_recording_frees_those_whose_memory_it_shares(
    recording: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portanet.engine.graph, "STEPS_PER_GRAPH", 5)
    calls, kept = [], []

    def capture(step: Callable[[], Any], n: int, n_expected: int, *pools: Callable[[], None]) -> Callable[[], None]:
        calls.append(len(pools))
        if len(calls) == 2:
            raise MemoryError
        replay = tape.capture(step, n)
        kept.append(weakref.ref(replay.__self__))
        return replay

    def note(trainer: Any) -> None:
        alive.append(kept[0]() is not None)

    alive: list[bool] = []
    made = run(a_trainer(replace(recording, capture=capture)), "auto", callbacks=[After(note)])
    assert calls == [0, 1, 0]  # one step, five steps that share its memory, and one step anew
    assert alive == [False]
    assert_equal(made, run(a_trainer(recording), "never"))


def test_a_recording_shares_the_memory_pool_of_earlier_ones(
    recording: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portanet.engine.graph, "STEPS_PER_GRAPH", 2)
    made: list[Callable[[], None]] = []

    def capture(step: Callable[[], Any], n: int, n_expected: int, *pools: Callable[[], None]) -> Callable[[], None]:
        assert list(pools) == made
        made.append(tape.capture(step, n))
        return made[-1]

    run(a_trainer(replace(recording, capture=capture)), "auto")
    assert len(made) == 2


def test_capture_never_records_nothing(recording: Backend) -> None:
    def refuse(step: Callable[[], Any], *pools: Any) -> NoReturn:
        raise AssertionError("recorded")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(a_trainer(replace(recording, capture=refuse)), "never")
    with pytest.raises(ValueError, match="capture must be 'auto' or 'never', got 'always'"):
        run(a_trainer(recording), "always")  # type: ignore[arg-type]


def test_divergence_in_a_recorded_run_names_the_step(recording: Backend) -> None:
    messages = []
    for how in CAPTURES:
        trainer = pn.Trainer(pn.Linear(4, 4).initialize(device=recording), pn.MSELoss(), pn.SGD(1e15))
        before = trainer.net.get_weights()["weight"]
        with pytest.raises(pn.Diverged, match="became") as caught:
            trainer.fit(1e3 * X, X, batch_size=4, progress=False, capture=how)
        messages.append(str(caught.value))
        np.testing.assert_array_equal(trainer.net.get_weights()["weight"], before)
    assert messages[0] == messages[1]


def test_an_epoch_reads_nothing_back(no_host_reads: Backend) -> None:
    trainer = a_trainer(no_host_reads)
    x, labels = trainer.net.asarray(X), trainer.net.asarray(LABELS)
    steps, _ = trainer._executor(Data(x, labels), 8, record=True)
    assert isinstance(steps, GraphExecutor)
    for _ in range(2):
        steps.start_epoch(np.arange(45)[::-1])
        while steps.remaining:
            steps.run(steps.remaining)


def test_data_that_do_not_fit_on_the_device_are_streamed(recording: Backend) -> None:
    """From the host, in the order and with the results of data on the device."""
    asked = []

    def too_much(nbytes: int) -> bool:
        asked.append(nbytes)
        return False

    fed, placed = (a_trainer(replace(recording, fits=room)) for room in (too_much, recording.fits))
    for shuffle in (True, False):
        assert_equal(run(fed, "auto", shuffle=shuffle), run(placed, "never", shuffle=shuffle))
    assert asked == [X.nbytes + LABELS.nbytes] * 2


class Hungry(pn.Layer):
    """Needs memory for each example."""

    most = 11

    def __init__(self) -> None:
        self.calls = pn.Buffer((1,), pn.initializers.zeros)

    def vjp(self, x: Any, *, train: bool = True) -> tuple[Any, Pullback]:
        self.calls.data[...] += 1.0
        if x.shape[0] > self.most:
            raise pn.OutOfMemory("strict", asked=x.shape[0] * 2**30, free=self.most * 2**30)
        return x, lambda dy, **_: dy


def test_out_of_memory_says_which_batch_size_fits_and_leaves_the_network_usable() -> None:
    net = pn.Sequential(pn.Linear(4, 3), Hungry())
    trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.Adam(0.1), device="strict")
    before = net.get_weights()["0.weight"]
    message = "out of memory on strict: 40.00 GiB were asked for and 11.00 GiB are free; batch_size=10 fits"
    with pytest.raises(pn.OutOfMemory) as caught:
        trainer.fit(X, LABELS, batch_size=40, progress=False)
    assert str(caught.value) == message
    np.testing.assert_array_equal(net.get_weights()["0.weight"], before)
    assert net.get_weights()["1.calls"] == [1.0]  # of the step that failed, and none of the trials
    assert trainer.fit(X, LABELS, batch_size=10, epochs=20, progress=False)["loss"][-1] < 1.0


class Crowded(pn.Layer):
    """Has no memory for inference while a recording is alive."""

    alive: ClassVar["weakref.WeakSet[Any]"] = weakref.WeakSet()

    def vjp(self, x: Any, *, train: bool = True) -> tuple[Any, Pullback]:
        return x, lambda dy, **_: dy

    def forward(self, x: Any) -> Any:
        if self.alive:
            raise pn.OutOfMemory("recording", asked=2**30, free=0)
        return x


@pytest.mark.parametrize("capture", CAPTURES)
def test_validation_without_memory_drops_the_recordings_and_tries_again(recording: Backend, capture: Capture) -> None:
    made = []

    def tracked(step: Callable[[], Any], n: int, n_expected: int, *pools: Any) -> Callable[[], None]:
        replay = tape.capture(step, n)
        Crowded.alive.add(replay.__self__)
        made.append(len(pools))
        return replay

    net = pn.Sequential(pn.Linear(4, 3), Crowded())
    trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.SGD(0.1), device=replace(recording, capture=tracked), seed=3)
    logs = run(trainer, capture, validation_data=(X, LABELS))[0]
    assert [set(epoch) for epoch in logs] == [{"loss", "val_loss"}] * 3
    assert made == ([0] * 3 if capture == "auto" else [])  # anew in each epoch


@pytest.mark.parametrize("capture", CAPTURES)
def test_validation_that_has_no_memory_even_without_recordings_fails(recording: Backend, capture: Capture) -> None:
    other = pn.MSELoss()  # anything that stays alive
    Crowded.alive.add(other)
    net = pn.Sequential(pn.Linear(4, 3), Crowded())
    trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.SGD(0.1), device=recording)
    with pytest.raises(pn.OutOfMemory, match="out of memory on recording"):
        run(trainer, capture, validation_data=(X, LABELS))


def test_out_of_memory_at_every_batch_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hungry, "most", 0)
    trainer = pn.Trainer(pn.Sequential(pn.Linear(4, 3), Hungry()), pn.CrossEntropyLoss(), pn.SGD(0.1))
    with pytest.raises(pn.OutOfMemory, match=r"40.00 GiB were asked for and 0.00 GiB are free; take a smaller batch"):
        trainer.fit(X, LABELS, batch_size=40, progress=False)


class After(pn.Callback):
    """Does something after the second epoch."""

    def __init__(self, act: Callable[[Any], object]):
        self.act = act

    def on_epoch_end(self, trainer: Training, row: dict[str, float]) -> None:
        if len(trainer.history.epochs) == 2:
            self.act(trainer)


def rebind(trainer: pn.Trainer) -> None:
    trainer.optimizer.bind(trainer.net)


def swap(trainer: pn.Trainer) -> None:
    trainer.optimizer = pn.SGD(1e-3).bind(trainer.net)


@pytest.mark.parametrize("act", [rebind, swap])
def test_a_recording_is_discarded_when_the_arrays_change(recording: Backend, act: Callable[[pn.Trainer], None]) -> None:
    runs = [run(a_trainer(recording), how, epochs=5, callbacks=[After(act)]) for how in CAPTURES]
    assert_equal(*runs)
    assert runs[0][0] != run(a_trainer(recording), "auto", epochs=5)[0]


CHANGES: dict[str, Callable[[Any], object]] = {
    "momentum": lambda trainer: setattr(trainer.optimizer, "momentum", 0.1),
    "nesterov": lambda trainer: setattr(trainer.optimizer, "nesterov", True),
    "weight_decay": lambda trainer: setattr(trainer.optimizer, "weight_decay", 0.3),
    "clip_norm": lambda trainer: setattr(trainer.optimizer, "clip_norm", 0.01),
    "a loss": lambda trainer: setattr(trainer.loss, "label_smoothing", 0.5),
    "class weights": lambda trainer: setattr(trainer.loss, "weight", (0.1, 1.0, 9.0)),
    "a layer": lambda trainer: setattr(trainer.net[3], "p", 0.9),
}


class BeforeStep(pn.Callback):
    """Does something before the ninth step, within the second epoch."""

    def __init__(self, act: Callable[[Any], object]):
        self.act = act

    def on_train_batch_begin(self, trainer: Training) -> None:
        if trainer.steps == 9:
            self.act(trainer)


class AfterStep(BeforeStep):
    """Does something after the ninth step, where only that is a hook of its own."""

    def on_train_batch_end(self, trainer: Training) -> None:
        super().on_train_batch_begin(trainer)

    on_train_batch_begin = pn.Callback.on_train_batch_begin


@pytest.mark.parametrize("when", [After, BeforeStep, AfterStep])
@pytest.mark.parametrize("name", CHANGES)
def test_a_recording_is_discarded_when_settings_change(
    recording: Backend, name: str, when: Callable[..., pn.Callback]
) -> None:
    def trained(how: Capture, *callbacks: pn.Callback) -> Outcome:
        trainer = a_trainer(recording, pn.SGD(0.1, momentum=0.9))
        trainer.loss = pn.CrossEntropyLoss(weight=(1.0, 1.0, 1.0))
        return run(trainer, how, epochs=4, callbacks=callbacks)

    changed, eager = (trained(how, when(CHANGES[name])) for how in CAPTURES)
    assert_equal(changed, eager)
    assert changed[0] != trained("auto", when(lambda trainer: None))[0]


class Nameless(pn.SGD):
    """An optimizer that does not keep the argument of its constructor."""

    def __init__(self, rate: float) -> None:
        super().__init__(lr=rate)


def test_an_optimizer_that_does_not_keep_its_arguments_is_recorded(recording: Backend) -> None:
    assert_equal(*(run(a_trainer(recording, Nameless(0.1)), how) for how in CAPTURES))


def test_a_recording_is_discarded_when_the_precision_of_products_changes(recording: Backend) -> None:
    trainers = [a_trainer(recording) for _ in range(3)]
    run(trainers[0], "auto", epochs=4)
    run(trainers[1], "auto", epochs=4, callbacks=[After(lambda t: setattr(t, "float32_matmul_precision", "tf32"))])
    try:
        run(trainers[2], "auto", epochs=4, callbacks=[After(lambda t: pn.set_float32_matmul_precision("bfloat16"))])
    finally:
        pn.set_float32_matmul_precision("float32")
    once, *anew = map(calls_of, trainers)
    assert anew == [once + 1, once + 1]


def test_a_learning_rate_that_changes_keeps_the_recording(recording: Backend) -> None:
    trainers = [a_trainer(recording) for _ in range(2)]
    for trainer, callbacks in zip(trainers, ([], [pn.LearningRateScheduler(lambda t: 0.1 / (1 + t))]), strict=True):
        run(trainer, "auto", callbacks=callbacks)
    assert calls_of(trainers[0]) == calls_of(trainers[1])


@pytest.mark.parametrize("how", ["auto", "never"])
def test_weights_that_move_between_epochs_are_noticed(recording: Backend, how: Capture) -> None:
    with pytest.raises(RuntimeError, match="have moved"):
        run(a_trainer(recording), how, epochs=5, callbacks=[After(lambda trainer: trainer.net.initialize(seed=5))])


def test_an_executor_is_freed_after_fit(recording: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[weakref.ref[GraphExecutor]] = []

    def noticed(*args: Any) -> GraphExecutor:
        kept = GraphExecutor(*args)
        steps.append(weakref.ref(kept))
        return kept

    monkeypatch.setattr(portanet.training.trainer, "GraphExecutor", noticed)
    gc.disable()
    try:
        run(a_trainer(replace(recording, capture=lambda step, *pools: step)), "auto")
        assert steps[0]() is None
    finally:
        gc.enable()


class Stops(pn.Callback):
    """Ends a run as a failure of the machine would."""

    def on_train_batch_end(self, trainer: Training) -> None:
        if trainer.steps >= 8:
            raise InterruptedError


@pytest.mark.parametrize("together", [1, 3])
def test_recorded_steps_go_on_from_a_checkpoint(
    recording: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    monkeypatch.setattr(portanet.engine.graph, "STEPS_PER_GRAPH", together)
    checkpoint = pn.ModelCheckpoint(tmp_path / "run", per="step")
    whole = run(a_trainer(recording), "auto")
    with pytest.raises(InterruptedError):
        run(a_trainer(recording), "auto", callbacks=[checkpoint, Stops()])
    assert_equal(run(a_trainer(recording), "auto", callbacks=[checkpoint], resume=True), whole)
