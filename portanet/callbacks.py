"""Callbacks: what happens beside training, before and after steps, and after each epoch."""

import csv
import math
import sys
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from portanet.training import Trainer

Row = dict[str, float]
RISING = ("accuracy", "score", "f1", "precision", "recall")


class Callback:
    """
    Base of callbacks: override what you need.

    ``row`` is what the epoch is recorded as in the history; an entry that is added to it is recorded too.

    Examples
    --------
    >>> class StopAt(portanet.Callback):
    ...     def on_epoch_end(self, trainer, row):
    ...         if row["loss"] < 0.1:
    ...             trainer.stop()
    >>> trainer = portanet.Trainer(portanet.Linear(1, 1), portanet.MSELoss(), portanet.SGD(0.1))
    >>> x = np.ones((8, 1))
    >>> history = trainer.fit(x, x, epochs=100, callbacks=[StopAt()], progress=False)
    >>> history["loss"][-1] < 0.1 and len(history) < 100
    True
    """

    def on_fit_begin(self, trainer: "Trainer") -> None:
        """Before the first step."""

    def on_step_begin(self, trainer: "Trainer") -> None:
        """Before each step, which then is taken by itself; it must not read from the device."""

    def on_steps_end(self, trainer: "Trainer") -> None:
        """After each step, or several that were taken at once; ``trainer.steps`` counts all."""

    def on_epoch_end(self, trainer: "Trainer", row: Row) -> None:
        """After each epoch and its validation."""

    def on_fit_end(self, trainer: "Trainer") -> None:
        """After the last epoch, also if training failed."""


class _Monitor(Callback):
    """Follows one number of the history and counts the epochs since it was best."""

    def __init__(self, monitor: str, mode: Literal["min", "max", "auto"], min_delta: float):
        if mode == "auto":
            mode = "min" if monitor.endswith("loss") else "max" if monitor.endswith(RISING) else mode
        if mode not in ("min", "max"):
            raise ValueError(f"mode must be 'min' or 'max' for monitor {monitor!r}, got {mode!r}")
        self.monitor, self.sign, self.min_delta = monitor, 1.0 if mode == "min" else -1.0, min_delta

    def on_fit_begin(self, trainer: "Trainer") -> None:
        self.best, self.waited = math.inf, 0
        if self.monitor not in trainer.recorded and self.monitor.removeprefix("val_") in trainer.recorded:
            there = ", ".join(trainer.recorded)
            raise ValueError(
                f"monitor {self.monitor!r} is not recorded: there are {there}; fit takes validation_data=(x, target)"
            )

    def improved(self, row: Row) -> bool:
        if self.monitor not in row:
            raise ValueError(f"monitor {self.monitor!r} is not recorded: there are {', '.join(row)}")
        value = self.sign * row[self.monitor]
        better = value < self.best - self.min_delta
        self.best = value if better else self.best
        self.waited = 0 if better else self.waited + 1
        return better


