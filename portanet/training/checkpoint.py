"""Checkpoints: the network and all that decides how its training goes on, in one safetensors file without pickle."""

import glob
import json
import warnings
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from string import Formatter
from typing import Any, Literal, NamedTuple

import numpy as np

from portanet.checks import Checked, check_choice, check_count, check_path, optional, shown
from portanet.files import FileFormatError, faults_of, parse_json, read_tensors, write_tensors
from portanet.layers.base import Layer
from portanet.saving import TRAINER, build_network, describe_network, difference
from portanet.schema import Schema, first_mismatch, is_anything, is_array, is_number
from portanet.training.callbacks import MODES, Callback, Logs, Mode, Monitor, Training, check_monitor
from portanet.typing import Array

ARRAY = "$array"
"""The only key of an object in the JSON that stands for an array."""

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


def pack(state: Any, to_numpy: Callable[[Any], np.ndarray]) -> tuple[str, dict[str, np.ndarray]]:
    """
    Turn nested dicts and lists of numbers, texts and arrays into JSON and named arrays.

    Raises
    ------
    TypeError
        If there is anything else in it, as a callback of one's own may return.

    Examples
    --------
    >>> pack({"waited": 2, "weights": [np.zeros(3)]}, np.asarray)
    ('{"waited": 2, "weights": [{"$array": "trainer/0"}]}', {'trainer/0': array([0., 0., 0.])})
    """
    arrays: dict[str, np.ndarray] = {}

    def packed(value: Any) -> Any:
        if isinstance(value, Mapping) and all(isinstance(key, str) and key != ARRAY for key in value):
            return {key: packed(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [packed(item) for item in value]
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if not hasattr(value, "shape"):
            raise TypeError(
                f"state_dict must hold numbers, texts, arrays, lists and dicts with texts as keys, got {shown(value)}"
            )
        name = f"{TRAINER}{len(arrays)}"
        arrays[name] = np.array(to_numpy(value))
        return {ARRAY: name}

    return json.dumps(packed(state)), arrays


def unpack(text: str, arrays: Mapping[str, np.ndarray], asarray: Callable[[np.ndarray], Array]) -> Any:
    """
    Undo :func:`pack`.

    Examples
    --------
    >>> unpack('{"waited": 2, "weights": [{"$array": "trainer/0"}]}', {"trainer/0": np.zeros(3)}, np.asarray)
    {'waited': 2, 'weights': [array([0., 0., 0.])]}
    """

    def array(name: Any) -> Array:
        if not isinstance(name, str) or name not in arrays:
            raise ValueError(f"it lacks the array {shown(name)}")
        return asarray(arrays[name])

    def unpacked(value: Any) -> Any:
        if isinstance(value, dict) and value.keys() == {ARRAY}:
            return array(value[ARRAY])
        if isinstance(value, dict):
            return {key: unpacked(item) for key, item in value.items()}
        return [unpacked(item) for item in value] if isinstance(value, list) else value

    return unpacked(parse_json(text))


def write_checkpoint(path: str | PathLike[str], net: Layer, state: Mapping[str, Any]) -> None:
    """Write a network, and the state of its training beside it; :func:`portanet.load` reads the network alone."""
    weights, metadata = describe_network(net)
    text, arrays = pack(state, net.backend.to_numpy)
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
    with faults_of(path):
        weights = {name: values for name, values in arrays.items() if not name.startswith(TRAINER)}
        saved = build_network(weights, metadata)
        if found := difference(net, saved):
            name, ours, theirs = found
            raise ValueError(f"the part {name!r} of its network is {theirs}, but that of the Trainer's is {ours}")
        if metadata["dtype"] != net.flat.dtype:
            raise ValueError(f"its weights are {metadata['dtype']}, but the Trainer's are {net.flat.dtype}")
        with net.backend.activate():
            state = unpack(metadata["trainer"], arrays, net.backend.asarray)
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
    runs_last = True

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
        fields = [field for _, field, *_ in Formatter().parse(str(self.path))]
        if self.keep != 1 and not {"epoch", "step"} & set(fields):
            raise ValueError(f"keep={self.keep} needs a path with {{epoch}} or {{step}} in it, got {self.path}")
        if self.monitor is not None and self.per == "step":
            raise ValueError(f"monitor={self.monitor!r} needs per='epoch', since metrics are those of epochs")

    def _new_monitor(self) -> Monitor | None:
        return None if self.monitor is None else Monitor(self.monitor, self.mode)

    def on_train_begin(self, trainer: Training) -> None:
        self._monitor = self._new_monitor()
        if self._monitor is not None:
            self._monitor.on_train_begin(trainer)
        describe_network(trainer.net)  # a network that cannot be saved is refused before training
        self.files, self._next = [], trainer.steps + self.every

    def on_train_batch_end(self, trainer: Training) -> None:
        if self.per == "step" and trainer.steps >= self._next:
            self._next = trainer.steps + self.every
            self._write(trainer, {})

    def on_epoch_end(self, trainer: Training, logs: Logs) -> None:
        if self._monitor is not None and not self._monitor.improved(logs):
            return
        if self.per == "epoch" and len(trainer.history.epochs) % self.every == 0:
            self._write(trainer, logs)

    def on_interrupt(self, trainer: Training) -> None:
        if self.monitor is None:
            self._write(trainer, trainer.history.epochs[-1] if trainer.history.epochs else {})

    def latest(self) -> Path | None:
        """Return the newest file of this path, or None."""
        return max(self._found(), key=lambda file: file.stat().st_mtime_ns, default=None)

    def _found(self) -> list[Path]:
        """Return all files whose names fit the path."""
        parts = Formatter().parse(str(self.path))
        pattern = "".join(glob.escape(text) + ("" if field is None else "*") for text, field, *_ in parts)
        return [Path(file) for file in glob.glob(pattern)]

    def state_dict(self) -> dict[str, Any]:
        monitor = None if self._monitor is None else self._monitor.state_dict()
        return {"files": [str(file) for file in self.files], "next": self._next, "monitor": monitor}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self._monitor is not None and state["monitor"] is not None:
            self._monitor.load_state_dict(state["monitor"])
        found = self._found()  # a hostile checkpoint could name others, which would be deleted
        self.files = [file for file in map(Path, state["files"]) if file in found]
        self._next = check_count("next", state["next"])

    def _write(self, trainer: Training, logs: Logs) -> None:
        path = self._file(trainer, logs)
        older = [file for file in self.files if file != path]
        kept = 0 if self.keep is None else max(0, len(older) + 1 - self.keep)
        before, self.files = self.files, [*older[kept:], path]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            trainer.save(path)
        except OSError as error:
            self.files = before
            warnings.warn(f"no checkpoint was written: {error}", RuntimeWarning, stacklevel=6)
        else:
            for file in older[:kept]:
                file.unlink(missing_ok=True)

    def _file(self, trainer: Training, logs: Logs) -> Path:
        values = {"epoch": len(trainer.history.epochs), "step": trainer.steps, **logs}
        try:
            return Path(str(self.path).format(**values))
        except (KeyError, IndexError, ValueError) as error:
            names = ", ".join(values)
            raise ValueError(
                f"path {self.path} has a part that cannot be filled in ({error}): there are {names}"
            ) from None
