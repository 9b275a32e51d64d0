"""A run that goes on from a checkpoint ends with the bits of one that was never interrupted."""

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend
from portanet.checks import Checked, check_number
from portanet.files import read_tensors, write_tensors
from portanet.training.callbacks import Training
from tests.cases import OPTIMIZERS

rng = np.random.default_rng(0)
X = rng.normal(size=(45, 6)).astype("float32")
Y = (X[:, 0] > 0).astype("int64") + (X[:, 2] > 1)
EPOCHS, STEPS = 5, 6


class Stop(BaseException):
    """What ends a run here."""


class StopAfter(pn.Callback):
    """Ends a run as a failure of the machine would, after a number of steps."""

    def __init__(self, steps: int):
        self.steps = steps

    def on_train_batch_end(self, trainer: Training) -> None:
        if trainer.steps == self.steps:
            raise Stop


def a_trainer(optimizer: pn.Optimizer | None = None, device: Any = None, metrics: Any = "accuracy") -> pn.Trainer:
    net = pn.Sequential(pn.Linear(6, 8), pn.BatchNorm(8), pn.ReLU(), pn.Dropout(0.3), pn.Linear(8, 3))
    return pn.Trainer(net, pn.CrossEntropyLoss(), optimizer or pn.Adam(0.01), metrics=metrics, device=device, seed=3)


def the_callbacks(folder: Path, **checkpoint: Any) -> list[pn.Callback]:
    """One of each, so that all have a state to go on from."""
    checkpoint = {"path": folder / "run.safetensors", "per": "step", **checkpoint}
    return [
        pn.LearningRateScheduler(pn.schedules.CosineDecay(0.02, EPOCHS * STEPS)),
        pn.EarlyStopping("val_loss", patience=2),
        pn.CSVLogger(folder / "log.csv"),
        pn.ModelCheckpoint(**checkpoint),
    ]


def fit(trainer: pn.Trainer, callbacks: list[pn.Callback], **settings: Any) -> pn.Trainer:
    settings = {"epochs": EPOCHS, "batch_size": 8, "validation_data": (X[:9], Y[:9]), "progress": False, **settings}
    trainer.fit(X, Y, callbacks=callbacks, **settings)
    return trainer


def weights_of(trainer: pn.Trainer) -> dict[str, bytes]:
    return {name: values.tobytes() for name, values in trainer.net.get_weights().items()}


def bits(trainer: pn.Trainer, folder: Path) -> dict[str, Any]:
    """Return all that must be equal."""
    to_numpy = trainer.backend.to_numpy
    return {
        "weights": weights_of(trainer),
        "optimizer": {name: to_numpy(values).tobytes() for name, values in trainer.optimizer.state.items()},
        "history": trainer.history.epochs,
        "lr": trainer.optimizer.lr,
        "steps": trainer.steps,
        "log": (folder / "log.csv").read_text(),
        "next order": trainer._shuffle.permutation(10).tolist(),
    }


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    return one, other


@pytest.mark.parametrize("after", [1, 6, 11, 17])  # in the first epoch, at the end of one, within later ones
@pytest.mark.parametrize("per", ["step", "epoch"])
def test_a_run_goes_on_to_the_last_bit(backend: Backend, folders: tuple[Path, Path], after: int, per: str) -> None:
    whole, parts = folders
    whole_trainer = fit(a_trainer(device=backend), the_callbacks(whole, per=per))
    with pytest.raises(Stop):
        fit(a_trainer(device=backend), [*the_callbacks(parts, per=per), StopAfter(after)])
    again = fit(a_trainer(device=backend), the_callbacks(parts, per=per), resume=True)
    assert bits(again, parts) == bits(whole_trainer, whole)


@pytest.mark.parametrize(
    "settings", [{"shuffle": False}, {"sample_weight": np.arange(1, 46) / 45}], ids=["order", "weights"]
)
@pytest.mark.parametrize("optimizer", [lambda: pn.SGD(0.1, momentum=0.9), pn.RMSprop], ids=["SGD", "RMSprop"])
def test_other_settings_go_on_to_the_last_bit(
    folders: tuple[Path, Path], settings: dict[str, Any], optimizer: Callable[[], pn.Optimizer]
) -> None:
    whole, parts = folders
    whole_trainer = fit(a_trainer(optimizer()), the_callbacks(whole), **settings)
    with pytest.raises(Stop):
        fit(a_trainer(optimizer()), [*the_callbacks(parts), StopAfter(8)], **settings)
    again = fit(a_trainer(optimizer()), the_callbacks(parts), resume=parts / "run.safetensors", **settings)
    assert bits(again, parts) == bits(whole_trainer, whole)


