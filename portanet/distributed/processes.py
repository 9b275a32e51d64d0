"""What communicators of processes have in common: an error that ends one process is reported to the others."""

import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from portanet.distributed.base import Communicator, RankFailed
from portanet.distributed.launch import find_communicator


class ProcessCommunicator(Communicator):
    """
    Base of communicators whose ranks are processes.

    A subclass writes :meth:`send_error`.

    Attributes
    ----------
    broken : RankFailed or None
        Raised by every operation once it is set.
    reported : BaseException or None
        The last error of this rank that the others were told.
    """

    broken: RankFailed | None = None
    reported: BaseException | None = None

    def send_error(self, error: BaseException) -> None:
        """Send the other ranks an error of this one."""
        raise NotImplementedError(f"{type(self).__name__} needs a method send_error(self, error)")

    def __reduce__(self) -> Any:
        """Pickle as the ranks of the process that reads it."""
        return find_communicator, ()

    def fail(self, error: BaseException) -> None:
        self.reported = error
        self.send_error(error)
        said = f": {error}" if isinstance(error, RankFailed) else f" failed with {type(error).__name__}: {error}"
        # In one piece and at once: mpiexec may end this process as soon as it sees that another one is lost.
        os.write(2, f"portanet: rank {self.rank}{said}\n".encode())


communicators: list[ProcessCommunicator] = []
"""The communicators of this process."""


def report_uncaught_errors(communicator: ProcessCommunicator) -> None:
    """Let the other ranks know of an error that ends this process, wherever in the program it was raised."""
    if not communicators:
        sys.excepthook = partial(_report_and, sys.excepthook)
    communicators.append(communicator)


def _report_and(hook: Callable[..., Any], kind: type[BaseException], error: BaseException, trace: Any) -> None:
    if getattr(error, "known_to_all", False):
        if communicators[0].rank == 0:
            hook(kind, error, trace)
        return
    for communicator in communicators:
        if communicator.reported is not error:
            communicator.fail(error)
        communicator.broken = communicator.broken or RankFailed(str(error))
    hook(kind, error, trace)
