"""Callbacks: what happens before and after steps, and after each epoch."""

import math
from collections.abc import Callable
from os import PathLike
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

from portanet.backends import namespace
from portanet.backends.precision import MatmulPrecision
from portanet.checks import (
    Checked,
    as_number,
    check_choice,
    check_count,
    check_flag,
    check_number,
    isdtype,
    optional,
    shown,
)
from portanet.config import Configured, refuse_unknown_arguments
from portanet.layers.base import Layer
from portanet.optimizers import Optimizer
from portanet.schedules import check_schedule
from portanet.training.history import History
from portanet.typing import Array

__all__ = [
    "Callback",
    "EarlyStopping",
    "LearningRateScheduler",
    "ReduceLROnPlateau",
    "WeightAveraging",
]

Logs: TypeAlias = dict[str, float]
"""Loss and metrics by name."""

Mode: TypeAlias = Literal["auto", "min", "max"]
MODES = ("auto", "min", "max")
"""Whether a metric is better low or high; "auto" goes by the end of its name."""

DECREASING = ("loss", "error", "mse", "mae")
"""Ends of names of metrics that should decrease."""

INCREASING = ("accuracy", "acc", "score", "auc", "f1", "precision", "recall", "r2", "psnr")
"""Ends of names of metrics that should increase."""


def check_logs(logs: Logs) -> None:
    """
    Refuse entries that are no numbers under a name, and turn numbers of other libraries into Python numbers.

    Examples
    --------
    >>> check_logs({"auc": "high"})
    Traceback (most recent call last):
    ...
    ValueError: logs['auc'] must be a number, got 'high'
    """
    for name, value in logs.items():
        number = as_number(value)
        if number is None or not isinstance(name, str):
            what = "a number" if isinstance(name, str) else "under a string"
            raise ValueError(f"logs[{name!r}] must be {what}, got {shown(value)}")
        logs[name] = number


class Training(Protocol):
    """What callbacks use of a :class:`portanet.Trainer`."""

    optimizer: Optimizer
    history: History
    steps: int
    metric_names: tuple[str, ...]
    float32_matmul_precision: MatmulPrecision | None

    @property
    def net(self) -> Layer: ...
    @property
    def loss(self) -> Configured: ...
    @property
    def batch_logs(self) -> Logs: ...
    def stop(self) -> None: ...
    def snapshot(self) -> list[Array]: ...
    def restore(self, snapshot: list[Array]) -> None: ...
    def save(self, path: str | PathLike[str]) -> None: ...


class Callback:
    """
    Base of callbacks: override what you need.

    ``logs`` holds the loss and metrics of the epoch; an entry that is added to it goes into the history too.

    Examples
    --------
    >>> class StopAt(portanet.Callback):
    ...     def on_epoch_end(self, trainer, logs):
    ...         if logs["loss"] < 0.1:
    ...             trainer.stop()
    >>> trainer = portanet.Trainer(portanet.Linear(1, 1), portanet.MSELoss(), portanet.SGD(0.1))
    >>> x = np.ones((8, 1))
    >>> history = trainer.fit(x, x, epochs=100, callbacks=[StopAt()], progress=False)
    >>> history["loss"][-1] < 0.1 and len(history.epochs) < 100
    True
    """

    run_last: ClassVar[bool] = False
    """Run after all other callbacks, as a callback needs that saves their state."""

    on_all_ranks: ClassVar[bool] = True
    """
    Where several processes train, whether each runs it; what writes files runs on rank 0 alone.

    A callback on rank 0 alone must not call ``evaluate``, ``fit`` or other operations that all ranks share.
    """

    required_state: ClassVar[bool] = True
    """Whether resuming a checkpoint needs this callback. False for a callback that only writes files."""

    def __init_subclass__(cls, **kwargs: Any):
        """Let the constructor say what to write for an argument of another name."""
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            refuse_unknown_arguments(cls)

    def monitored(self) -> tuple[str, ...]:
        """Return the names of the entries of ``logs`` that it reads; ``fit`` refuses one that nothing records."""
        return ()

    def on_train_begin(self, trainer: Training) -> None:
        """Run before the first step."""

    def on_train_batch_begin(self, trainer: Training) -> None:
        """
        Run before every step.

        Defining it disables multi-step CUDA graphs. Do not copy arrays to the host here.
        """

    def on_train_batch_end(self, trainer: Training) -> None:
        """
        Run after each step, or after several that ran at once; ``trainer.steps`` counts all.

        Examples
        --------
        Print the loss after every hundred steps, also where several steps run at once:

        >>> class Report(portanet.Callback):
        ...     due = 100
        ...
        ...     def on_train_batch_end(self, trainer):
        ...         if trainer.steps >= self.due:
        ...             print(f"step {trainer.steps}: loss {trainer.batch_logs['loss']:.3g}")
        ...             self.due += 100
        >>> trainer = portanet.Trainer(portanet.Linear(1, 1), portanet.MSELoss(), portanet.SGD(0.1))
        >>> x = np.zeros((100, 1))
        >>> history = trainer.fit(x, x, epochs=2, batch_size=1, callbacks=[Report()], progress=False)
        step 100: loss 0
        step 200: loss 0
        """

    def on_epoch_end(self, trainer: Training, logs: Logs) -> None:
        """Run after each epoch and its validation."""

    def on_interrupt(self, trainer: Training) -> None:
        """Run after the step under way where a signal ends training, Ctrl-C or SIGTERM; before ``on_train_end``."""

    def on_train_end(self, trainer: Training) -> None:
        """Run after the last epoch, also if training failed."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold: a dict of numbers, texts, arrays, and lists and dicts of them."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` returned; called after ``on_train_begin`` where ``fit`` resumes."""