@pytest.mark.filterwarnings("ignore:LBFGS needs all 45 examples")
@pytest.mark.parametrize("again", ["copy", "pickle", "file"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_every_optimizer_goes_on_to_the_last_bit(optimizer: pn.Optimizer, again: str, tmp_path: Path) -> None:
    trainer = a_trainer(copy.deepcopy(optimizer))
    trainer.fit(X, Y, epochs=2, progress=False)
    if again == "file":
        trainer.save(tmp_path / "run.safetensors")
        other = a_trainer(copy.deepcopy(optimizer))
        other.load(tmp_path / "run.safetensors")
    else:
        other = copy.deepcopy(trainer) if again == "copy" else pickle.loads(pickle.dumps(trainer))
    for run in (trainer, other):
        run.fit(X, Y, epochs=2, progress=False)
    for name, values in trainer.net.get_weights().items():
        np.testing.assert_array_equal(values, other.net.get_weights()[name], name)


@pytest.mark.parametrize("after", [1, 6, 11, 17])
@pytest.mark.parametrize("per", ["step", "epoch"])
@pytest.mark.parametrize("decay", [None, 0.9])
def test_averages_of_weights_go_on_to_the_last_bit(
    backend: Backend, folders: tuple[Path, Path], after: int, per: str, decay: float | None
) -> None:
    whole, parts = folders

    def callbacks(folder: Path) -> list[pn.Callback]:
        scheduler, _, *others = the_callbacks(folder, per=per)
        return [scheduler, pn.WeightAveraging(decay, start_epoch=1), *others]

    fit(whole_trainer := a_trainer(device=backend), callbacks(whole))
    with pytest.raises(Stop):
        fit(a_trainer(device=backend), [*callbacks(parts), StopAfter(after)])
    fit(again := a_trainer(device=backend), callbacks(parts), resume=True)
    assert bits(again, parts) == bits(whole_trainer, whole)
    fit(ended := a_trainer(device=backend), callbacks(parts), resume=True)  # the run has ended before
    assert weights_of(ended) == weights_of(whole_trainer)


def test_averages_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    fit(a_trainer(), [pn.WeightAveraging(), pn.ModelCheckpoint(path)], epochs=1)
    arrays, metadata = read_tensors(path)
    state = json.loads(metadata["trainer"])
    (own,) = [call["state"] for call in state["fit"]["callbacks"] if call["class"] == "WeightAveraging"]
    own["averages"].pop()
    write_tensors(path, arrays, {**metadata, "trainer": json.dumps(state)})
    with pytest.raises(pn.FileFormatError, match=r"WeightAveraging refuses the state .* the averages have shapes"):
        fit(a_trainer(), [pn.WeightAveraging(), pn.ModelCheckpoint(path)], resume=True)


def spread_of_scores(prediction: Any, target: Any) -> float:
    """Return a metric that is no mean over batches."""
    return float(np.std(prediction))


spread_of_scores.needs_all = True  # type: ignore[attr-defined]


def test_a_metric_of_all_predictions_goes_on(folders: tuple[Path, Path]) -> None:
    whole, parts = folders
    metrics = ["accuracy", spread_of_scores]
    whole_trainer = fit(a_trainer(metrics=metrics), the_callbacks(whole))
    with pytest.raises(Stop):
        fit(a_trainer(metrics=metrics), [*the_callbacks(parts), StopAfter(9)])
    again = fit(a_trainer(metrics=metrics), the_callbacks(parts), resume=True)
    assert bits(again, parts) == bits(whole_trainer, whole)


def undefined(prediction: Any, target: Any) -> float:
    """Return NaN, as a metric does for a batch without examples of a class."""
    return float("nan")


undefined.needs_all = False  # type: ignore[attr-defined]


def test_a_metric_that_is_not_a_number_does_not_prevent_checkpoints(tmp_path: Path) -> None:
    checkpoint = pn.ModelCheckpoint(tmp_path / "run", per="step")
    with pytest.raises(Stop):
        fit(a_trainer(metrics=undefined), [checkpoint, StopAfter(8)])
    trainer = fit(a_trainer(metrics=undefined), [checkpoint], resume=True)
    assert trainer.steps == EPOCHS * STEPS
    assert np.isnan(trainer.history["undefined"]).all()


def test_a_run_that_a_callback_has_stopped_is_not_prolonged(folders: tuple[Path, Path]) -> None:
    class StopEarly(pn.Callback):
        def on_epoch_end(self, trainer: Training, logs: dict[str, float]) -> None:
            if len(trainer.history.epochs) == 2:
                trainer.stop()

    folder, _ = folders
    checkpoint = pn.ModelCheckpoint(folder / "run.safetensors")
    trainer = fit(a_trainer(), [StopEarly(), checkpoint])
    again = fit(a_trainer(), [StopEarly(), checkpoint], resume=True)
    assert len(again.history.epochs) == 2
    assert weights_of(again) == weights_of(trainer)


def test_more_epochs_are_trained_after_the_end(tmp_path: Path) -> None:
    checkpoint = pn.ModelCheckpoint(tmp_path / "run.safetensors")
    whole = fit(a_trainer(), [], epochs=4)
    fit(a_trainer(), [checkpoint], epochs=2)
    again = fit(a_trainer(), [checkpoint], epochs=4, resume=True)
    assert again.history.epochs == whole.history.epochs


def test_metrics_may_change_between_epochs(tmp_path: Path) -> None:
    checkpoint = pn.ModelCheckpoint(tmp_path / "run.safetensors")
    fit(a_trainer(metrics="accuracy"), [checkpoint], epochs=1)
    trainer = fit(a_trainer(metrics=()), [checkpoint], epochs=2, resume=True)
    assert [sorted(logs) for logs in trainer.history.epochs] == [
        ["accuracy", "loss", "val_accuracy", "val_loss"],
        ["loss", "val_loss"],
    ]


def test_resume_begins_anew_where_there_is_no_checkpoint_yet(tmp_path: Path) -> None:
    trainer = fit(a_trainer(), [pn.ModelCheckpoint(tmp_path / "run.safetensors")], resume=True)
    assert len(trainer.history.epochs) == EPOCHS


def test_a_trainer_is_saved_and_loaded_outside_of_fit(backend: Backend, tmp_path: Path) -> None:
    trainer = fit(a_trainer(device=backend), [], epochs=2)
    trainer.save(tmp_path / "run")
    again = a_trainer(device=backend)
    again.load(tmp_path / "run")
    assert (again.steps, again.history.epochs) == (trainer.steps, trainer.history.epochs)
    histories = [fit(each, [], epochs=2).history.epochs for each in (trainer, again)]
    assert histories[0] == histories[1]


def test_the_network_of_a_checkpoint_is_loaded_alone(tmp_path: Path) -> None:
    trainer = fit(a_trainer(), [pn.ModelCheckpoint(tmp_path / "run")])
    np.testing.assert_array_equal(pn.load(tmp_path / "run").predict(X), trainer.predict(X))


def test_a_network_without_training_is_no_checkpoint(tmp_path: Path) -> None:
    a_trainer().net.save(tmp_path / "net")
    with pytest.raises(pn.FileFormatError, match="it holds a network without the state of its training"):
        fit(a_trainer(), [], resume=tmp_path / "net")


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        fit(a_trainer(), [], resume=tmp_path / "nowhere")


def test_settings_of_the_optimizer_are_those_of_the_checkpoint(tmp_path: Path) -> None:
    fit(a_trainer(pn.Adam(0.03, betas=(0.8, 0.99), weight_decay=0.1)), []).save(tmp_path / "run")
    trainer = a_trainer(pn.Adam(weight_decay=0.1))
    replaced = r"betas=\(0.9, 0.999\) of the optimizer gives way to the checkpoint's Adam"
    with pytest.warns(UserWarning, match=replaced) as caught:
        trainer.load(tmp_path / "run")
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match=replaced) as caught:
        a_trainer(pn.Adam(weight_decay=0.1)).fit(X, Y, progress=False, resume=tmp_path / "run")
    assert caught[0].filename == __file__
    assert repr(trainer.optimizer) == "Adam(lr=0.03, betas=(0.8, 0.99), weight_decay=0.1)"


class Bounded(pn.Adagrad):
    """An optimizer with two settings that must fit together."""

    low, high = Checked(check_number), Checked(check_number)

    def __init__(self, low: float, high: float):
        super().__init__(0.1)
        self.low, self.high = low, high
        self._check_together()

    def _check_together(self) -> None:
        if self.low >= self.high:
            raise ValueError(f"low must be below high={self.high}, got {self.low}")


@pytest.mark.filterwarnings("ignore:low=1.0, high=2.0 of the optimizer gives way")
def test_settings_that_must_fit_together_are_taken_together(tmp_path: Path) -> None:
    a_trainer(Bounded(3.0, 4.0)).save(tmp_path / "run")
    trainer = a_trainer(Bounded(1.0, 2.0))
    trainer.load(tmp_path / "run")
    assert repr(trainer.optimizer) == "Bounded(3.0, 4.0)"


def test_frozen_layers_are_those_of_the_checkpoint(tmp_path: Path) -> None:
    trainer = a_trainer()
    trainer.net[0].freeze()  # type: ignore[index]
    trainer.save(tmp_path / "run")
    again = a_trainer()
    again.load(tmp_path / "run")
    assert again.net.topology.frozen == trainer.net.topology.frozen == {"0", "0.weight", "0.bias"}


def other(**changes: Any) -> pn.Trainer:
    parts: dict[str, Any] = {"net": a_trainer().net, "loss": pn.CrossEntropyLoss(), "optimizer": pn.Adam(0.01)}
    return pn.Trainer(**{**parts, **changes}, metrics="accuracy")


UNFIT: dict[str, tuple[Callable[[], pn.Trainer], dict[str, Any], str]] = {
    "another layer": (
        lambda: other(net=pn.Sequential(*a_trainer().net.layers[:3], pn.Dropout(0.2), pn.Linear(8, 3))),  # type: ignore[attr-defined]
        {},
        r"the part '3' of its network is Dropout\(p=0.3\), but that of the Trainer's is Dropout\(p=0.2\)",
    ),
    "another dtype": (
        lambda: other(net=a_trainer().net.to(dtype="float64")),
        {},
        "its weights are float32, but the Trainer's are float64",
    ),
    "another loss": (lambda: other(loss=pn.CrossEntropyLoss(label_smoothing=0.1)), {}, "it was trained with the loss"),
    "another optimizer": (
        lambda: other(optimizer=pn.SGD()),
        {},
        r"the state of Adam.*, but the Trainer has SGD",
    ),
    "fewer callbacks": (
        a_trainer,
        {"callbacks": []},
        "the state of a callback .*: give fit the same callbacks",
    ),
    "another batch size": (a_trainer, {"batch_size": 9}, "within an epoch of 45 examples in 6 steps, after step 1"),
    "another order": (
        a_trainer,
        {"shuffle": False},
        "give fit the same data, batch_size, shuffle",
    ),
    "fewer metrics": (
        lambda: a_trainer(metrics=()),
        {},
        "give fit the same data, batch_size, shuffle",
    ),
    "another metric": (
        lambda: a_trainer(metrics={"score": pn.accuracy}),
        {},
        "the same data, batch_size, shuffle, truncated_bptt_steps and metrics",
    ),
}


@pytest.mark.parametrize("name", UNFIT)
def test_a_checkpoint_of_other_training_is_refused_and_changes_nothing(folders: tuple[Path, Path], name: str) -> None:
    build, settings, fault = UNFIT[name]
    folder, own = folders
    with pytest.raises(Stop):
        fit(a_trainer(), [*the_callbacks(folder), StopAfter(8)])
    trainer = build()
    trainer.fit(X, Y, progress=False)
    weights, before = weights_of(trainer), trainer._copy_state()
    settings = {"callbacks": the_callbacks(own), **settings}
    with pytest.raises(pn.FileFormatError, match=fault):
        fit(trainer, resume=folder / "run.safetensors", **settings)
    after = trainer._copy_state()
    assert repr(after.state) == repr(before.state)
    assert weights_of(trainer) == weights


OF_ONE_KEY: dict[str, Any] = {
    "steps": [-1, "3", None, 1.5, 10**400],
    "shuffle": [
        None,
        3,
        {},
        {"bit_generator": "MT19937"},
        {"bit_generator": "PCG64", "state": {"state": -1, "inc": 0}},
    ],
    "history": [None, 3, [3], [{"loss": "low"}], [{"loss": None}], {"loss": 1}],
    "optimizer": [None, {}, {"optimizer": {"type": "portanet.ReLU"}, "arrays": {}}, {"optimizer": [], "arrays": 3}],
    "loss": [None, "MSELoss"],
    "fit": [3, {}, [], {"n_done": -1}, {"n_done": "x"}],
}
MISSING = object()
"""Stands for a key that is not there."""

HOSTILE: list[tuple[tuple[Any, ...], Any]] = [
    *(((key,), value) for key, values in OF_ONE_KEY.items() for value in values),
    *(((key,), MISSING) for key in ("fit", "loss", "steps", "history", "optimizer", "shuffle")),
    (("history",), [{"\ud800": 1.0}]),
    (("history",), [{"\x1b[2J": 1.0}]),
    (("history",), [{"loss": 10**400}]),
    (("shuffle", "has_uint32"), 10**400),
    (("shuffle", "state", "inc"), 0.5),
    (("optimizer", "arrays", "step"), {"$array": "trainer/none"}),
    (("optimizer", "arrays", "step"), {"$array": float("nan")}),
    (("optimizer", "arrays"), [{"$array": "trainer/0"}]),
    (("fit", "n_done"), 100),
    (("fit", "n_done"), 2),
    (("fit", "losses"), {"$array": "trainer/0"}),
    (("fit", "losses"), 3),
    (("fit", "metrics"), {"$array": "trainer/0"}),
    (("fit", "metrics"), 3),
    (("fit", "metrics"), [[0.5], [10**400]]),
    (("fit", "metrics"), [[0.5, 0.5], [0.5]]),
    (("fit", "kept"), [[1, 2]]),
    (("fit", "kept"), [[{"$array": "trainer/0"}, {"$array": "trainer/0"}]]),
    (("fit", "epoch"), None),
    (("fit", "stopped"), "no"),
    (("fit", "callbacks"), {"EarlyStopping": {}}),
    (("fit", "callbacks"), [["EarlyStopping", {}]]),
    (("fit", "callbacks", 1, "state", "weights"), None),
    (("fit", "callbacks", 1, "state", "weights"), []),
    (("fit", "callbacks", 1, "state", "weights", 0), 3),
    (("fit", "callbacks", 1, "state", "best"), "high"),
    (("fit", "callbacks", 0, "state", "before"), MISSING),
    (("fit", "callbacks", 2, "state", "earlier"), MISSING),
]
"""Values in the state of a Trainer, by their place in it; most were found by tests/test_hostile_files.py."""


@pytest.mark.parametrize("i", range(len(HOSTILE)))
def test_a_hostile_state_is_refused_and_changes_nothing(folders: tuple[Path, Path], i: int) -> None:
    (*parents, last), value = HOSTILE[i]
    folder, own = folders
    with pytest.raises(Stop):
        fit(a_trainer(), [*the_callbacks(folder), StopAfter(8)])
    path = folder / "run.safetensors"
    arrays, metadata = read_tensors(path)
    state: Any = json.loads(metadata["trainer"])
    place = state
    for key in parents:
        place = place[key]
    if value is MISSING:
        del place[last]
    else:
        place[last] = value
    write_tensors(path, arrays, {**metadata, "trainer": json.dumps(state)})
    trainer = fit(a_trainer(), the_callbacks(own), epochs=1)
    before = bits(trainer, own)
    with pytest.raises(pn.FileFormatError, match=f"^{path} cannot be loaded: ") as raised:
        fit(trainer, the_callbacks(own), resume=path)
    assert "\n" not in str(raised.value)
    after = bits(trainer, own)
    assert after | {"next order": None} == before | {"next order": None}


def test_an_optimizer_that_counts_less_than_no_step_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run"
    trainer = fit(a_trainer(), [], epochs=1)
    trainer.save(path)
    arrays, metadata = read_tensors(path)
    place = json.loads(metadata["trainer"])["optimizer"]["arrays"]["step"]["$array"]
    for steps in (-1, np.nan):
        write_tensors(path, {**arrays, place: np.full_like(arrays[place], steps)}, metadata)
        with pytest.raises(pn.FileFormatError, match="counts less than 0 steps"):
            a_trainer().load(path)


@pytest.mark.parametrize(
    ("optimizer", "name", "value"), [(pn.Adam(), "amsgrad", True), (pn.SGD(), "momentum", 0.9)], ids=["Adam", "SGD"]
)
def test_settings_that_need_other_arrays_are_refused_and_change_nothing(
    tmp_path: Path, optimizer: pn.Adam | pn.SGD, name: str, value: Any
) -> None:
    path = tmp_path / "run"
    fit(a_trainer(optimizer), [], epochs=1).save(path)
    arrays, metadata = read_tensors(path)
    state = json.loads(metadata["trainer"])
    state["optimizer"]["optimizer"] |= {"lr": 0.25, name: value}
    write_tensors(path, arrays, {**metadata, "trainer": json.dumps(state)})
    trainer = a_trainer(copy.deepcopy(optimizer))
    with pytest.raises(pn.FileFormatError, match="are not the state of"):
        trainer.load(path)
    assert repr(trainer.optimizer) == repr(type(optimizer)())


def test_the_newest_files_are_kept(tmp_path: Path) -> None:
    checkpoint = pn.ModelCheckpoint(tmp_path / "new" / "run-{epoch:02d}-{val_loss:.1f}", keep=2)
    trainer = fit(a_trainer(), [checkpoint])
    files = sorted(file.name for file in (tmp_path / "new").iterdir())
    losses = trainer.history["val_loss"]
    assert files == [f"run-{epoch:02d}-{losses[epoch - 1]:.1f}" for epoch in (4, 5)]
    assert sorted(checkpoint.found()) == [tmp_path / "new" / file for file in files]


def test_all_files_are_kept_if_asked_for(tmp_path: Path) -> None:
    fit(a_trainer(), [pn.ModelCheckpoint(tmp_path / "run-{step}", per="step", every=10, keep=None)])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["run-10", "run-20", "run-30"]


def test_a_resumed_run_deletes_the_files_of_the_run_before(tmp_path: Path) -> None:
    checkpoint = pn.ModelCheckpoint(tmp_path / "run-{epoch}", keep=2)
    (tmp_path / "run-0").touch()  # not ours
    fit(a_trainer(), [checkpoint], epochs=3)
    fit(a_trainer(), [pn.ModelCheckpoint(tmp_path / "run-{epoch}", keep=2)], epochs=4, resume=tmp_path / "run-3")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["run-0", "run-3", "run-4"]


def test_a_monitored_metric_decides(tmp_path: Path) -> None:
    class Scores(pn.Callback):
        def on_epoch_end(self, trainer: Training, logs: dict[str, float]) -> None:
            logs["score"] = [0.5, 0.7, 0.6, 0.8, 0.1][len(trainer.history.epochs) - 1]

    fit(a_trainer(), [Scores(), pn.ModelCheckpoint(tmp_path / "{epoch}-{score}", monitor="score", keep=None)])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["1-0.5", "2-0.7", "4-0.8"]


def test_a_full_disk_leaves_the_old_file_and_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, written = tmp_path / "run", []

    class Full(pn.Callback):
        def on_epoch_end(self, trainer: Training, logs: dict[str, float]) -> None:
            if len(trainer.history.epochs) == 3:
                written.append(path.read_bytes())
                monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))

    with pytest.warns(RuntimeWarning, match="no checkpoint was written: .*No space left on device: .*run"):
        trainer = fit(a_trainer(), [Full(), pn.ModelCheckpoint(path)])
    assert len(trainer.history.epochs) == EPOCHS
    assert [path.read_bytes()] == written
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"path": "run", "keep": 2}, r"keep=2 needs a path with {epoch} or {step} in it, got run"),
        ({"path": "run-{loss}", "keep": None}, r"keep=None needs a path with {epoch} or {step}"),
        ({"path": "run-{epoch"}, r"path must have each { closed by a }, got run-{epoch"),
        ({"path": "run", "monitor": "val_loss", "per": "step"}, "per='step' allows no metrics, .*monitor='val_loss'"),
        ({"path": "{loss}-{step}", "per": "step"}, "per='step' allows no metrics, .*path={loss}-{step}"),
        ({"path": "run", "monitor": "gain"}, "monitor 'gain' may be better low or high"),
    ],
    ids=str,
)
def test_settings_that_do_not_fit_together_are_refused(settings: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        pn.ModelCheckpoint(**settings)


def test_a_part_of_the_path_that_cannot_be_filled_in_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"path .* has a part that cannot be filled in .*: there are loss, accuracy"):
        fit(a_trainer(), [pn.ModelCheckpoint(tmp_path / "{loss:d}")])


