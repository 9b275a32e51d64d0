"""One training step after another, on data that are on the device."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from portanet.backends import Backend
from portanet.typing import Array

Step: TypeAlias = Callable[..., Sequence[Array | float]]
"""Takes a batch, changes the weights, and returns numbers: the loss and the metrics."""


class EagerExecutor:
    """
    Runs the steps of an epoch one by one.

    Parameters
    ----------
    step : callable
        ``step(*batch)`` takes one array for each of ``data``, and returns numbers or arrays of shape ().
    data : tuple of arrays, shape (N, ...)
        Inputs, targets and maybe weights, on the device.
    batches : sequence of slice
        Of the N examples, in order.
    metrics : array, shape (len(batches), M)
        Each step writes its numbers into a row.
    backend : Backend
        Of these arrays.

    Examples
    --------
    >>> x, metrics = np.asarray([1.0, 2.0, 4.0]), np.zeros((2, 1))
    >>> batches = [slice(0, 2), slice(2, 3)]
    >>> cpu = portanet.get_backend("cpu")
    >>> executor = EagerExecutor(lambda x, y: [np.sum(x * y)], (x, x), batches, metrics, cpu)
    >>> executor.start_epoch(order=np.asarray([2, 1, 0]))
    >>> while executor.remaining:
    ...     n_steps = executor.run()
    >>> metrics
    array([[20.],
           [ 1.]])
    """

    records = False
    """Whether steps are recorded, so that :meth:`retain` must know what they read."""

    epochs_remaining = 1
    """Epochs that are to be run, with the current one, unless training is stopped."""

    def __init__(self, step: Step, data: tuple[Array, ...], batches: Sequence[slice], metrics: Array, backend: Backend):
        self.step, self.data, self.batches, self.metrics, self.backend = step, data, batches, metrics, backend

    def retain(self, arrays: Sequence[Array], settings: object = None) -> None:
        """Keep the arrays that the steps of an epoch change, and their settings; only recorded steps need it."""

    def free_memory(self) -> bool:
        """Free what makes steps faster; return whether there was any. It is not to be called within a step."""
        return False

    def start_epoch(self, order: np.ndarray | None, n_done: int = 0) -> None:
        """Begin an epoch, with the examples in an order or as they are, after steps that were done before."""
        self.order = None if order is None else self.backend.asarray(order)
        self.n_done = n_done

    @property
    def n_steps(self) -> int | None:
        """Steps of an epoch, or None if they are not known before its end."""
        return len(self.batches)

    @property
    def n_examples(self) -> int | None:
        """Examples of an epoch, or None if they are not known before its end."""
        return int(self.batches[-1].stop)

    @property
    def sizes(self) -> list[int]:
        """Examples of each batch."""
        return [batch.stop - batch.start for batch in self.batches]

    def restore(self, n_done: int, metrics: Array) -> None:
        """Take over the numbers of steps that were done before."""
        self.metrics[:n_done, ...] = metrics

    part_length: int | None = None
    """Positions of a step, if sequences are divided."""

    def carried(self) -> list[list[Array]]:
        """Return what layers carry from step to step, for a checkpoint; only parts of sequences have such."""
        return []

    def carry(self, arrays: Sequence[Sequence[Array]]) -> None:
        """Take over what layers carried from the steps that were done before."""

    def close(self, *, wait: bool = True) -> None:
        """End what runs beside the steps, and wait for it."""

    @property
    def first_epoch(self) -> int:
        """Number of the first epoch, for iterables that begin with another one."""
        return 0

    def skip_epochs(self, n_epochs: int, first_epoch: int) -> None:
        """Leave out epochs that were done before; each begins anew here."""

    @property
    def remaining(self) -> int:
        """Number of steps left in the epoch."""
        return len(self.batches) - self.n_done

    def run(self, most: int = 1) -> int:
        """Run the next step, or up to ``most`` at once; return how many."""
        metrics, n_done = self.metrics, self.n_done
        for i, number in enumerate(self.step(*self.next_batch())):
            metrics[n_done, i] = number
        self.n_done += 1
        return 1

    def next_batch(self) -> tuple[Array, ...]:
        """Return the arrays of the next batch."""
        batch = self.batches[self.n_done]
        if self.order is None:
            return tuple([array[batch, ...] for array in self.data])
        take, rows = self.backend.xp.take, self.order[batch]
        return tuple([take(array, rows, axis=0) for array in self.data])
