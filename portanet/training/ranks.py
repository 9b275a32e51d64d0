"""Synchronize the ranks of a parallel ``fit``; with one rank, do nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from portanet.checks import shown
from portanet.distributed import Communicator
from portanet.distributed.base import report
from portanet.engine.parallel import ParallelStep
from portanet.training.interrupts import DeferredSignals, Interrupted
from portanet.training.state import TrainingState

OTHER_RANK = "a rank was told to stop; with a ModelCheckpoint, fit(..., resume=True) goes on"


class RanksDiffer(ValueError):
    """The ranks were given different data or settings; all raise it together."""

    raised_by_all = True


@contextmanager
def report_errors_to_ranks(communicator: Communicator) -> Iterator[None]:
    """
    Tell the other ranks of an error, so that they do not wait; what all ranks raise together they know.

    It is for what comes after the first operation that the ranks share. An error before it may be caught, and harms no
    other rank; one that ends the process is told then.
    """
    try:
        yield
    except BaseException as error:
        report(communicator, error)
        raise


class FitRanks:
    """
    The ranks of one call of ``fit``.

    Parameters
    ----------
    communicator : Communicator
    step : ParallelStep
        Tells the other ranks, with the gradient, that a signal has come.
    sync_batch_norm : bool
        Whether BatchNorm's statistics are those of whole batches, so that all ranks have the same.
    """

    def __init__(self, communicator: Communicator, step: ParallelStep, *, sync_batch_norm: bool):
        self.communicator, self.step, self.sync_batch_norm = communicator, step, sync_batch_norm

    @property
    def is_single(self) -> bool:
        """Whether there is one rank."""
        return self.communicator.size == 1

    def synchronize(self, state: TrainingState, shuffle: np.random.Generator | None, settings: dict[str, Any]) -> None:
        """
        Take over weights, the optimizer's state and the order of examples from rank 0.

        Raises
        ------
        ValueError
            If the ranks were given different data or settings.
        """
        if self.is_single:
            return
        first, *others = self.communicator.all_gather(settings, "the settings of fit")
        for rank, other in enumerate(others, start=1):
            differing = [name for name in first if first[name] != other[name]]
            if differing:
                found = "; ".join(f"{name} {shown(first[name])} and {shown(other[name])}" for name in differing)
                raise RanksDiffer(f"ranks 0 and {rank} have different data or settings: {found}")
        backend, order = state.backend, None if shuffle is None else shuffle.bit_generator.state
        arrays = {name: np.array(backend.to_numpy(array)) for name, array in state.arrays.items()}
        arrays, order, lr = self.communicator.broadcast((arrays, order, state.optimizer.lr), "the weights")
        for name, array in state.arrays.items():
            array[...] = backend.asarray(arrays[name])
        if shuffle is not None:
            shuffle.bit_generator.state = order
        state.optimizer.lr = lr

    def check_signals(self, signals: DeferredSignals) -> None:
        """Raise Interrupted if a signal has come to a rank; all ranks do so after the same step."""
        if self.is_single:
            signals.check()
            return
        self.step.stop = signals.pending is not None
        if self.step.all_stop:
            self.step.all_stop = False
            raise Interrupted(OTHER_RANK)

    def end_epoch(self, signals: DeferredSignals, stopped: bool) -> bool:
        """Return whether a rank has stopped the training; raise Interrupted if a signal has come to one."""
        if self.is_single:
            signals.check()
            return stopped
        of_ranks = self.communicator.all_gather((signals.pending is not None, stopped), "the end of an epoch")
        if any(pending for pending, _ in of_ranks):
            raise Interrupted(OTHER_RANK)
        return any(stop for _, stop in of_ranks)

    def end_steps(self, state: TrainingState) -> None:
        """
        Wait for the last sum: reading from a device whose sum never ends would wait without limit.

        Then average running statistics, where each rank has taken those of its own parts of the batches.
        """
        if self.is_single:
            return
        self.communicator.barrier()
        if self.sync_batch_norm:
            return
        for buffer in state.net.topology.buffers.values():
            if buffer.data.dtype == state.flat.data.dtype:
                self.communicator.all_reduce(total := state.flat.xp.asarray(buffer.data, copy=True))
                buffer.data[...] = total / self.communicator.size
