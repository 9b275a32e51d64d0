"""
Steps on a part of each batch, where several processes, the ranks, train one network.

Each rank computes the gradient of its part. Their sum is the gradient of the whole batch, and every rank makes the same
step with it. P ranks with batches of b examples give the weights of one rank with batches of P b.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from portanet.backends import Backend, take_rows
from portanet.engine.eager import EagerExecutor, Step
from portanet.engine.iterable import IterableExecutor
from portanet.engine.step import Trainable
from portanet.kernels.slices import part_of
from portanet.layers.shard import Shard, shard_as
from portanet.losses import Loss
from portanet.optimizers import Optimizer
from portanet.typing import Array, Ranks


class ParallelStep:
    """
    :func:`portanet.engine.train_step` for a part of a batch.

    Parameters
    ----------
    communicator : Communicator
    """

    def __init__(self, communicator: Ranks):
        self.communicator = communicator
        self.stop, self.all_stop = False, False  # whether a signal has come to this rank, and to any
        self._numbers: Array | None = None

    def __call__(
        self,
        net: Trainable,
        loss: Loss,
        optimizer: Optimizer,
        x: Array,
        y: Array,
        *,
        sample_weight: Array | None = None,
    ) -> tuple[Array, Array]:
        """Change the weights once; return the loss of the whole batch, and the prediction for this part."""
        flat = optimizer.flat
        if flat is None:
            raise RuntimeError("the optimizer is not bound: bind(net)")
        prediction, pullback = net.vjp(x)
        value, loss_pullback = loss.vjp(prediction, y, sample_weight)
        xp, n = flat.xp, weight_of_part(loss, prediction, y, sample_weight)
        net.zero_grad()
        pullback(loss_pullback(n), need_dx=False)
        numbers = self._numbers
        if numbers is None or numbers.dtype != flat.grad.dtype:
            numbers = self._numbers = xp.zeros(3, dtype=flat.grad.dtype, device=flat.grad.device)
        numbers[0], numbers[1], numbers[2] = value * n, n, float(self.stop)
        self.communicator.all_reduce(numbers)
        self.communicator.all_reduce(flat.grad)
        total = 1.0 if loss.reduction == "sum" else xp.where(numbers[1] > 0, numbers[1], xp.ones_like(numbers[1]))
        flat.grad /= total
        if isinstance(numbers, np.ndarray):  # reading it back from a GPU would stall it: there, an epoch ends first
            self.all_stop = bool(numbers[2] > 0)
        optimizer.step()
        return numbers[0] / total, prediction


def weight_of_part(loss: Loss, prediction: Array, y: Array, sample_weight: Array | None) -> Any:
    """
    Return how much the mean over a part of a batch weighs in the mean over the whole; for a sum, 1.

    Examples
    --------
    >>> weight_of_part(portanet.CrossEntropyLoss(), np.zeros((3, 2)), np.asarray([0, 1, 1]), None)
    3.0
    """
    if loss.reduction == "sum":
        return 1.0
    n = loss.weight_of_batch(prediction, y, sample_weight)
    return float(n) if isinstance(n, int) else n


class _PartExecutor(EagerExecutor):
    """Base of the executors of parts: it runs a step on a part of a batch, and sums the numbers of all parts."""

    settings: "ParallelSettings"

    def _run_part(self, first: int, n: int, n_total: int, batch: tuple[Array, ...], row: Array) -> None:
        """Run a step on n of the n_total examples of a batch, and write the numbers of the whole batch into a row."""
        settings, n_summed = self.settings, self.settings.n_summed
        if n == 0:  # the batch has fewer examples than there are ranks: an example of weight 0 stands for none
            batch = (*batch[: settings.n_arrays], self.backend.xp.zeros_like(row[:1]))
        with shard_as(Shard(first, n_total, n > 0, self._all_reduce_sum, settings.sync_batch_norm)):
            for i, number in enumerate(self.step(*batch)):
                row[i] = number
        if row.shape[0] > 1:  # the first is the loss of the whole batch already
            row[n_summed:] *= n / n_total
            settings.communicator.all_reduce(numbers := self.backend.xp.asarray(row[1:], copy=True))
            row[1:] = numbers

    def _all_reduce_sum(self, array: Array) -> Array:
        total = self.backend.xp.asarray(array, copy=True)
        self.settings.communicator.all_reduce(total)
        return total


class ParallelExecutor(_PartExecutor):
    """
    Runs steps on the part of each batch that belongs to this rank; it reads no other examples.

    Parameters
    ----------
    step, data, metrics, backend
        See :class:`EagerExecutor`; data on the host are brought to the device part by part.
    batches : sequence of slice
        The whole batches.
    settings : ParallelSettings
    """

    def __init__(
        self,
        step: Step,
        data: tuple[Array, ...],
        batches: Sequence[slice],
        metrics: Array,
        backend: Backend,
        *,
        settings: "ParallelSettings",
    ):
        super().__init__(step, data, batches, metrics, backend)
        self.settings, self.dtype = settings, backend.to_numpy(metrics[:0, ...]).dtype

    def start_epoch(self, order: np.ndarray | None, n_done: int = 0) -> None:
        """Begin an epoch, with the examples in an order or as they are, after steps that were done before."""
        self.host_order, self.n_done = order, n_done

    def run(self, most: int = 1) -> int:
        """Run the next step."""
        batch = self.batches[self.n_done]
        part = part_of(batch, self.settings.communicator.rank, self.settings.communicator.size)
        taken = part if part.stop > part.start else slice(batch.start, batch.start + 1)
        rows = taken if self.host_order is None else self.host_order[taken]
        arrays = tuple([self._on_device(take_rows(array, rows)) for array in self.data])
        first, n, n_total = part.start - batch.start, part.stop - part.start, batch.stop - batch.start
        self._run_part(first, n, n_total, arrays, self.metrics[self.n_done, ...])
        self.n_done += 1
        return 1

    def _on_device(self, array: Array) -> Array:
        if isinstance(array, np.ndarray) and array.dtype.kind == "f":
            array = array.astype(self.dtype, copy=False)
        return self.backend.asarray(array)


class ParallelIterableExecutor(_PartExecutor, IterableExecutor):
    """
    Runs steps on batches that an iterable of each rank yields: together they are one batch.

    An epoch ends as soon as one of the iterables ends.

    Parameters
    ----------
    step, stream, metrics, backend, n_steps
        See :class:`IterableExecutor`.
    settings : ParallelSettings
    """

    def __init__(
        self,
        step: Step,
        stream: Any,
        metrics: Array,
        backend: Backend,
        n_steps: int | None,
        *,
        settings: "ParallelSettings",
    ):
        super().__init__(step, stream, metrics, backend, n_steps)
        self.settings = settings
        self._lengths: np.ndarray | None = None  # of the next batch of each rank, once they are known

    def start_epoch(self, order: np.ndarray | None, n_done: int = 0) -> None:
        """Begin an epoch; batches of steps that were done before are left out."""
        self._lengths = None
        super().start_epoch(order, n_done)
        if self._sizes:  # of the batches that were left out, this rank knows its own parts
            sizes = np.asarray(self._sizes, dtype="float64")
            self.settings.communicator.all_reduce(sizes)
            self._sizes = sizes.astype(int).tolist()

    @property
    def remaining(self) -> int:
        """1 if all ranks have another batch in the epoch, else 0; waits for them."""
        if self.n_done == self.limit:
            return 0
        if self._lengths is None:
            batch, self._lengths = self.stream.peek(), np.zeros(self.settings.communicator.size)
            self._lengths[self.settings.communicator.rank] = 0 if batch is None else batch.n_examples
            self.settings.communicator.all_reduce(self._lengths)
        return int(self._lengths.min() > 0)

    def run(self, most: int = 1) -> int:
        """Run the next step."""
        if self.n_done == self.table.shape[0]:
            self._grow()
        lengths, rank = self._lengths, self.settings.communicator.rank
        if lengths is None:
            raise RuntimeError("remaining must be looked at before each step")
        first, n, n_total = int(lengths[:rank].sum()), int(lengths[rank]), int(lengths.sum())
        self._run_part(first, n, n_total, self._next(), self.table[self.n_done, ...])
        self._sizes[-1], self._lengths = n_total, None
        self.n_done += 1
        return 1


@dataclass(frozen=True)
class ParallelSettings:
    """
    Which part of each batch a rank trains on, and how the parts become one.

    Parameters
    ----------
    communicator : Communicator
    n_arrays : int
        Of inputs and targets, without weights.
    n_summed : int
        Of the numbers of a step, the first so many are sums over the examples; the others are means.
    sync_batch_norm : bool
        Whether BatchNorm takes the statistics of the whole batch.
    """

    communicator: Ranks
    n_arrays: int
    n_summed: int
    sync_batch_norm: bool
