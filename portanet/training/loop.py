"""One call of fit: epochs of steps, their averages, and the callbacks around them."""

import math
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from portanet.backends import OutOfMemory
from portanet.engine.eager import EagerExecutor
from portanet.training.callbacks import Callback, Logs, Training, check_logs
from portanet.training.divergence import Diverged, find_divergence
from portanet.training.scores import Scorer
from portanet.training.state import TrainingState


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
    shuffle : numpy.random.Generator or None
        Draws the order of the examples for each epoch; without it they keep theirs.
    validate : callable or None
        Returns loss and metrics of the validation data.
    callbacks : sequence of Callback
    explain : callable
        Takes the OutOfMemory error of a step, and returns the one to raise.
    """

    def __init__(
        self,
        training: Training,
        state: TrainingState,
        executor: EagerExecutor,
        scorer: Scorer,
        *,
        shuffle: np.random.Generator | None,
        validate: Callable[[], Logs] | None,
        callbacks: Sequence[Callback],
        explain: Callable[[OutOfMemory], OutOfMemory],
    ):
        self.training, self.state, self.executor, self.scorer = training, state, executor, scorer
        self.shuffle, self.validate, self.callbacks, self.explain = shuffle, validate, callbacks, explain
        self.stopped = False
        self._before_steps = _overriding("on_train_batch_begin", callbacks)
        self._after_steps = _overriding("on_train_batch_end", callbacks)

    def run(self, epochs: int) -> None:
        """Train until the history has a number of epochs, or a callback stops it."""
        training, history = self.training, self.training.history
        with ExitStack() as at_end:
            at_end.callback(self.executor.retain, [])  # a recording refers to the executor, and the executor to it
            for call in self.callbacks:
                at_end.callback(call.on_train_end, training)
                call.on_train_begin(training)
            while len(history.epochs) < epochs and not self.stopped:
                logs = self._train()
                if self.validate is not None:
                    logs |= self._validate(self.validate)
                history.append(logs)
                for call in self.callbacks:
                    call.on_epoch_end(training, logs)
                    check_logs(logs)

    def _train(self) -> Logs:
        """Run the steps of one epoch, and average their numbers."""
        state, executor = self.state, self.executor
        before = state.snapshot()
        try:
            with state.backend.activate():  # leaving it turns the library's error into OutOfMemory
                self._run_steps()
                table = state.backend.to_numpy(executor.metrics).astype("float64")  # no step reads back
                self._check_finite(table[:, 0], before)
                return self.scorer.averages(table, [batch.stop - batch.start for batch in executor.batches])
        except OutOfMemory as error:
            raise self.explain(error) from None

    def _run_steps(self) -> None:
        training, state, executor = self.training, self.state, self.executor
        optimizer = state.optimizer
        settings = state.net.topology, optimizer.weight_decay, optimizer.clip_norm, optimizer.groups
        executor.retain([*state.arrays.values(), optimizer.lr_array], settings)
        n = executor.batches[-1].stop
        executor.start_epoch(None if self.shuffle is None else self.shuffle.permutation(n))
        while executor.remaining:
            for call in self._before_steps:
                call.on_train_batch_begin(training)
            state.check_current()
            training.steps += executor.run(1 if self._before_steps else executor.remaining)
            for call in self._after_steps:
                call.on_train_batch_end(training)

    def _check_finite(self, losses: np.ndarray, before: list[Any]) -> None:
        """Undo an epoch after which the loss or an array is not finite, and raise."""
        history = self.training.history
        what = find_divergence(losses, self.state.not_finite(), len(history.epochs) + 1)
        if what is not None:
            self.state.restore(before)
            fix = "this epoch was undone: take a smaller learning rate, or set clip_norm"
            raise Diverged(f"{what}; {fix}", history)

    def _validate(self, validate: Callable[[], Logs]) -> Logs:
        scores = validate()
        if not math.isfinite(scores["loss"]):
            fix = "check validation_data for extreme values, or take a lower learning rate"
            warnings.warn(f"val_loss is {scores['loss']}: {fix}", UserWarning, stacklevel=5)  # the call of fit
        return {f"val_{name}": value for name, value in scores.items()}


def _overriding(hook: str, callbacks: Sequence[Callback]) -> list[Callback]:
    """Return the callbacks that override a method of Callback."""
    return [call for call in callbacks if getattr(type(call), hook) is not getattr(Callback, hook)]
