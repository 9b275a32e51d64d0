"""One call of fit: epochs of steps, their averages, and the callbacks around them."""

import math
import re
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from time import perf_counter
from typing import Any

import numpy as np

from portanet.backends import OutOfMemory
from portanet.backends.precision import get_float32_matmul_precision
from portanet.checks import check_count, check_flag, shown
from portanet.engine.eager import EagerExecutor
from portanet.files import as_file_errors
from portanet.optimizers import Optimizer
from portanet.schema import Schema, first_mismatch, is_array, is_number
from portanet.training.callbacks import (
    Callback,
    EarlyStopping,
    LearningRateScheduler,
    Logs,
    ReduceLROnPlateau,
    Training,
    WeightAveraging,
    check_logs,
)
from portanet.training.checkpoint import Checkpoint
from portanet.training.data import Data
from portanet.training.divergence import Diverged, find_divergence
from portanet.training.interrupts import DeferredSignals, Interrupted
from portanet.training.ranks import FitRanks
from portanet.training.scores import Scorer
from portanet.training.slowness import StepTimes
from portanet.training.state import TrainingState
from portanet.training.truncated import check_carried
from portanet.tree import map_shapes, tree_leaves, tree_unflatten
from portanet.typing import Array, Shape, Shapes

FIT: Schema = {
    "stopped": bool,
    "first_epoch": int,
    "n_done": int,
    "epoch": {"examples": int, "steps": int, "shuffle": bool},
    "losses": is_array,
    "metrics": [[is_number]],
    "kept": [[is_array]],
    "carried": [[is_array]],
    "callbacks": [{"class": str, "needed": bool, "state": {}}],
}
"""What :meth:`FitLoop.state_dict` returns."""


ADDRESS = re.compile(r" at 0x[0-9a-f]+")
"""Part of the repr of a function, which differs between processes."""


