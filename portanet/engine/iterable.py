"""
Steps on batches that an iterable yields; their number may be unknown until its end.

Gain: data that are made, read or augmented while training need not fit into memory.
"""

from typing import Any

import numpy as np

from portanet.backends import Backend
from portanet.engine.eager import EagerExecutor, Step
from portanet.typing import Array


class IterableExecutor(EagerExecutor):
    """
    Runs steps one by one on the batches of a stream.

    Parameters
    ----------
    step, metrics, backend
        See :class:`EagerExecutor`; the rows of metrics are doubled when they are full.
    stream : BatchStream
        With methods ``restart``, ``peek``, ``take``, ``skip_epochs`` and ``close``.
    n_steps : int or None
        Steps of an epoch; by default all batches that there are.
    """

    def __init__(self, step: Step, stream: Any, metrics: Array, backend: Backend, n_steps: int | None):
        self.step, self.stream, self.backend, self.limit = step, stream, backend, n_steps
        self.table, self.n_done, self.data = metrics, 0, stream.peek().arrays
        self._sizes: list[int] = []

    @property
    def n_steps(self) -> int | None:
        """Steps of an epoch, if they are known."""
        return self.limit

    @property
    def n_examples(self) -> int | None:
        """Examples of an epoch, which are not known."""
        return None

    @property
    def sizes(self) -> list[int]:
        """Examples of each batch so far."""
        return self._sizes

    @property
    def metrics(self) -> Array:
        """Rows of the steps that were done."""
        return self.table[: self.n_done, ...]

    def restore(self, n_done: int, metrics: Array) -> None:
        """Take over the rows of steps that were done before."""
        while self.table.shape[0] < n_done:
            self._grow()
        self.table[:n_done, ...] = metrics

    @property
    def first_epoch(self) -> int:
        """Number of the first epoch, which decides its order where the iterable has ``set_epoch``."""
        return int(self.stream.first_epoch)

    def skip_epochs(self, n_epochs: int, first_epoch: int) -> None:
        """Leave out epochs that were done before, where the next epoch does not begin anew."""
        self.stream.skip_epochs(first_epoch, n_epochs, self.limit)

    def start_epoch(self, order: np.ndarray | None, n_done: int = 0) -> None:
        """Begin an epoch; batches of steps that were done before are left out."""
        self.stream.restart()
        self._sizes, self.n_done = [], 0
        for _ in range(n_done):
            self._next()
            self.n_done += 1
        if n_done == 0 and self.stream.peek() is None:
            raise ValueError("x yields no more batches: lower epochs or steps_per_epoch")

    @property
    def remaining(self) -> int:
        """1 if there is another step in the epoch, else 0; waits for the next batch."""
        return int(self.n_done != self.limit and self.stream.peek() is not None)

    def run(self, most: int = 1) -> int:
        """Run the next step."""
        if self.n_done == self.table.shape[0]:
            self._grow()
        for i, number in enumerate(self.step(*self._next())):
            self.table[self.n_done, i] = number
        self.n_done += 1
        return 1

    def close(self, *, wait: bool = True) -> None:
        """End the thread that fetches batches."""
        self.stream.close(wait=wait)

    def _next(self) -> tuple[Array, ...]:
        batch = self.stream.take()
        self._sizes.append(batch.n_examples)
        arrays: tuple[Array, ...] = batch.arrays
        return arrays

    def _grow(self) -> None:
        xp = self.backend.xp
        self.table = xp.concat([self.table, xp.zeros_like(self.table)], axis=0)
