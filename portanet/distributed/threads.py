"""Ranks that are threads of one process, for tests and for looking at how ranks work."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import numpy as np

from portanet.checks import check_callable, check_count, check_number
from portanet.distributed.base import (
    TIMEOUT,
    Communicator,
    RankFailed,
    Task,
    different_operations,
    rank_failed,
    sum_in_order,
)


class _Group:
    """What the threads share: one slot for each, and how often each has arrived at a barrier."""

    def __init__(self, size: int, timeout: float):
        self.slots: list[Any] = [None] * size
        self.timeout = timeout
        self.changed = threading.Condition()
        self.arrived = [0] * size
        self.failed: tuple[int, BaseException] | None = None
        self.broken: RankFailed | None = None


class Threads(Communicator):
    """
    One of several threads; :func:`portanet.distributed.run_threads` starts them.

    Parameters
    ----------
    rank : int
    group : object
        What :func:`portanet.distributed.run_threads` makes for all.

    Examples
    --------
    >>> portanet.distributed.run_threads(lambda ranks: (ranks.rank, ranks.size), 2)
    [(0, 2), (1, 2)]
    """

    def __init__(self, rank: int, group: Any):
        self.rank, self.size, self.local_rank, self._group = rank, len(group.slots), rank, group

    def all_gather(self, value: Any, what: str = "values") -> list[Any]:
        return self._exchange(f"all_gather of {what}", value)

    def all_reduce_host(self, array: np.ndarray) -> None:
        parts = self._exchange(f"all_reduce of {array.dtype}, shape {array.shape}", array.copy())
        sum_in_order(parts, array)

    def _exchange(self, operation: str, value: Any) -> list[Any]:
        self._group.slots[self.rank] = operation, value
        self._wait()
        operations, values = zip(*self._group.slots, strict=True)
        self._wait()  # nobody overwrites a slot before all have read it
        if len({*operations}) > 1:
            raise different_operations(operations)
        return list(values)

    def fail(self, error: BaseException) -> None:
        if not isinstance(error, RankFailed):
            group = self._group
            with group.changed:
                group.failed = group.failed or (self.rank, error)
                self._break(rank_failed([self.rank], f"failed with {type(error).__name__}: {error}"))

    def _break(self, error: RankFailed) -> None:
        """Let every operation raise the first error, also that of a rank that comes too late."""
        self._group.broken = self._group.broken or error
        self._group.changed.notify_all()

    def _wait(self) -> None:
        """Wait until all ranks have arrived as often as this one."""
        group = self._group
        with group.changed:
            group.arrived[self.rank] += 1
            group.changed.notify_all()
            n = group.arrived[self.rank]
            if not group.changed.wait_for(lambda: group.broken or min(group.arrived) >= n, group.timeout):
                missing = [rank for rank, n_arrived in enumerate(group.arrived) if n_arrived < n]
                self._break(rank_failed(missing, f"did not answer for {group.timeout:g} s"))
            if group.broken is not None:
                raise group.broken


def run_threads(task: Task, size: int, *, timeout: float = TIMEOUT) -> list[Any]:
    """
    Run ``task(communicator)`` in several threads, and return the results in the order of the ranks.

    Parameters
    ----------
    task : callable
        Takes the :class:`Communicator` of its rank.
    size : int
        Number of ranks.
    timeout : float
        Seconds after which a rank that does not answer counts as lost.

    Returns
    -------
    list
        The result of each rank.

    Raises
    ------
    Exception
        The error of the rank that failed first.

    Examples
    --------
    >>> run_threads(lambda ranks: ranks.all_gather(ranks.rank ** 2), 3)
    [[0, 1, 4], [0, 1, 4], [0, 1, 4]]
    """
    check_callable("task", task, example="lambda communicator: communicator.rank")
    group = _Group(check_count("size", size), check_number("timeout", timeout, above=0))

    def run(rank: int) -> Any:
        communicator = Threads(rank, group)
        try:
            return task(communicator)
        except BaseException as error:
            communicator.fail(error)
            raise

    with ThreadPoolExecutor(size) as pool:
        futures = [pool.submit(copy_context().run, run, rank) for rank in range(size)]
        errors = [future.exception() for future in futures]
    first = group.failed[0] if group.failed else next((i for i, error in enumerate(errors) if error), None)
    if first is not None and (error := errors[first]) is not None:
        raise error
    return [future.result() for future in futures]