class FitLoop:
    """
    Runs the epochs of one call of :meth:`portanet.Trainer.fit`.

    Parameters
    ----------
    training : Training
        The trainer, as callbacks see it.
    state : TrainingState
        What the steps change.
    executor : EagerExecutor
        Runs the steps of an epoch.
    scorer : Scorer
        Averages their numbers.
    data : Data
        What is trained on, or the first batch of an iterable.
    shuffle : numpy.random.Generator or None
        Draws the order of the examples for each epoch; without it they keep theirs.
    validate : callable or None
        Returns loss and metrics of the validation data.
    callbacks : sequence of Callback
    on_out_of_memory : callable
        Takes the OutOfMemory error of a step, and returns the one to raise.
    ranks : FitRanks
        What the ranks decide together.
    """

    def __init__(
        self,
        training: Training,
        state: TrainingState,
        executor: EagerExecutor,
        scorer: Scorer,
        *,
        data: Data,
        shuffle: np.random.Generator | None,
        validate: Callable[[], Logs] | None,
        callbacks: Sequence[Callback],
        on_out_of_memory: Callable[[OutOfMemory], OutOfMemory],
        ranks: FitRanks,
    ):
        self.ranks = ranks
        self.training, self.state, self.executor, self.scorer, self.data = training, state, executor, scorer, data
        self.shuffle, self.validate, self.on_out_of_memory = shuffle, validate, on_out_of_memory
        self.callbacks = sorted(callbacks, key=lambda call: call.run_last)  # checkpoints hold what the others changed
        self.stopped = False
        self.order_state: dict[str, Any] | None = None  # of shuffle at the beginning of the epoch that runs
        self._signals = DeferredSignals()
        self._times = StepTimes(state.backend.get_num_threads)
        # Where fit resumes within an epoch: the steps done, and what the scorer kept of them.
        self._n_done = 0
        self._kept: list[tuple[Any, Any]] = []
        self._before_steps = _overriding("on_train_batch_begin", self.callbacks)
        self._after_steps = _overriding("on_train_batch_end", self.callbacks)

    def begin(self, saved: Checkpoint | None = None) -> None:
        """Prepare the callbacks, and go on from a checkpoint if one is given."""
        rates = [call for call in self.callbacks if isinstance(call, (LearningRateScheduler, ReduceLROnPlateau))]
        if len(rates) > 1:
            names = " and ".join(type(call).__name__ for call in rates)
            raise ValueError(f"callbacks must hold one that sets the learning rate, got {names}: give one of them")
        averaging = [call for call in self.callbacks if isinstance(call, WeightAveraging)]
        restoring = [call for call in self.callbacks if isinstance(call, EarlyStopping) and call.restore_best_weights]
        if averaging and len(averaging + restoring) > 1:
            names = " and ".join(type(call).__name__ for call in averaging + restoring)
            fix = "give one of them, or EarlyStopping(restore_best_weights=False)"
            raise ValueError(f"callbacks must hold one that sets the weights at the end, got {names}: {fix}")
        self._check_monitored(("lr",) if rates else ())
        self.ranks.synchronize(self.state, self.shuffle, self._settings())
        with ExitStack() as at_error:
            for call in self.callbacks:
                call.on_train_begin(self.training)
                at_error.callback(call.on_train_end, self.training)
            if saved is not None:
                state = saved.state["fit"]
                with as_file_errors(saved.path):
                    self.load_state_dict(state)
                self.executor.skip_epochs(len(self.training.history.epochs), state["first_epoch"] if state else 0)
            at_error.pop_all()

    def _settings(self) -> dict[str, Any]:
        """Return what must be the same on all ranks."""
        flat, ranks = self.state.flat, self.ranks
        described = {"loss": self.scorer.loss, "optimizer": self.state.optimizer, "net": self.state.net}
        return {
            "x": "arrays" if self.executor.n_examples is not None else "an iterable",
            **self._epoch(),
            "batches": list(self.executor.sizes),
            "weights": "given" if self.scorer.weighted else "none",
            "metrics": list(self.scorer.names),
            "validation": self.validate is not None,
            **{name: ADDRESS.sub("", repr(value)) for name, value in described.items()},
            "parameters": f"{flat.data.shape[0]} of {flat.dtype}",
            "frozen": sorted(self.state.net.topology.frozen),
            "sync_batch_norm": ranks.sync_batch_norm,
            "callbacks": [type(call).__name__ for call in self.callbacks if call.on_all_ranks],
        }

    def _check_monitored(self, extra: tuple[str, ...]) -> None:
        """Refuse callbacks that read an entry of the logs which nothing records; ``extra`` are recorded too."""
        names, of_epochs = self.training.metric_names, _overriding("on_epoch_end", self.callbacks)
        own = any(not type(call).__module__.startswith("portanet.") for call in of_epochs)  # may record anything
        for call in self.callbacks:
            for name in call.monitored():
                unvalidated = name.removeprefix("val_") in names
                if name not in (*names, *extra) and (unvalidated or not own):
                    fix = "; give fit validation_data=(x, y)" if unvalidated else ""
                    found = f"there are {', '.join(names)}{fix}"
                    raise ValueError(f"{type(call).__name__} needs {name!r}, which is not recorded: {found}")

    def run(self, epochs: int) -> None:
        """Train until the history has a number of epochs, or a callback stops it."""
        training, history = self.training, self.training.history
        with self._signals as signals, ExitStack() as at_end:
            at_end.push(self._close)
            for call in self.callbacks:
                at_end.callback(call.on_train_end, training)
            try:
                while len(history.epochs) < epochs and not self.stopped:
                    self.executor.epochs_remaining = epochs - len(history.epochs)
                    logs = self._train()
                    if self.validate is not None:
                        logs |= self._validate(self.validate)
                    history.append(logs)
                    self.order_state = None
                    for call in self.callbacks:
                        call.on_epoch_end(training, logs)
                        check_logs(logs)
                    self.stopped = self.ranks.end_epoch(signals, self.stopped)
            except Interrupted:
                for call in self.callbacks:
                    call.on_interrupt(training)
                self.ranks.communicator.barrier()  # a signal ends another rank only when the files are there
                raise

    def _close(self, kind: type[BaseException] | None, *of_error: object) -> None:
        """End what runs beside the steps; after an interrupt, do not wait for a batch that may never come."""
        self.executor.close(wait=kind is None or not issubclass(kind, KeyboardInterrupt))

    def _train(self) -> Logs:
        """Run the steps of one epoch, and average their numbers."""
        state, executor = self.state, self.executor
        before = state.snapshot()  # of the checkpoint, if the epoch had begun there
        try:
            with state.backend.activate():  # leaving it turns the library's error into OutOfMemory
                self._run_steps()
                self.ranks.end_steps(state)
                table = state.backend.to_numpy(executor.metrics).astype("float64")  # no step reads back
                self._check_finite(table[:, 0], before)
                return self.scorer.averages(table, executor.sizes)
        except OutOfMemory as error:
            executor.free_memory()
            raise self.on_out_of_memory(error) from None

    def _run_steps(self) -> None:
        training, state, executor = self.training, self.state, self.executor
        if executor.records:
            self._retain()
        self.order_state = {} if self.shuffle is None else dict(self.shuffle.bit_generator.state)
        executor.start_epoch(
            None if self.shuffle is None else self.shuffle.permutation(executor.n_examples or 0), self._n_done
        )
        self.scorer.kept = self._kept
        self._n_done, self._kept = 0, []
        while self._remaining():
            self.ranks.check_signals(self._signals)
            for call in self._before_steps:
                call.on_train_batch_begin(training)
            if executor.records and (self._before_steps or self._after_steps):  # they may have changed settings
                self._retain()
            state.check_current()
            begin = perf_counter()
            n_run = executor.run(1 if self._before_steps else executor.remaining)
            seconds = (perf_counter() - begin) / n_run
            training.steps += n_run
            for call in self._after_steps:
                call.on_train_batch_end(training)
            if self._remaining():  # the last batch may be shorter
                self._times.add(seconds)
        if executor.n_steps is not None and executor.n_done < executor.n_steps:
            text = f"x yields only {executor.n_done} batches of steps_per_epoch={executor.n_steps}"
            warnings.warn(text, UserWarning, stacklevel=6)  # the call of fit

    def _retain(self) -> None:
        """Tell the executor which arrays the steps change, and all that they read from Python."""
        state, precision = self.state, self.training.float32_matmul_precision
        settings = (
            state.net.topology,
            *(repr(state.net), repr(self.training.loss)),
            _settings_without_lr(state.optimizer),
            precision or get_float32_matmul_precision(),
        )
        self.executor.retain([*state.arrays.values(), state.optimizer.lr_array], settings)

    def _remaining(self) -> int:
        """Return how many steps are left in the epoch; a signal does not wait for the next batch of an iterable."""
        if self.executor.n_examples is not None:
            return self.executor.remaining
        with self._immediate():
            return self.executor.remaining

    def _immediate(self) -> AbstractContextManager[None]:
        """Let a signal interrupt what changes nothing; of several ranks, one must not stop alone."""
        return self._signals.immediate() if self.ranks.is_single else nullcontext()

    def _check_finite(self, losses: np.ndarray, before: list[Any]) -> None:
        """Undo an epoch after which the loss or an array is not finite, and raise."""
        history = self.training.history
        what = find_divergence(losses, self.state.not_finite(), len(history.epochs) + 1)
        if what is not None:
            self.state.restore(before)
            fix = "this epoch was undone: take a smaller learning rate, or set clip_norm"
            raise Diverged(f"{what}; {fix}", history)

    def _validate(self, validate: Callable[[], Logs]) -> Logs:
        with self._immediate():
            scores = validate()
        if not math.isfinite(scores["loss"]):
            fix = "check validation_data for extreme values, or take a lower learning rate"
            warnings.warn(f"val_loss is {scores['loss']}: {fix}", UserWarning, stacklevel=5)  # the call of fit
        return {f"val_{name}": value for name, value in scores.items()}

    def batch_logs(self) -> Logs:
        """Return loss and metrics of the last step of this epoch; it reads them back from the device."""
        n_done = self.executor.n_done
        return self.scorer.named(self.state.backend.to_numpy(self.executor.metrics[n_done - 1, ...])) if n_done else {}

    def state_dict(self) -> dict[str, Any]:
        """Return the place in the epoch, the numbers of its steps so far, and the states of the callbacks."""
        executor, within = self.executor, self.order_state is not None
        n_done = executor.n_done if within else 0
        return {
            "stopped": self.stopped,
            "first_epoch": executor.first_epoch,
            "n_done": n_done,
            "epoch": self._epoch(),
            "losses": executor.metrics[:n_done, 0],
            # As numbers, which may be NaN: no checkpoint is written with an array that is not finite.
            "metrics": self.state.backend.to_numpy(executor.metrics[:n_done, 1:]).tolist(),
            "kept": self.scorer.state_dict() if within else [],
            "carried": executor.carried() if within else [],
            "callbacks": [
                {"class": type(call).__name__, "state": state, "needed": call.required_state and call.on_all_ranks}
                for call in self.callbacks
                if (state := call.state_dict())
            ],
        }

    def load_state_dict(self, state: dict[str, Any] | None) -> None:
        """
        Go on from what :meth:`state_dict` returned, or from the end of a ``fit`` with None.

        Raises
        ------
        ValueError
            If the data, the metrics or the callbacks differ from those of the checkpoint.
        """
        if state is None:
            return
        if mismatch := first_mismatch(state, FIT):
            raise ValueError(mismatch)
        n_done = check_count("n_done", state["n_done"], at_least=0)
        check_count("first_epoch", state["first_epoch"], at_least=0)
        if n_done and (state["epoch"] != self._epoch() or not self._fits_table(state, n_done)):
            n, steps = state["epoch"]["examples"], state["epoch"]["steps"]
            raise ValueError(
                f"it was written within an epoch of {n} examples in {steps} steps, after step {n_done}: "
                f"give fit the same data, batch_size, shuffle, truncated_bptt_steps and metrics"
            )
        kept = self._check_kept(state["kept"], n_done)
        last = self.executor.batches[n_done - 1] if n_done and self.executor.part_length else slice(0, 0)
        check_carried(self.state.net, state["carried"], last.stop - last.start)
        for call, of_call in _match_states(self.callbacks, state["callbacks"]):
            try:
                call.load_state_dict(of_call)
            except Exception as error:
                fault = f"{type(error).__name__}: {error}"
                raise ValueError(f"{type(call).__name__} refuses the state of its callback ({fault})") from error
        self.stopped, self._n_done = check_flag("stopped", state["stopped"]), n_done
        self._kept = kept
        if n_done:  # between epochs, other metrics may be taken
            xp, backend = self.state.flat.xp, self.state.backend
            rows = backend.asarray(np.asarray(state["metrics"], dtype="float64"), self.state.flat.dtype, name="metrics")
            losses = xp.expand_dims(state["losses"], axis=1)
            self.executor.restore(n_done, xp.concat([losses, xp.reshape(rows, (n_done, -1))], axis=1))
            self.executor.carry(state["carried"])

    def _fits_table(self, state: dict[str, Any], n_done: int) -> bool:
        """Whether a state has a loss, and a number for each other column of the table, for each step done."""
        if n_done > (self.executor.n_steps or n_done) or state["losses"].shape != (n_done,):
            return False
        return [len(row) for row in state["metrics"]] == [self.scorer.n_columns - 1] * n_done

    def _check_kept(self, kept: Any, n_done: int) -> list[tuple[Any, Any]]:
        """Refuse other arrays than the predictions and targets of the first batches of the epoch."""
        data, net, n_kept = self.data, self.state.net, n_done if self.scorer.of_all else 0
        sizes = [arrays[-1].shape[0] for arrays in kept] if self.executor.n_examples is None else self.executor.sizes
        output_shape = net.output_shape(data.input_shape)
        of_prediction: list[Shape] = []
        map_shapes(of_prediction.append, output_shape)
        of_one = [*of_prediction, *(tuple(array.shape[1:]) for array in tree_leaves(data.y))]
        shapes = [[(n, *shape) for shape in of_one] for n in sizes[:n_kept]]
        found = [[getattr(array, "shape", None) for array in arrays] for arrays in kept]
        if found != shapes:
            raise ValueError(f"its predictions and targets have shapes {shown(found)}, but must have {shown(shapes)}")
        n = len(of_prediction)
        return [(_like_shapes(output_shape, arrays[:n]), tree_unflatten(data.y, arrays[n:])) for arrays in kept]

    def _epoch(self) -> dict[str, Any]:
        """Describe what an epoch consists of."""
        return {
            "examples": self.executor.n_examples or 0,
            "steps": self.executor.n_steps or 0,
            "shuffle": self.shuffle is not None,
            "truncated_bptt_steps": self.executor.part_length or 0,
            "metrics": list(self.scorer.names),
        }