def check_monitor(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} must be the name of a metric, got {shown(value)}: write patience=... for a number")
    return value


class Monitor(Callback):
    """Base of callbacks that watch one metric and count the epochs since its best value."""

    monitor = Checked(check_monitor)
    min_delta = Checked(check_number, at_least=0)
    patience = Checked(check_count, at_least=0)
    mode = Checked(check_choice, choices=MODES)

    def __init__(self, monitor: str, mode: str = "auto", min_delta: float = 0.0, patience: int = 0):
        self.monitor, self.mode, self.min_delta, self.patience = monitor, mode, min_delta, patience
        self._check_together()

    def _check_together(self) -> None:
        self._sign()  # refuses a metric of which neither its name nor the mode tells the direction

    def _sign(self) -> float:
        """Return 1 if smaller is better, else -1."""
        if self.mode == "min" or (self.mode == "auto" and self.monitor.endswith(DECREASING)):
            return 1.0
        if self.mode == "max" or self.monitor.endswith(INCREASING):
            return -1.0
        raise ValueError(f"monitor {self.monitor!r} may be better low or high: give mode='min' or mode='max'")

    def on_train_begin(self, trainer: Training) -> None:
        self.best, self.waited = math.inf, 0

    def monitored(self) -> tuple[str, ...]:
        return (self.monitor,)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.waited = float(state["best"]), check_count("waited", state["waited"], at_least=0)

    def improved(self, logs: Logs) -> bool:
        if self.monitor not in logs:
            raise ValueError(f"monitor {self.monitor!r} is not recorded: there are {', '.join(logs)}")
        value = self._sign() * logs[self.monitor]
        better = value < self.best - self.min_delta
        self.best = value if better else self.best
        self.waited = 0 if better else self.waited + 1
        return better


class EarlyStopping(Monitor):
    """
    Stop when a metric has not improved for some epochs, and go back to the weights of the best epoch.

    Parameters
    ----------
    monitor : str
        Name in the history; ``"val_loss"`` needs validation data.
    patience : int
        Epochs without improvement after which to stop.
    min_delta : float
        Smallest change that counts as an improvement.
    mode : {"auto", "min", "max"}
        Whether smaller or larger is better; by default names that end in "loss", "error", "mse" or "mae" should
        decrease, those in "accuracy", "acc", "score", "auc", "f1", "precision", "recall", "r2" or "psnr" increase.
    restore_best_weights : bool
        Whether to go back to the best epoch at the end; on by default, unlike in Keras.

    Examples
    --------
    >>> EarlyStopping(monitor="val_accuracy", patience=3).patience
    3
    """

    restore_best_weights = Checked(check_flag)

    def __init__(
        self,
        monitor: str = "val_loss",
        *,
        patience: int = 5,
        min_delta: float = 0.0,
        mode: Mode = "auto",
        restore_best_weights: bool = True,
    ):
        super().__init__(monitor, mode, min_delta, patience)
        self.restore_best_weights = restore_best_weights

    def on_train_begin(self, trainer: Training) -> None:
        super().on_train_begin(trainer)
        self._weights = trainer.snapshot() if self.restore_best_weights else []

    def on_epoch_end(self, trainer: Training, logs: Logs) -> None:
        if self.improved(logs):
            self._weights = trainer.snapshot() if self.restore_best_weights else []
        elif self.waited >= self.patience:
            trainer.stop()

    def on_train_end(self, trainer: Training) -> None:
        if self.restore_best_weights and math.isfinite(self.best):
            trainer.restore(self._weights)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "weights": self._weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        best, ours = ([getattr(array, "shape", None) for array in each] for each in (state["weights"], self._weights))
        if self.restore_best_weights and best != ours:
            raise ValueError(f"the best weights have shapes {shown(best)}, but must have {shown(ours)}")
        self._weights = state["weights"]