def test_a_network_that_cannot_be_saved_is_refused_before_training(tmp_path: Path) -> None:
    net = pn.Linear(6, 3)
    net.extra = pn.Linear(2, 2)
    trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.SGD())
    with pytest.raises(ValueError, match="cannot be saved"):
        fit(trainer, [pn.ModelCheckpoint(tmp_path / "run")])
    assert trainer.steps == 0


def test_resume_needs_a_checkpoint_callback() -> None:
    with pytest.raises(ValueError, match="resume=True needs a ModelCheckpoint among the callbacks"):
        fit(a_trainer(), [], resume=True)
    with pytest.raises(ValueError, match="resume must be True, False or a path, got 3"):
        fit(a_trainer(), [], resume=3)


def test_a_trainer_does_not_load_while_it_trains(tmp_path: Path) -> None:
    class Loads(pn.Callback):
        def on_epoch_end(self, trainer: Training, logs: dict[str, float]) -> None:
            trainer.load(tmp_path / "run")  # type: ignore[attr-defined]

    with pytest.raises(RuntimeError, match="cannot load a checkpoint while it trains"):
        fit(a_trainer(), [Loads()])


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda trainer: pickle.loads(pickle.dumps(trainer))], ids=["copy", "pickle"]
)
def test_a_copy_trains_on_as_the_original(backend: Backend, copied: Callable[[pn.Trainer], pn.Trainer]) -> None:
    trainer = fit(a_trainer(device=backend), [], epochs=2)
    again = copied(trainer)
    assert again.net is not trainer.net
    assert again.history.epochs == trainer.history.epochs
    assert fit(again, [], epochs=2).history.epochs == fit(trainer, [], epochs=2).history.epochs


