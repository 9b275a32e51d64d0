"""Callbacks that write the numbers of each epoch: as CSV, as JSON lines, and for TensorBoard."""

import csv
import io
import json
import math
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from portanet.checks import Checked, check_count, check_flag, check_path
from portanet.files import as_file_errors, parse_json, read_regular, write_atomically
from portanet.schema import first_mismatch
from portanet.training.callbacks import Callback, Logs, Training

__all__ = ["CSVLogger", "JSONLogger", "TensorBoard"]


class _EpochLog(Callback):
    """A file to which each epoch is added. With ``append``, the epochs that it holds are kept."""

    path, append = Checked(check_path), Checked(check_flag)
    run_last = True  # the other callbacks may add entries
    on_all_ranks = False
    required_state = False
    _earlier: list[Any]  # the epochs that the file held before training

    def __init__(self, path: str | PathLike[str], *, append: bool = False):
        self.path, self.append = path, append

    def _read(self) -> list[Any]:
        """Return the epochs that the file holds."""
        raise NotImplementedError

    def on_train_begin(self, trainer: Training) -> None:
        self.path.open("a").close()  # a path that cannot be written to fails before training
        self._earlier = self._read() if self.append else []

    def state_dict(self) -> dict[str, Any]:
        return {"earlier": len(self._earlier)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        # later epochs are in the history of the checkpoint
        del self._earlier[check_count("earlier", state["earlier"], at_least=0) :]

    def _write(self, text: str, *, anew: bool) -> None:
        """Write all epochs, or append the last one."""
        if anew and (self.path.is_file() or not self.path.exists()):
            write_atomically(self.path, text.encode())  # a run that is killed here loses no epoch
        else:
            with self.path.open("w" if anew else "a", encoding="utf-8", newline="") as file:
                file.write(text)


class CSVLogger(_EpochLog):
    """
    Append each epoch to a CSV file as soon as it is done.

    The cell of an entry that an epoch lacks is empty. The file is rewritten when a new entry appears.

    Parameters
    ----------
    path : path-like
        Overwritten by each ``fit``, unless ``append``.
    append : bool
        Keep the epochs that the file holds, and number the new ones after them. A file that is no such log raises
        FileFormatError before training.

    Examples
    --------
    >>> trainer = portanet.Trainer(portanet.Linear(1, 1), portanet.MSELoss(), portanet.SGD(0.1))
    >>> x = np.ones((8, 1))
    >>> _ = trainer.fit(x, x, epochs=2, callbacks=[portanet.CSVLogger("log.csv")], progress=False)
    >>> import pathlib
    >>> pathlib.Path("log.csv").read_text().splitlines()[0]
    'epoch,loss'
    """

    def on_train_begin(self, trainer: Training) -> None:
        super().on_train_begin(trainer)
        self._names: list[str] = []

    def on_epoch_end(self, trainer: Training, logs: Logs) -> None:
        anew = list(trainer.history) != self._names
        self._names = list(trainer.history)
        first = int(self._earlier[-1]["epoch"]) + 1 if self._earlier else 1
        rows: list[dict[str, Any]] = [
            *self._earlier,
            *({"epoch": i, **logs} for i, logs in enumerate(trainer.history.epochs, first)),
        ]
        columns = dict.fromkeys(["epoch", *(name for row in self._earlier for name in row), *self._names])
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, columns, extrasaction="ignore")
        if anew:
            writer.writeheader()
        writer.writerows(rows if anew else rows[-1:])
        self._write(text.getvalue(), anew=anew)

    def _read(self) -> list[dict[str, str]]:
        return _read_log(self.path)


def _read_log(path: Path) -> list[dict[str, str]]:
    """Return the rows of a log that :class:`CSVLogger` wrote; none, if the file is empty."""
    content = read_regular(path)
    with as_file_errors(path):
        names, *rows = [*csv.reader(io.StringIO(content.decode(), newline=""), strict=True)] or [["epoch"]]
        fix = "it holds no log of a CSVLogger: give another path, or append=False"
        if content and not content.endswith(b"\n"):
            raise ValueError(f"{fix} (its last row is not complete)")
        if "epoch" not in names or len({*names}) < len(names):
            raise ValueError(f"{fix} (its first line must name an epoch, and each column once)")
        for number, row in enumerate(rows, 2):
            if len(row) != len(names) or not all(map(_is_cell, names, row)):
                raise ValueError(f"{fix} (row {number} must hold {len(names)} numbers, the epoch as an integer)")
        return [dict(zip(names, row, strict=True)) for row in rows]


