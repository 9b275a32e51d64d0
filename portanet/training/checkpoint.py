"""Checkpoints: the network and all that decides how its training goes on, in one safetensors file without pickle."""

import glob
import json
import math
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from os import PathLike
from pathlib import Path
from string import Formatter
from typing import Any, Literal, NamedTuple

import numpy as np

from portanet.checks import Checked, check_choice, check_count, check_path, optional, shown
from portanet.config import to_json
from portanet.files import FileFormatError, as_file_errors, parse_json, read_metadata, read_tensors, write_tensors
from portanet.layers.base import Layer
from portanet.saving import TRAINER, build_network, describe_network, find_difference
from portanet.schema import Schema, first_mismatch, is_anything, is_array, is_number
from portanet.training.callbacks import MODES, Callback, Logs, Mode, Monitor, Training, check_monitor
from portanet.typing import Array

ARRAY = "$array"
"""JSON key of a reference to an array."""

STATE: Schema = {
    "loss": is_anything,
    "optimizer": {"optimizer": is_anything, "arrays": {...: is_array}},
    "steps": int,
    "shuffle": {"bit_generator": str, "state": {"state": int, "inc": int}, "has_uint32": int, "uinteger": int},
    "history": [{...: is_number}],
    "fit": is_anything,
}
"""What the state of the training holds; :class:`portanet.training.loop.FitLoop` checks that of ``fit``."""


class Checkpoint(NamedTuple):
    """
    What a file holds.

    Parameters
    ----------
    path : path-like
    weights : dict of str to numpy.ndarray
        Parameters and buffers of the network.
    frozen : set of str
        Names of its frozen layers and parameters.
    state : dict
        The state of its training, with arrays on the network's device.
    """

    path: str | PathLike[str]
    weights: dict[str, np.ndarray]
    frozen: set[str]
    state: dict[str, Any]