@pytest.mark.parametrize("what", ["net", "loss", "optimizer", "history", *map(type, the_callbacks(Path()))], ids=str)
def test_the_parts_of_a_trainer_can_be_copied_and_pickled(tmp_path: Path, what: Any) -> None:
    callbacks = the_callbacks(tmp_path)
    trainer = fit(a_trainer(), callbacks, epochs=2)
    part = getattr(trainer, what) if isinstance(what, str) else next(c for c in callbacks if type(c) is what)
    for again in (copy.deepcopy(part), pickle.loads(pickle.dumps(part))):
        assert type(again) is type(part)
    if isinstance(part, pn.Callback):
        fit(a_trainer(), [again], epochs=1)


@pytest.mark.parametrize(
    "state", [{"seen": {1, 2}}, {"by class": {0: 1.0}}, {"fn": print}, {"x": {"$array": "1"}}], ids=str
)
def test_a_callback_whose_state_cannot_be_saved_is_told(tmp_path: Path, state: dict[str, Any]) -> None:
    class Odd(pn.Callback):
        def state_dict(self) -> dict[str, Any]:
            return state

    with pytest.raises(TypeError, match="state_dict must hold numbers, texts, arrays, lists and dicts with texts"):
        fit(a_trainer(), [Odd(), pn.ModelCheckpoint(tmp_path / "run")])


