"""Errors that end a process: the other ranks are told, wherever in the program they were raised."""

import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from portanet.distributed.base import Communicator, RankFailed


class ToldOnFailure(Communicator):
    """
    Base of communicators of processes, which tell the others of an error that ends this one.

    A subclass writes :meth:`tell`. After :attr:`broken` is set, every operation raises it.
    """

    broken: RankFailed | None = None
    told: BaseException | None = None

    def tell(self, error: BaseException) -> None:
        """Tell the other ranks of an error of this one."""
        raise NotImplementedError(f"{type(self).__name__} needs a method tell(self, error)")

    def fail(self, error: BaseException) -> None:
        self.told = error
        self.tell(error)
        said = f": {error}" if isinstance(error, RankFailed) else f" failed with {type(error).__name__}: {error}"
        # In one piece and at once: mpiexec may end this process as soon as it sees that another one is lost.
        os.write(2, f"portanet: rank {self.rank}{said}\n".encode())


communicators: list[ToldOnFailure] = []
"""The communicators of this process."""


def watch(communicator: ToldOnFailure) -> None:
    """Let a communicator tell the others of errors that nobody catches."""
    if not communicators:
        sys.excepthook = partial(_tell_and, sys.excepthook)
    communicators.append(communicator)


def _tell_and(hook: Callable[..., Any], kind: type[BaseException], error: BaseException, trace: Any) -> None:
    for communicator in communicators:
        if communicator.told is not error:
            communicator.fail(error)
        communicator.broken = communicator.broken or RankFailed(str(error))
    hook(kind, error, trace)