class LearningRateScheduler(Callback):
    """
    Set the learning rate by a schedule; after ``fit``, it is again what it was before.

    Parameters
    ----------
    schedule : callable
        ``schedule(t)`` returns the learning rate after t steps or epochs.
    per : {"step", "epoch"}
        Whether t counts steps or epochs, from the beginning of ``fit``.

    Examples
    --------
    >>> trainer = portanet.Trainer(portanet.Linear(1, 1), portanet.MSELoss(), portanet.SGD())
    >>> half_life = LearningRateScheduler(portanet.schedules.ExponentialDecay(0.1, factor=0.5), per="epoch")
    >>> trainer.fit(np.ones((2, 1)), np.ones((2, 1)), epochs=3, callbacks=[half_life], progress=False)["lr"]
    [0.1, 0.05, 0.025]
    """

    schedule = Checked(check_schedule)
    per = Checked(check_choice, choices=("step", "epoch"))

    def __init__(self, schedule: Callable[[int], float], *, per: Literal["step", "epoch"] = "step"):
        self.schedule, self.per = schedule, per

    def on_train_begin(self, trainer: Training) -> None:
        self._first, self._before = trainer.steps, trainer.optimizer.lr
        self.lr = self._before

    def on_train_batch_begin(self, trainer: Training) -> None:
        t = len(trainer.history.epochs) if self.per == "epoch" else trainer.steps - self._first
        trainer.optimizer.lr = self.schedule(t)
        self.lr = trainer.optimizer.lr

    def on_epoch_end(self, trainer: Training, logs: Logs) -> None:
        logs["lr"] = self.lr

    def on_train_end(self, trainer: Training) -> None:
        trainer.optimizer.lr = self._before  # the last rate of a schedule may be 0, with which nothing more is learnt

    def state_dict(self) -> dict[str, Any]:
        return {"first": self._first, "before": self._before, "lr": self.lr}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        first = check_count("first", state["first"], at_least=0)
        if first > self._first:
            raise ValueError(f"it began at step {first}, after the {self._first} steps of the checkpoint")
        self._first = first
        self._before, self.lr = (check_number(name, state[name], at_least=0) for name in ("before", "lr"))


class ReduceLROnPlateau(Monitor):
    """
    Multiply the learning rate by a factor whenever a metric has not improved for some epochs.

    Parameters
    ----------
    monitor, patience, min_delta, mode
        See :class:`EarlyStopping`.
    factor : float
        In (0, 1).
    min_lr : float
        Smallest rate to reduce to; a rate below it stays.

    Examples
    --------
    >>> ReduceLROnPlateau("loss", factor=0.5, patience=2).factor
    0.5
    """

    factor = Checked(check_number, above=0, below=1)
    min_lr = Checked(check_number, at_least=0)

    def __init__(
        self,
        monitor: str = "val_loss",
        *,
        factor: float = 0.1,
        patience: int = 10,
        min_delta: float = 0.0,
        min_lr: float = 0.0,
        mode: Mode = "auto",
    ):
        super().__init__(monitor, mode, min_delta, patience)
        self.factor, self.min_lr = factor, min_lr

    def on_train_begin(self, trainer: Training) -> None:
        super().on_train_begin(trainer)
        self.lr = trainer.optimizer.lr

    def on_epoch_end(self, trainer: Training, logs: Logs) -> None:
        logs["lr"] = self.lr
        if not self.improved(logs) and self.waited >= self.patience:
            self.lr, self.waited = min(self.lr, max(self.lr * self.factor, self.min_lr)), 0
            trainer.optimizer.lr = self.lr

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "lr": self.lr}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.lr = check_number("lr", state["lr"], at_least=0)