def test_a_callback_that_refuses_to_begin_leaves_the_network_as_it_was(tmp_path: Path) -> None:
    fit(a_trainer(), [pn.ModelCheckpoint(tmp_path / "run")])
    trainer = a_trainer()
    weights = weights_of(trainer)
    with pytest.raises(ValueError, match="give fit validation_data"):
        fit(trainer, [pn.EarlyStopping("val_loss")], resume=tmp_path / "run", validation_data=None)
    assert weights_of(trainer) == weights
    assert trainer.steps == 0


def test_a_checkpoint_listed_first_holds_what_the_other_callbacks_did_in_the_step(tmp_path: Path) -> None:
    class Counts(pn.Callback):
        def on_train_begin(self, trainer: Training) -> None:
            self.count = 0

        def on_train_batch_end(self, trainer: Training) -> None:
            self.count += 1

        def state_dict(self) -> dict[str, Any]:
            return {"count": self.count}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.count = state["count"]

    counts, path = Counts(), tmp_path / "run"
    with pytest.raises(Stop):
        fit(a_trainer(), [pn.ModelCheckpoint(path, per="step"), Counts(), StopAfter(8)])
    fit(a_trainer(), [counts], resume=path)
    assert counts.count == EPOCHS * STEPS


def test_a_refused_checkpoint_leaves_the_log_as_it_was(folders: tuple[Path, Path]) -> None:
    folder, own = folders
    fit(a_trainer(), the_callbacks(folder, per="epoch"))
    (own / "log.csv").write_text("epoch,loss\n1,0.5\n")
    with pytest.raises(pn.FileFormatError, match="EarlyStopping"):
        fit(a_trainer(), [pn.CSVLogger(own / "log.csv"), the_callbacks(own)[0]], resume=folder / "run.safetensors")
    assert (own / "log.csv").read_text() == "epoch,loss\n1,0.5\n"


