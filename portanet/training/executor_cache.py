"""Recorded steps that a further call of ``fit`` uses again."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from portanet.backends import OutOfMemory
from portanet.engine.eager import EagerExecutor
from portanet.training.scores import Scorer

R = TypeVar("R")


class ExecutorCache:
    """
    The executor of a call of ``fit``, and its scorer; kept after it if the data were given on the device.

    Recording takes as long as many steps. An executor holds its data: it is not kept after it has copied them from the
    host, where a further ``fit`` would copy them anew.
    """

    def __init__(self) -> None:
        self._kept: tuple[EagerExecutor, Scorer] | None = None

    def get_or_add(self, executor: EagerExecutor, scorer: Scorer) -> tuple[EagerExecutor, Scorer]:
        """Return executor and scorer of the last call if they run the same steps, else those that are given."""
        if self._kept is None or not _same_steps(*self._kept, executor, scorer):
            self.clear()
            self._kept = executor, scorer
        return self._kept

    def keep_only_if_given(self, given: Iterable[Any]) -> None:
        """Keep the executor if it records, and all of its data are among the arrays that ``fit`` was given."""
        ids = {*map(id, given)}
        if self._kept is None:
            return
        executor, _ = self._kept
        if not (executor.records and all(id(array) in ids for array in executor.data)):
            self.clear()

    def clear(self) -> None:
        """Drop the executor, and what it has recorded."""
        if self._kept is not None:
            self._kept[0].retain([])  # recorded steps refer back to the executor
        self._kept = None

    def retry_without_recording(self, compute: Callable[[], R]) -> R:
        """Return ``compute()``; if memory runs out, drop what is recorded and try again."""
        try:
            return compute()
        except OutOfMemory:
            if self._kept is None or not self._kept[0].free_memory():
                raise
            return compute()


def _same_steps(kept: EagerExecutor, kept_scorer: Scorer, executor: EagerExecutor, scorer: Scorer) -> bool:
    """Whether two executors run the same steps, apart from settings that :meth:`EagerExecutor.retain` compares."""
    return (
        kept.records
        and type(kept) is type(executor)
        and [*map(id, kept.data)] == [*map(id, executor.data)]
        and kept.batches == executor.batches
        and kept.metrics.dtype == executor.metrics.dtype
        and kept_scorer.loss is scorer.loss
        and kept_scorer.metrics == scorer.metrics
    )
