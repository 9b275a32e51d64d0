"""Logs of epochs: JSON lines, and the files of TensorBoard."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portanet as pn

X = np.ones((8, 1))


def fit(*callbacks: pn.Callback, epochs: int = 2, **options: Any) -> pn.Trainer:
    trainer = pn.Trainer(pn.Linear(1, 1).initialize(), pn.MSELoss(), pn.SGD(0.1))
    trainer.fit(X, X, epochs=epochs, callbacks=list(callbacks), progress=False, **options)
    return trainer


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_epoch_is_a_line(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    history = fit(pn.JSONLogger(path), epochs=3, validation_data=(X, X)).history
    assert rows(path) == [{"epoch": i, **logs} for i, logs in enumerate(history.epochs, 1)]


def test_a_line_is_written_as_soon_as_its_epoch_is_done(tmp_path: Path) -> None:
    path, lengths = tmp_path / "log.jsonl", []

    class Look(pn.Callback):
        run_last = True

        def on_epoch_end(self, trainer: Any, logs: Any) -> None:
            lengths.append(len(rows(path)))

    fit(pn.JSONLogger(path), Look(), epochs=3)
    assert lengths == [1, 2, 3]


def test_a_log_is_replaced_or_continued(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    fit(pn.JSONLogger(path), epochs=3)
    fit(pn.JSONLogger(path), epochs=2)
    assert [row["epoch"] for row in rows(path)] == [1, 2]
    fit(pn.JSONLogger(path, append=True), epochs=2)
    assert [row["epoch"] for row in rows(path)] == [1, 2, 3, 4]


def test_a_resumed_run_writes_the_log_of_one_that_was_not_interrupted(tmp_path: Path) -> None:
    whole, path, checkpoint = tmp_path / "whole", tmp_path / "log", tmp_path / "run"
    fit(pn.JSONLogger(whole), epochs=4)
    fit(pn.JSONLogger(path), pn.ModelCheckpoint(checkpoint), epochs=2)
    with path.open("a") as file:
        file.write('{"epoch": 3, "loss": 9.0}\n')  # an epoch after the checkpoint
    fit(pn.JSONLogger(path, append=False), epochs=4, resume=checkpoint)
    assert path.read_text() == whole.read_text()


def test_nan_becomes_null(tmp_path: Path) -> None:
    class Undefined(pn.Callback):
        def on_epoch_end(self, trainer: Any, logs: Any) -> None:
            logs["auc"] = float("nan")

    fit(pn.JSONLogger(tmp_path / "log"), Undefined(), epochs=1)
    assert rows(tmp_path / "log")[0]["auc"] is None


@pytest.mark.parametrize("content", ["epoch,loss\n1,0.5\n", '{"epoch": 2}\n', "[1]\n", '{"epoch": 1\n', "\xff\n"])
def test_what_is_no_log_is_not_appended_to(tmp_path: Path, content: str) -> None:
    path = tmp_path / "log"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(pn.FileFormatError):
        fit(pn.JSONLogger(path, append=True))
    assert path.read_text(encoding="latin-1") == content


def events(folder: Path) -> list[Any]:
    """Read the event files of a folder."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for file in sorted(folder.glob("events.out.tfevents.*")):
        content, position = file.read_bytes(), 0
        while position < len(content):
            (length,) = struct.unpack("<Q", content[position : position + 8])
            found.append(Event.FromString(content[position + 12 : position + 12 + length]))
            position += 16 + length
    return found


def scalars(folder: Path) -> list[tuple[int, str, float]]:
    """Read the scalars of a folder: step, tag and value."""
    return [(event.step, value.tag, value.simple_value) for event in events(folder) for value in event.summary.value]


def test_tensorboard_gets_training_and_validation_in_two_folders(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    history = fit(pn.TensorBoard(tmp_path), epochs=2, validation_data=(X, X)).history
    for folder, name in (("train", "loss"), ("validation", "val_loss")):
        found = scalars(tmp_path / folder)
        assert [(step, tag) for step, tag, _ in found] == [(1, "loss"), (2, "loss")]
        np.testing.assert_allclose([value for *_, value in found], history[name], rtol=1e-6)


def test_a_resumed_run_replaces_the_epochs_after_its_checkpoint_in_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    checkpoint, log = tmp_path / "run", tmp_path / "log"
    fit(pn.ModelCheckpoint(checkpoint), epochs=2, validation_data=(X, X))
    fit(pn.TensorBoard(log), epochs=4, validation_data=(X, X), resume=checkpoint)
    for folder in ("train", "validation"):
        starts = [event.step for event in events(log / folder) if event.HasField("session_log")]
        assert starts == [3]  # TensorBoard drops what other files of the folder hold from this step on


def test_the_numbers_of_the_last_step_can_be_read_in_between() -> None:
    seen: list[Any] = []

    class Read(pn.Callback):
        def on_train_batch_begin(self, trainer: Any) -> None:
            seen.append(dict(trainer.batch_logs))

        def on_train_batch_end(self, trainer: Any) -> None:
            seen.append(dict(trainer.batch_logs))

    trainer = pn.Trainer(pn.Linear(1, 1).initialize(), pn.MSELoss(), pn.SGD(0.1), metrics=["mae"])
    history = trainer.fit(X, X, batch_size=4, sample_weight=np.ones(8), callbacks=[Read()], progress=False)
    begin, first, again, second = seen
    assert begin == {}
    assert first == again
    assert np.mean([first["loss"], second["loss"]]) == pytest.approx(history["loss"][0])
    assert np.mean([first["mae"], second["mae"]]) == pytest.approx(history["mae"][0])
    assert trainer.batch_logs == {}