def test_best_weights_that_the_checkpoint_lacks_are_not_restored(tmp_path: Path) -> None:
    checkpoint = pn.ModelCheckpoint(tmp_path / "run")
    fit(a_trainer(), [pn.EarlyStopping(restore_best_weights=False), checkpoint], epochs=2)
    with pytest.raises(pn.FileFormatError, match=r"EarlyStopping refuses the state .* the best weights have shapes"):
        fit(a_trainer(), [pn.EarlyStopping(), checkpoint], resume=True)


def test_the_last_epoch_is_taken_and_not_the_best(tmp_path: Path) -> None:
    best = pn.ModelCheckpoint(tmp_path / "best", monitor="val_loss", mode="max")
    last = pn.ModelCheckpoint(tmp_path / "last")
    fit(a_trainer(), [best, last], epochs=3)
    trainer = fit(a_trainer(), [best, last], epochs=3, resume=True)
    assert len(trainer.history.epochs) == 3


def test_files_that_are_no_checkpoints_are_passed_over(tmp_path: Path) -> None:
    checkpoint = pn.ModelCheckpoint(tmp_path / "run-{epoch}")
    fit(a_trainer(), [checkpoint], epochs=2)
    a_trainer().net.save(tmp_path / "run-final")
    (tmp_path / "run-notes").mkdir()
    (tmp_path / "run-text").write_text("no checkpoint")
    header = b'{"__metadata__": 5}'
    (tmp_path / "run-number").write_bytes(len(header).to_bytes(8, "little") + header + b" ")
    assert [file.name for file in checkpoint.found()] == ["run-2"]


