"""What communicators have in common: collective operations of several processes, the ranks."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np

from portanet.backends import backend_of
from portanet.typing import Array

TIMEOUT = 300.0
"""Seconds after which a rank that has not joined an operation counts as lost."""


class RankFailed(RuntimeError):
    """Another rank failed, ended or did not answer; the message names it and says what to do."""


def rank_failed(ranks: list[int], what: str, fix: str = "") -> RankFailed:
    """
    Return the error that says which ranks are lost.

    Examples
    --------
    >>> rank_failed([3], "ended")
    RankFailed('rank 3 ended: find its own message; if it trained, fit(..., resume=path) goes on from a checkpoint')
    """
    one = len(ranks) == 1
    names, its = ", ".join(map(str, ranks)), "its own message" if one else "their own messages"
    fix = fix or f"find {its}; if {'it' if one else 'they'} trained, fit(..., resume=path) goes on from a checkpoint"
    return RankFailed(f"rank{'' if one else 's'} {names} {what}: {fix}")


def different_operations(operations: Iterable[str]) -> RuntimeError:
    """
    Return the error of ranks that are at different places of the program.

    Examples
    --------
    >>> different_operations(["all_gather of scores", "all_gather of settings"])
    RuntimeError('the ranks call all_gather of scores and all_gather of settings: call the same on all')
    """
    return RuntimeError(f"the ranks call {' and '.join(sorted({*operations}))}: call the same on all")


def report(communicator: "Communicator", error: BaseException) -> None:
    """Tell the other ranks of an error, unless all raise it together: its class says so, ``raised_by_all = True``."""
    if not getattr(error, "raised_by_all", False):
        communicator.fail(error)
    elif communicator.size > 1:
        error.known_to_all = True  # type: ignore[attr-defined]


class Communicator:
    """
    Base of communicators: how several processes that run the same program exchange arrays.

    Every rank calls the same operations in the same order. A subclass writes :meth:`all_reduce_host` and
    :meth:`all_gather`; the rest follows from these.

    Attributes
    ----------
    rank, size : int
        Number of this process, from 0 on, and number of processes.
    local_rank : int
        Number of this process among those on the same machine.
    timeout : float
        Seconds after which a rank that does not answer counts as lost.

    Examples
    --------
    >>> alone = portanet.distributed.Local()
    >>> alone.rank, alone.size, alone.all_gather("a")
    (0, 1, ['a'])
    """

    rank = 0
    size = 1
    local_rank = 0
    timeout: float = TIMEOUT

    def all_reduce_host(self, array: np.ndarray) -> None:
        """Replace a contiguous NumPy array of floats by the sum of those of all ranks, with the same bits on each."""
        raise NotImplementedError(f"{type(self).__name__} needs a method all_reduce_host(self, array)")

    def all_gather(self, value: Any, what: str = "values") -> list[Any]:
        """
        Return the Python objects of all ranks, in their order.

        ``what`` says what they are. Ranks that gather something else are refused: they are at another place of the
        program.
        """
        raise NotImplementedError(f"{type(self).__name__} needs a method all_gather(self, value, what='values')")

    def all_reduce(self, array: Array) -> None:
        """Replace an array on any device by the sum of those of all ranks, with the same bits on each."""
        if isinstance(array, np.ndarray) and array.flags.c_contiguous:
            self.all_reduce_host(array)
            return
        backend = backend_of(array)
        host = np.array(backend.to_numpy(array))  # a copy
        self.all_reduce_host(host)
        array[...] = backend.asarray(host)

    def broadcast(self, value: Any, what: str = "a value") -> Any:
        """Return the Python object of rank 0."""
        return self.all_gather(value if self.rank == 0 else None, f"{what} of rank 0")[0]

    def barrier(self) -> None:
        """Wait until all ranks have come here."""
        self.all_gather(None, "nothing, at a barrier")

    def fail(self, error: BaseException) -> None:
        """Tell the other ranks that this one cannot go on, so that none waits for it."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: rank {self.rank} of {self.size}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> "Communicator":
        """Return the communicator itself: a process is not copied."""
        return self


class Local(Communicator):
    """
    One process alone: every operation returns what it is given.

    Examples
    --------
    >>> Local().all_gather("mine")
    ['mine']
    """

    def all_reduce_host(self, array: np.ndarray) -> None:
        pass

    def all_gather(self, value: Any, what: str = "values") -> list[Any]:
        return [value]


def sum_in_order(arrays: Sequence[np.ndarray], out: np.ndarray) -> None:
    """
    Add arrays in the order of the ranks, so that the rounding does not depend on which comes first.

    Examples
    --------
    >>> out = np.empty(2)
    >>> sum_in_order([np.ones(2), np.ones(2), np.asarray([0.0, 5.0])], out)
    >>> out
    array([2., 7.])
    """
    np.copyto(out, arrays[0])
    for array in arrays[1:]:
        np.add(out, array, out=out)


Task: TypeAlias = Callable[[Communicator], Any]
"""What a rank runs."""