class WeightAveraging(Callback):
    """
    Average the weights while training, and put their average in place at the end of ``fit``.

    With ``decay``, it is the exponential moving average ``a ← decay a + (1 - decay) w`` after each step [1]_; without,
    the mean of the weights at the ends of epochs [2]_. Either begins at the first weights that count. Floating-point
    buffers, such as the running statistics of :class:`portanet.BatchNorm`, are averaged too.

    Metrics and checkpoints during ``fit`` are those of the weights that are trained; a checkpoint also holds the
    average. Where ``fit`` ends within an epoch, by an interrupt for instance, the weights stay as they are.

    Parameters
    ----------
    decay : float, optional
        In [0, 1), such as 0.999: the average then goes back about 1000 steps.
    start_epoch : int
        How many epochs pass before the first one that counts: of 100 epochs, 75 averages the last 25.

    References
    ----------
    .. [1] B. T. Polyak, A. B. Juditsky, Acceleration of stochastic approximation by averaging, SIAM Journal on Control
       and Optimization 30, 1992.
    .. [2] P. Izmailov et al., Averaging weights leads to wider optima and better generalization, UAI 2018.

    Examples
    --------
    >>> trainer = portanet.Trainer(portanet.Linear(1, 1), portanet.MSELoss(), portanet.SGD(0.1))
    >>> x, averaging = np.ones((8, 1)), portanet.WeightAveraging(start_epoch=2)
    >>> _ = trainer.fit(x, x, epochs=5, callbacks=[averaging], progress=False)
    >>> averaging.n_averaged
    3
    """

    decay = Checked(optional(check_number), at_least=0, below=1)
    start_epoch = Checked(check_count, at_least=0)

    def __init__(self, decay: float | None = None, *, start_epoch: int = 0):
        self.decay, self.start_epoch = decay, start_epoch

    def on_train_begin(self, trainer: Training) -> None:
        self.n_averaged, self._within_epoch = 0, False
        self._averages = [namespace(array).asarray(array, copy=True) for array in _floating_arrays(trainer.net)]

    def on_train_batch_begin(self, trainer: Training) -> None:
        self._within_epoch = True  # with this method, steps run one by one: each counts

    def on_train_batch_end(self, trainer: Training) -> None:
        if self.decay is not None and len(trainer.history.epochs) >= self.start_epoch:
            self._add(trainer.net, 1.0 - self.decay)

    def on_epoch_end(self, trainer: Training, logs: Logs) -> None:
        self._within_epoch = False
        if self.decay is None and len(trainer.history.epochs) > self.start_epoch:
            self._add(trainer.net, 1.0 / (self.n_averaged + 1))

    def on_train_end(self, trainer: Training) -> None:
        if self.n_averaged and not self._within_epoch:
            for array, average in zip(_floating_arrays(trainer.net), self._averages, strict=True):
                array[...] = average
        self._averages = []

    def state_dict(self) -> dict[str, Any]:
        return {"n_averaged": self.n_averaged, "within_epoch": self._within_epoch, "averages": self._averages}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        found, ours = ([getattr(a, "shape", None) for a in each] for each in (state["averages"], self._averages))
        if found != ours:
            raise ValueError(f"the averages have shapes {shown(found)}, but must have {shown(ours)}")
        self.n_averaged = check_count("n_averaged", state["n_averaged"], at_least=0)
        self._within_epoch = check_flag("within_epoch", state["within_epoch"])
        for average, values in zip(self._averages, state["averages"], strict=True):
            average[...] = values

    def _add(self, net: Layer, share: float) -> None:
        for average, array in zip(self._averages, _floating_arrays(net), strict=True):
            average[...] = average + share * (array - average) if self.n_averaged else array
        self.n_averaged += 1


def _floating_arrays(net: Layer) -> list[Array]:
    """Return the weights of a network, and its buffers but those of integers, such as random streams."""
    buffers = [buffer.data for buffer in net.topology.buffers.values()]
    return [net.flat.data, *(a for a in buffers if isdtype(namespace(a), a.dtype, "real floating"))]