def _is_cell(name: str, text: str) -> bool:
    """Whether a column may hold a text: the number of an epoch, or a number or nothing."""
    if name == "epoch":
        return text.isdecimal() and len(text) < 16
    try:
        float(text or "nan")
    except ValueError:
        return False
    return True


class JSONLogger(_EpochLog):
    """
    Append each epoch to a file of JSON lines as soon as it is done, such as ``{"epoch": 1, "loss": 0.7}``.

    NaN and infinity, which JSON lacks, become null.

    Parameters
    ----------
    path : path-like
        Overwritten by each ``fit``, unless ``append``.
    append : bool
        Keep the lines that the file holds, and number the new epochs after them. A file that is no such log raises
        FileFormatError before training.

    Examples
    --------
    >>> trainer = portanet.Trainer(portanet.Linear(1, 1), portanet.MSELoss(), portanet.SGD(0.1))
    >>> x = np.zeros((8, 1))
    >>> _ = trainer.fit(x, x, epochs=2, callbacks=[portanet.JSONLogger("log.jsonl")], progress=False)
    >>> import pathlib
    >>> print(pathlib.Path("log.jsonl").read_text())
    {"epoch": 1, "loss": 0.0}
    {"epoch": 2, "loss": 0.0}
    <BLANKLINE>
    """

    def on_train_begin(self, trainer: Training) -> None:
        super().on_train_begin(trainer)
        self._begun = False

    def on_epoch_end(self, trainer: Training, logs: Logs) -> None:
        epochs, first = trainer.history.epochs, parse_json(self._earlier[-1])["epoch"] + 1 if self._earlier else 1
        lines = [json.dumps({"epoch": i, **_finite(row)}) for i, row in enumerate(epochs, first)]
        # At first, the file may hold another run, or epochs after the checkpoint from which this one goes on.
        written = lines[-1:] if self._begun else [*self._earlier, *lines]
        self._write("".join(f"{line}\n" for line in written), anew=not self._begun)
        self._begun = True

    def _read(self) -> list[str]:
        return _read_lines(self.path)


def _finite(logs: Logs) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in logs.items()}


def _read_lines(path: Path) -> list[str]:
    """Return the lines of a log that :class:`JSONLogger` wrote."""
    content = read_regular(path)
    with as_file_errors(path):
        lines = content.decode().splitlines()
        for number, line in enumerate(lines, 1):
            if not _is_epoch(line):
                raise ValueError(f"line {number} is no epoch of a JSONLogger: give another path, or append=False")
        return lines


def _is_epoch(line: str) -> bool:
    """Whether a line describes an epoch; one that was cut does not."""
    try:
        return not first_mismatch(parse_json(line), {"epoch": int})
    except ValueError:
        return False


class TensorBoard(Callback):
    """
    Write the numbers of each epoch for TensorBoard, with the package tensorboardX.

    Those of training go to the folder ``train`` and those of validation to ``validation``, so that TensorBoard draws
    both in one picture: ``tensorboard --logdir log_dir``.

    Parameters
    ----------
    log_dir : path-like
        Folder of the run; a run of its own each.

    Examples
    --------
    >>> TensorBoard("runs/first").log_dir.name
    'first'
    """

    log_dir = Checked(check_path)
    run_last, on_all_ranks, required_state = True, False, False

    def __init__(self, log_dir: str | PathLike[str]):
        self.log_dir = log_dir

    def on_train_begin(self, trainer: Training) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ImportError("TensorBoard needs tensorboardX: pip install tensorboardX") from error
        # A run that resumes writes the epochs after its checkpoint again: TensorBoard then drops the old ones.
        self._new_writer = partial(SummaryWriter, purge_step=len(trainer.history.epochs) + 1)
        self._writers: dict[str, Any] = {}
        self._writer("train")

    def on_epoch_end(self, trainer: Training, logs: Logs) -> None:
        for name, value in logs.items():
            writer = self._writer("validation" if name.startswith("val_") else "train")
            writer.add_scalar(name.removeprefix("val_"), value, len(trainer.history.epochs))
        for writer in self._writers.values():
            writer.flush()

    def on_train_end(self, trainer: Training) -> None:
        for writer in self._writers.values():
            writer.close()

    def _writer(self, folder: str) -> Any:
        """Return what writes to a folder; it exists from the first time on."""
        if folder not in self._writers:
            self._writers[folder] = self._new_writer(str(self.log_dir / folder))
        return self._writers[folder]