class EarlyStopping(_Monitor):
    """
    Stop when a number has not improved for some epochs, and go back to the weights of the best one.

    Parameters
    ----------
    monitor : str
        Name in the history; ``"val_loss"`` needs validation data.
    patience : int
        Epochs without improvement after which to act.
    min_delta : float
        What counts as an improvement.
    mode : {"auto", "min", "max"}
        Which way is better; by default a name that ends in "loss" should fall, one in "accuracy", "score", "f1",
        "precision" or "recall" rise.

    Examples
    --------
    >>> EarlyStopping(monitor="val_accuracy", patience=3).patience
    3
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        *,
        patience: int = 5,
        min_delta: float = 0.0,
        mode: Literal["min", "max", "auto"] = "auto",
    ):
        super().__init__(monitor, mode, min_delta)
        self.patience = patience

    def on_fit_begin(self, trainer: "Trainer") -> None:
        super().on_fit_begin(trainer)
        self._weights = trainer.snapshot()

    def on_epoch_end(self, trainer: "Trainer", row: Row) -> None:
        if self.improved(row):
            self._weights = trainer.snapshot()
        elif self.waited >= self.patience:
            trainer.stop()

    def on_fit_end(self, trainer: "Trainer") -> None:
        if math.isfinite(self.best):
            trainer.restore(self._weights)


class LearningRateScheduler(Callback):
    """
    Follow a schedule.

    Parameters
    ----------
    schedule : callable
        ``schedule(t)`` gives the learning rate when t steps, or epochs, are done.
    per : {"step", "epoch"}
        What t counts, from the beginning of ``fit``.

    Examples
    --------
    >>> trainer = portanet.Trainer(portanet.Linear(1, 1), portanet.MSELoss(), portanet.SGD())
    >>> half_life = LearningRateScheduler(portanet.schedules.ExponentialDecay(0.1, factor=0.5), per="epoch")
    >>> trainer.fit(np.ones((2, 1)), np.ones((2, 1)), epochs=3, callbacks=[half_life], progress=False)["lr"]
    [0.1, 0.05, 0.025]
    """

    def __init__(self, schedule: Callable[[int], float], *, per: Literal["step", "epoch"] = "step"):
        if not callable(schedule):
            raise TypeError(
                f"schedule must be a function of a step, got {schedule!r}: write ConstantRate({schedule!r})"
            )
        if per not in ("step", "epoch"):
            raise ValueError(f"per must be 'step' or 'epoch', got {per!r}")
        self.schedule, self.per = schedule, per

    def on_fit_begin(self, trainer: "Trainer") -> None:
        self._first = trainer.steps

    def on_step_begin(self, trainer: "Trainer") -> None:
        self.lr = self.schedule(len(trainer.history) if self.per == "epoch" else trainer.steps - self._first)
        trainer.optimizer.lr = self.lr

    def on_epoch_end(self, trainer: "Trainer", row: Row) -> None:
        row["lr"] = self.lr


class ReduceLROnPlateau(_Monitor):
    """
    Multiply the learning rate by a factor whenever a number has not improved for some epochs.

    Parameters
    ----------
    monitor, patience, min_delta, mode
        See :class:`EarlyStopping`.
    factor : float
        In (0, 1).
    min_lr : float
        Never go below it.

    Examples
    --------
    >>> ReduceLROnPlateau("loss", factor=0.5, patience=2).factor
    0.5
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        *,
        factor: float = 0.1,
        patience: int = 10,
        min_delta: float = 0.0,
        min_lr: float = 0.0,
        mode: Literal["min", "max", "auto"] = "auto",
    ):
        super().__init__(monitor, mode, min_delta)
        if not 0 < factor < 1:
            raise ValueError(f"factor must be in (0, 1), got {factor}")
        self.factor, self.patience, self.min_lr = factor, patience, min_lr

    def on_fit_begin(self, trainer: "Trainer") -> None:
        super().on_fit_begin(trainer)
        self.lr = trainer.optimizer.lr

    def on_epoch_end(self, trainer: "Trainer", row: Row) -> None:
        row["lr"] = self.lr
        if not self.improved(row) and self.waited >= self.patience:
            self.lr, self.waited = max(self.lr * self.factor, self.min_lr), 0
            trainer.optimizer.lr = self.lr


class CSVLogger(Callback):
    """
    Write each epoch as a line of a CSV file, at once, so that a broken run keeps its past.

    Parameters
    ----------
    path : path-like
        Written anew by each ``fit``.

    Examples
    --------
    >>> trainer = portanet.Trainer(portanet.Linear(1, 1), portanet.MSELoss(), portanet.SGD(0.1))
    >>> x = np.ones((8, 1))
    >>> _ = trainer.fit(x, x, epochs=2, callbacks=[portanet.CSVLogger("log.csv")], progress=False)
    >>> Path("log.csv").read_text().splitlines()[0]
    'epoch,loss'
    """

    def __init__(self, path: str | PathLike[str]):
        self.path = Path(path)

    def on_fit_begin(self, trainer: "Trainer") -> None:
        self.path.write_text("")  # at once, so that a path that cannot be written to fails before training

    def on_epoch_end(self, trainer: "Trainer", row: Row) -> None:
        first = len(trainer.history) == 1
        with self.path.open("a", newline="") as file:
            writer = csv.writer(file)
            if first:
                writer.writerow(["epoch", *row])
            writer.writerow([len(trainer.history), *row.values()])


def progress_callbacks(wanted: bool, epochs: int, steps: int) -> list[Callback]:
    """Return what reports progress: a bar on a terminal where tqdm is installed, else lines."""
    if not wanted:
        return []
    if sys.stderr is None:  # a program without a console
        return []
    if sys.stderr.isatty():
        try:
            from tqdm import tqdm
        except ImportError:
            pass
        else:
            return [_Bar(tqdm(total=epochs * steps, unit="step"), epochs)]
    return [_Lines(epochs)]


def _describe(trainer: "Trainer", epochs: int, row: Row) -> str:
    numbers = "  ".join(f"{name} {value:.4g}" for name, value in row.items())
    return f"epoch {len(trainer.history)}/{epochs}  {numbers}"


class _Lines(Callback):
    def __init__(self, epochs: int):
        self.epochs = epochs

    def on_epoch_end(self, trainer: "Trainer", row: Row) -> None:
        print(_describe(trainer, self.epochs, row), file=sys.stderr)


class _Bar(Callback):
    def __init__(self, bar: Any, epochs: int):
        self.bar, self.epochs = bar, epochs

    def on_fit_begin(self, trainer: "Trainer") -> None:
        self.first = trainer.steps

    def on_steps_end(self, trainer: "Trainer") -> None:
        self.bar.update(trainer.steps - self.first - self.bar.n)

    def on_epoch_end(self, trainer: "Trainer", row: Row) -> None:
        self.bar.write(_describe(trainer, self.epochs, row), file=sys.stderr)

    def on_fit_end(self, trainer: "Trainer") -> None:
        self.bar.close()
