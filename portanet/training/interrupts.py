"""Signals that end a training run, put off until its state is whole."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A signal came while a network was trained; its weights are those of a whole step."""


class Interrupts:
    """
    A context in which SIGINT (Ctrl-C) and SIGTERM wait until :meth:`check` is called.

    A second signal does not wait. After the context the signal is sent again, to the handlers from before it. Signals
    that are ignored stay so, and in another thread than the main one nothing is changed: Python calls handlers there.

    Examples
    --------
    >>> import signal
    >>> weights = "as before"
    >>> try:
    ...     with Interrupts() as interrupts:
    ...         signal.raise_signal(signal.SIGINT)
    ...         weights = "of a whole step"
    ...         interrupts.check()
    ... except KeyboardInterrupt:
    ...     print(weights)
    of a whole step
    """

    def __init__(self) -> None:
        self.pending: int | None = None
        self._waits = True
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        try:
            if threading.current_thread() is threading.main_thread():
                for number in SIGNALS:
                    self._put_off(number)
        except BaseException:  # raised by the handler of another signal, such as a timer's
            self._set_back()
            raise
        return self

    def __exit__(self, *of_error: object) -> None:
        try:
            self._set_back()
        except BaseException:
            self._set_back()
            raise
        if self.pending is not None:
            signal.raise_signal(self.pending)

    def _put_off(self, number: signal.Signals) -> None:
        before = signal.getsignal(number)
        if before not in (signal.SIG_IGN, None):  # None: a handler that Python does not know
            self._before[number] = before
            signal.signal(number, self._receive)

    def _set_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        waits, self.pending = self._waits and self.pending is None, number
        if not waits:
            raise Interrupted

    def check(self) -> None:
        """Raise Interrupted if a signal has come."""
        if self.pending is not None:
            raise Interrupted

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Let a signal raise Interrupted at once, where nothing is changed that must stay whole."""
        self.check()
        self._waits = False
        try:
            yield
        finally:
            self._waits = True
