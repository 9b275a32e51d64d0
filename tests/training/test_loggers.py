"""Logs of epochs: CSV, JSON lines, and the files of TensorBoard."""

import csv
import json
import struct
import subprocess
import sys
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


class Adds(pn.Callback):
    """Adds an entry to the epochs, with one value for each."""

    def __init__(self, name: str, *values: float):
        self.name, self.values = name, values

    def on_epoch_end(self, trainer: Any, logs: Any) -> None:
        logs[self.name] = self.values[len(trainer.history.epochs) - 1]


def test_csv_has_a_line_an_epoch(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    for _ in range(2):  # the second fit starts a new log
        trainer = fit(Adds("score", 1, 2), pn.CSVLogger(path), epochs=2)
    table = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["epoch"] for row in table] == ["1", "2"]
    assert [float(row["loss"]) for row in table] == trainer.history["loss"]
    assert [float(row["score"]) for row in table] == [1, 2]


class Sometimes(pn.Callback):
    """Adds an entry in every second epoch, and another one in each."""

    def __init__(self, first: int):
        self.first = first

    def on_epoch_end(self, trainer: Any, logs: Any) -> None:
        if len(trainer.history.epochs) % 2 == self.first:
            logs["auc"] = 0.5
        logs["seconds"] = 7.0


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("logger_first", [True, False])
def test_each_value_of_the_log_is_under_its_name(tmp_path: Path, first: int, logger_first: bool) -> None:
    path, seen = tmp_path / "log.csv", []

    class Reader(pn.Callback):
        run_last = True

        def on_epoch_end(self, trainer: Any, logs: Any) -> None:
            seen.append(list(csv.DictReader(path.read_text().splitlines())))

    calls = [Sometimes(first), pn.CSVLogger(path), Reader()]
    if logger_first:
        calls = [calls[1], calls[0], calls[2]]
    trainer = fit(*calls, epochs=5)
    table = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["epoch"] for row in table] == list("12345")
    assert [row["auc"] for row in table] == ["0.5" if i % 2 == first else "" for i in range(1, 6)]
    assert [row["seconds"] for row in table] == ["7.0"] * 5
    assert [float(row["loss"]) for row in table] == trainer.history["loss"]
    assert [len(table) for table in seen] == [1, 2, 3, 4, 5]
    assert all(row.keys() <= {"epoch", "loss", "auc", "seconds"} for table in seen for row in table)


def test_a_log_that_cannot_be_written_fails_before_training(tmp_path: Path) -> None:
    trainer = pn.Trainer(pn.Linear(1, 1), pn.MSELoss(), pn.SGD(0.01))
    before = trainer.net.flat.data.copy()
    with pytest.raises(FileNotFoundError):
        trainer.fit(X, X, callbacks=[pn.CSVLogger(tmp_path / "missing" / "log.csv")], progress=False)
    np.testing.assert_array_equal(trainer.net.flat.data, before)


def test_a_csv_file_stays_where_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("kept")
    with pytest.raises(ValueError, match="needs 'val_loss', which is not recorded"):
        fit(pn.CSVLogger(path), pn.EarlyStopping("val_loss"))
    assert path.read_text() == "kept"
    fit(pn.CSVLogger(path))
    assert path.read_text().startswith("epoch,loss")


def test_an_appended_log_keeps_the_epochs_before(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    for metrics, epochs in (([], 2), (["mse"], 1)):
        trainer = pn.Trainer(pn.Linear(1, 1), pn.MSELoss(), pn.SGD(0.1), metrics=metrics)
        trainer.fit(X, X, epochs=epochs, callbacks=pn.CSVLogger(path, append=True), progress=False)
    with path.open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["epoch"] for row in table] == ["1", "2", "3"]
    assert [bool(row["mse"]) for row in table] == [False, False, True]