def flatten(state: Any, to_numpy: Callable[[Any], np.ndarray]) -> tuple[str, dict[str, np.ndarray]]:
    """
    Turn nested dicts and lists of numbers, texts and arrays into JSON and named arrays.

    Raises
    ------
    TypeError
        If there is anything else in it, as a callback of one's own may return.

    Examples
    --------
    >>> flatten({"waited": 2, "weights": [np.zeros(3)]}, np.asarray)
    ('{"waited": 2, "weights": [{"$array": "trainer/0"}]}', {'trainer/0': array([0., 0., 0.])})
    """
    arrays: dict[str, np.ndarray] = {}

    def described(value: Any) -> Any:
        if isinstance(value, Mapping) and all(isinstance(key, str) and key != ARRAY for key in value):
            return {key: described(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [described(item) for item in value]
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if not hasattr(value, "shape"):
            raise TypeError(
                f"state_dict must hold numbers, texts, arrays, lists and dicts with texts as keys, got {shown(value)}"
            )
        name = f"{TRAINER}{len(arrays)}"
        arrays[name] = np.array(to_numpy(value))  # a copy: training changes the original in place
        return {ARRAY: name}

    return json.dumps(described(state)), arrays


def unflatten(text: str, arrays: Mapping[str, np.ndarray], asarray: Callable[[np.ndarray], Array]) -> Any:
    """
    Undo :func:`flatten`.

    Examples
    --------
    >>> unflatten('{"waited": 2, "weights": [{"$array": "trainer/0"}]}', {"trainer/0": np.zeros(3)}, np.asarray)
    {'waited': 2, 'weights': [array([0., 0., 0.])]}
    """

    def array(name: Any) -> Array:
        if not isinstance(name, str) or name not in arrays:
            raise ValueError(f"it lacks the array {shown(name)}")
        return asarray(arrays[name])

    def built(value: Any) -> Any:
        if isinstance(value, dict) and value.keys() == {ARRAY}:
            return array(value[ARRAY])
        if isinstance(value, dict):
            return {key: built(item) for key, item in value.items()}
        return [built(item) for item in value] if isinstance(value, list) else value

    return built(parse_json(text))


def write_checkpoint(path: str | PathLike[str], net: Layer, state: Mapping[str, Any]) -> None:
    """
    Write a network, and the state of its training beside it; :func:`portanet.load` reads the network alone.

    Raises
    ------
    FloatingPointError
        If an array holds NaN or infinity: a run that diverges must not replace its last finite checkpoint.
    """
    weights, metadata = describe_network(net)
    text, arrays = flatten(state, net.backend.to_numpy)
    if not all(np.isfinite(values).all() for values in {**weights, **arrays}.values()):
        raise FloatingPointError("weights or states of the training are no longer finite")
    write_tensors(path, {**weights, **arrays}, {**metadata, "trainer": text})


def read_checkpoint(path: str | PathLike[str], net: Layer) -> Checkpoint:
    """
    Read what :func:`write_checkpoint` wrote for a network like this one.

    Raises
    ------
    OSError
        If the file cannot be read.
    FileFormatError
        If it is no checkpoint, or that of another network.
    """
    arrays, metadata = read_tensors(path)
    if "trainer" not in metadata:
        raise FileFormatError(path, "it holds a network without the state of its training: take portanet.load(path)")
    with as_file_errors(path):
        weights = {name: values for name, values in arrays.items() if not name.startswith(TRAINER)}
        saved = build_network(weights, metadata)
        if found := find_difference(net, saved):
            name, ours, theirs = found
            raise ValueError(f"the part {name!r} of its network is {theirs}, but that of the Trainer's is {ours}")
        if metadata["dtype"] != net.flat.dtype:
            raise ValueError(f"its weights are {metadata['dtype']}, but the Trainer's are {net.flat.dtype}")
        with net.backend.activate():
            state = unflatten(metadata["trainer"], arrays, net.backend.asarray)
        if mismatch := first_mismatch(state, STATE):
            raise ValueError(mismatch)
        return Checkpoint(path, weights, saved.topology.frozen, state)


def _check_template(name: str, value: Any) -> Path:
    path = check_path(name, value)
    try:
        list(Formatter().parse(str(path)))
    except ValueError as error:
        raise ValueError(f"{name} must have each {{ closed by a }}, got {path} ({error})") from None
    return path


def _interrupted(path: Path) -> Path:
    """Return the name of the checkpoint of an interrupted run."""
    return path.with_name(f"{path.stem}-interrupted{path.suffix}")


def newest(files: Sequence[Path]) -> Path | None:
    """Return the file that was written last, or None."""
    return max(files, key=lambda file: file.stat().st_mtime_ns, default=None)


class ModelCheckpoint(Callback):
    """
    Write a checkpoint while training, from which :meth:`portanet.Trainer.fit` goes on: ``fit(..., resume=path)``.

    It runs after all other callbacks. A file that cannot be written gives a warning, and training goes on. An
    interrupted ``fit`` (Ctrl-C, SIGTERM) writes one more, unless it monitors a metric.

    Parameters
    ----------
    path : path-like
        The file; a part such as ``{epoch:03d}``, ``{step}`` or ``{val_loss:.3f}`` is filled in, and gives each
        checkpoint a file of its own. Missing folders are made.
    every : int
        Number of epochs or steps from one checkpoint to the next.
    per : {"epoch", "step"}
        Whether ``every`` counts epochs or steps.
    monitor : str, optional
        Write a checkpoint only where this metric has improved.
    mode : {"auto", "min", "max"}
        See :class:`EarlyStopping`.
    keep : int or None
        How many files to keep, the newest ones; older ones that it wrote are deleted. None keeps all.

    Examples
    --------
    >>> def trainer():
    ...     return portanet.Trainer(portanet.Linear(1, 1), portanet.MSELoss(), portanet.Adam())
    >>> x, checkpoint = np.ones((8, 1)), portanet.ModelCheckpoint("run.safetensors")
    >>> _ = trainer().fit(x, x, epochs=2, callbacks=[checkpoint], progress=False)
    >>> len(trainer().fit(x, x, epochs=3, resume="run.safetensors", progress=False).epochs)
    3
    """

    path = Checked(_check_template)
    monitor = Checked(optional(check_monitor))
    mode = Checked(check_choice, choices=MODES)
    every = Checked(check_count)
    per = Checked(check_choice, choices=("epoch", "step"))
    keep = Checked(optional(check_count))
    run_last, on_all_ranks, required_state = True, False, False

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        every: int = 1,
        per: Literal["epoch", "step"] = "epoch",
        monitor: str | None = None,
        mode: Mode = "auto",
        keep: int | None = 1,
    ):
        self.path, self.every, self.per, self.keep = path, every, per, keep
        self.monitor, self.mode = monitor, mode
        self.files: list[Path] = []
        self._check_together()

    def _check_together(self) -> None:
        self._new_monitor()
        fields = self._fields()
        if self.keep != 1 and not {"epoch", "step"} & fields:
            raise ValueError(f"keep={self.keep} needs a path with {{epoch}} or {{step}} in it, got {self.path}")
        if self.per == "step" and (self.monitor is not None or fields - {"epoch", "step"}):
            found = f"monitor={self.monitor!r} and path={self.path}"
            raise ValueError(f"per='step' allows no metrics, since they are those of epochs, got {found}")

    def _fields(self) -> set[str]:
        """Return the names of the parts of the path that are filled in."""
        return {field for _, field, *_ in Formatter().parse(str(self.path)) if field is not None}

    def monitored(self) -> tuple[str, ...]:
        names = self._fields() - {"epoch", "step"}
        return (*names, *(() if self.monitor is None else (self.monitor,)))

    def _new_monitor(self) -> Monitor | None:
        return None if self.monitor is None else Monitor(self.monitor, self.mode)

    def on_train_begin(self, trainer: Training) -> None:
        self._monitor = self._new_monitor()
        if self._monitor is not None:
            self._monitor.on_train_begin(trainer)
        for part in (trainer.loss, trainer.optimizer):  # what cannot be saved is refused before training
            to_json(part)
        describe_network(trainer.net)
        self.files, self._next = [], trainer.steps + self.every

    def on_train_batch_end(self, trainer: Training) -> None:
        if self.per == "step" and trainer.steps >= self._next:
            self._next = trainer.steps + self.every
            self._write(trainer, self._file(trainer, {}), stacklevel=8)

    def on_epoch_end(self, trainer: Training, logs: Logs) -> None:
        due = self.per == "epoch" and len(trainer.history.epochs) % self.every == 0
        if due and (self._monitor is None or self._monitor.improved(logs)):
            self._write(trainer, self._file(trainer, logs), stacklevel=6)

    def on_interrupt(self, trainer: Training) -> None:
        if self.monitor is None:
            logs = trainer.history.epochs[-1] if trainer.history.epochs else {}
            path = self._file(trainer, defaultdict(lambda: math.nan, logs))
            # With {epoch} or {step} in the path, each checkpoint has a file of its own: do not overwrite the last one.
            self._write(trainer, _interrupted(path) if self._fields() else path, stacklevel=6)

    def found(self) -> list[Path]:
        """Return the checkpoints whose names fit the path, also those of interrupted runs."""
        parts = Formatter().parse(str(self.path))
        pattern = "".join(glob.escape(text) + ("" if field is None else "*") for text, field, *_ in parts)
        files = {*glob.glob(pattern), *(glob.glob(str(_interrupted(Path(pattern)))) if self._fields() else ())}
        return [file for file in map(Path, sorted(files)) if "trainer" in read_metadata(file)]

    def state_dict(self) -> dict[str, Any]:
        monitor = None if self._monitor is None else self._monitor.state_dict()
        return {"files": [str(file) for file in self.files], "next": self._next, "monitor": monitor}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self._monitor is not None and state["monitor"] is not None:
            self._monitor.load_state_dict(state["monitor"])
        found = self.found()  # a hostile checkpoint could name others, which would be deleted
        self.files = [file for file in map(Path, state["files"]) if file in found]
        self._next = check_count("next", state["next"])

    def _write(self, trainer: Training, path: Path, *, stacklevel: int) -> None:
        """Write a checkpoint, and delete older ones; ``stacklevel`` is that of a warning at the call of fit."""
        older = [file for file in self.files if file != path]
        n_deleted = 0 if self.keep is None else max(0, len(older) + 1 - self.keep)
        before, self.files = self.files, [*older[n_deleted:], path]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            trainer.save(path)
        except (OSError, FloatingPointError) as error:
            self.files = before
            warnings.warn(f"no checkpoint was written: {error}", RuntimeWarning, stacklevel=stacklevel)
        else:
            for file in older[:n_deleted]:
                with suppress(OSError):
                    file.unlink()

    def _file(self, trainer: Training, logs: Logs) -> Path:
        values = logs.copy()  # may be a defaultdict
        values |= {"epoch": len(trainer.history.epochs), "step": trainer.steps}
        try:
            return Path(str(self.path).format_map(values))
        except (KeyError, IndexError, ValueError) as error:
            names = ", ".join(values)
            raise ValueError(
                f"path {self.path} has a part that cannot be filled in ({error}): there are {names}"
            ) from None