@pytest.mark.parametrize("per", ["step", "epoch"])
def test_a_warning_of_a_checkpoint_points_at_the_call_of_fit(tmp_path: Path, per: Any) -> None:
    (tmp_path / "file").touch()
    with pytest.warns(RuntimeWarning, match="no checkpoint was written") as caught:
        a_trainer().fit(X, Y, callbacks=pn.ModelCheckpoint(tmp_path / "file" / "run", per=per), progress=False)
    assert {each.filename for each in caught} == {__file__}


def test_a_run_that_diverges_does_not_replace_its_last_finite_checkpoint(tmp_path: Path) -> None:
    class Breaks(pn.Callback):
        def on_train_batch_end(self, trainer: Training) -> None:
            if trainer.steps == 4:
                trainer.net.flat.data[...] = np.inf

    path = tmp_path / "run"
    with (
        pytest.warns(RuntimeWarning, match="no checkpoint was written: weights or states .* no longer finite"),
        pytest.raises(pn.Diverged),
    ):
        fit(a_trainer(), [pn.ModelCheckpoint(path, per="step"), Breaks()])
    trainer = a_trainer()
    trainer.load(path)
    assert trainer.steps == 3


def test_a_monitor_does_not_miss_what_was_never_written(tmp_path: Path) -> None:
    class Falls(pn.Callback):
        def on_epoch_end(self, trainer: Training, logs: dict[str, float]) -> None:
            logs["score"] = -len(trainer.history.epochs)

    fit(a_trainer(), [Falls(), pn.ModelCheckpoint(tmp_path / "run", monitor="score", every=3)])
    assert (tmp_path / "run").exists()


def test_fit_within_fit_is_refused() -> None:
    class Fits(pn.Callback):
        def on_epoch_end(self, trainer: Training, logs: dict[str, float]) -> None:
            trainer.fit(X, Y)  # type: ignore[attr-defined]

    with pytest.raises(RuntimeError, match="fit of this Trainer is running"):
        fit(a_trainer(), [Fits()])