NO_LOGS = {
    "another separator": b"name;age\na;3\n",
    "a cell too many": b"epoch,loss\n1,0.5,7\n",
    "a cell too few": b"epoch,loss\n1\n",
    "half a row": b"epoch,loss\n1,0.5\n2,",
    "a byte order mark": b"\xef\xbb\xbfepoch,loss\n1,2\n",
    "a NUL byte": b"epoch,loss\n1,0.5\0\n",
    "NUL bytes only": bytes(100),
    "no UTF-8": b"epoch,loss\n1,\xff\n",
    "a field of a megabyte": b"epoch,loss\n1," + b"5" * 2**20 + b"\n",
    "an epoch in words": b"epoch,loss\none,0.5\n",
    "an epoch of thousands of digits": b"epoch,loss\n" + b"9" * 5000 + b",0.5\n",
    "a fractional epoch": b"epoch,loss\n1.5,0.5\n",
    "no epoch": b"epoch,loss\n,0.5\n",
    "two columns of one name": b"epoch,loss,loss\n1,0.5,0.6\n",
    "two epochs": b"epoch,epoch\n1,1\n",
    "a value in words": b"epoch,loss\n1,low\n",
    "an open quote": b'epoch,loss\n1,"0.5\n',
}


@pytest.mark.parametrize("kind", NO_LOGS)
def test_a_file_that_is_no_log_is_not_appended_to(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(NO_LOGS[kind])
    with pytest.raises(pn.FileFormatError, match=f"^{path} cannot be loaded: ") as raised:
        fit(pn.CSVLogger(path, append=True))
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 1000
    assert path.read_bytes() == NO_LOGS[kind]


def test_a_log_that_is_rewritten_is_never_half_a_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.csv"
    fit(pn.CSVLogger(path), epochs=3)
    before = path.read_bytes()
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left on device"):
        fit(pn.CSVLogger(path, append=True))
    assert path.read_bytes() == before


def test_a_log_names_columns_in_any_language(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    for _ in range(2):
        fit(Adds("Übung", 0.5), pn.CSVLogger(path, append=True), epochs=1)
    assert path.read_text(encoding="utf-8").splitlines()[0] == "epoch,loss,Übung"


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
    fit(pn.JSONLogger(tmp_path / "log"), Adds("auc", np.nan), epochs=1)
    assert rows(tmp_path / "log")[0]["auc"] is None


@pytest.mark.parametrize("content", ["epoch,loss\n1,0.5\n", '{"epoch": "2"}\n', "[1]\n", '{"epoch": 1\n', "\xff\n"])
def test_what_is_no_log_is_not_appended_to(tmp_path: Path, content: str) -> None:
    path = tmp_path / "log"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(pn.FileFormatError):
        fit(pn.JSONLogger(path, append=True))
    assert path.read_text(encoding="latin-1") == content


def test_a_line_that_was_cut_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text('{"epoch": 1}\n{"epoch": 2, "lo')
    with pytest.raises(pn.FileFormatError, match="line 2 is no epoch of a JSONLogger: give another path, or append=F"):
        fit(pn.JSONLogger(path, append=True))


def test_epochs_are_numbered_after_the_last_one_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "lines").write_text('{"epoch": 5, "loss": 1.0}\n')
    (tmp_path / "csv").write_text("epoch,loss\n5,1.0\n")
    fit(pn.JSONLogger(tmp_path / "lines", append=True), pn.CSVLogger(tmp_path / "csv", append=True), epochs=2)
    assert [row["epoch"] for row in rows(tmp_path / "lines")] == [5, 6, 7]
    assert [row["epoch"] for row in csv.DictReader((tmp_path / "csv").read_text().splitlines())] == ["5", "6", "7"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no /dev/stdout")
@pytest.mark.parametrize("logger", ["CSVLogger", "JSONLogger"])
def test_a_log_goes_to_standard_output_once(logger: str) -> None:
    code = (
        "import numpy as np, portanet as pn\n"
        "trainer = pn.Trainer(pn.Linear(1, 1), pn.MSELoss(), pn.SGD(0.1))\n"
        f"log = pn.{logger}('/dev/stdout')\n"
        "trainer.fit(np.ones((4, 1)), np.ones((4, 1)), epochs=3, callbacks=[log], progress=False)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 3 + (logger == "CSVLogger")


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