def _like_shapes(shapes: Shapes, arrays: Sequence[Array]) -> Any:
    """Return arrays in the structure of their shapes."""
    remaining = iter(arrays)
    return map_shapes(lambda shape: next(remaining), shapes)


def _settings_without_lr(optimizer: Optimizer) -> list[str]:
    """
    Write the settings of an optimizer but the learning rate, which steps read from the device.

    Examples
    --------
    >>> _settings_without_lr(portanet.SGD(0.1, momentum=0.9))[:2]
    ['momentum=0.9', 'nesterov=False']
    """
    try:
        arguments = optimizer.arguments()
    except TypeError:  # of a class that does not keep them
        return [repr(optimizer)]
    return [f"{name}={value!r}" for name, value in arguments.items() if name != "lr"]


def _overriding(hook: str, callbacks: Sequence[Callback]) -> list[Callback]:
    """Return the callbacks that override a method of Callback."""
    return [call for call in callbacks if getattr(type(call), hook) is not getattr(Callback, hook)]


def _match_states(
    callbacks: Sequence[Callback], states: Sequence[dict[str, Any]]
) -> list[tuple[Callback, dict[str, Any]]]:
    """
    Return each state with its callback: the first of the same class that is left.

    Examples
    --------
    >>> _match_states([portanet.Callback()], [{"class": "EarlyStopping", "state": {"waited": 1}, "needed": True}])
    Traceback (most recent call last):
    ...
    ValueError: it holds the state of a callback EarlyStopping: give fit the same callbacks
    """
    left, pairs = list(callbacks), []
    for entry in states:
        call = next((call for call in left if type(call).__name__ == entry["class"]), None)
        if call is not None:
            left.remove(call)
            pairs.append((call, entry["state"]))
        elif entry["needed"]:  # without the others, training goes on as before
            raise ValueError(f"it holds the state of a callback {entry['class']}: give fit the same callbacks")
    return pairs
