"""Delay SIGINT and SIGTERM until the current training step is complete."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A signal came while a network was trained; weights and callbacks are those of a whole step."""

    raised_by_all = True  # all ranks that train the network raise it after the same step


class DeferredSignals:
    """
    A context in which SIGINT (Ctrl-C) and SIGTERM wait until :meth:`check` is called.

    A second signal does not wait. After the context the signal is sent again, and does what it does by default. A
    handler of the user's own stays in force, and an ignored signal stays ignored. Outside the main thread the context
    does nothing: Python handles signals in the main thread.

    Examples
    --------
    >>> import signal
    >>> weights = "as before"
    >>> try:
    ...     with DeferredSignals() as signals:
    ...         signal.raise_signal(signal.SIGINT)
    ...         weights = "of a whole step"
    ...         signals.check()
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
                    self._defer(number)
        except BaseException:  # raised by the handler of another signal, such as a timer's
            self._restore_handlers()
            raise
        return self

    def __exit__(self, *of_error: object) -> None:
        try:
            self._restore_handlers()
        except BaseException:  # raised by a handler that was restored first, before the others were
            self._restore_handlers()
            raise
        if self.pending is not None:
            try:
                signal.raise_signal(self.pending)
            except KeyboardInterrupt as error:
                error.raised_by_all = True  # type: ignore[attr-defined]  # as Interrupted
                raise error from None  # without the traceback of Interrupted

    def _defer(self, number: signal.Signals) -> None:
        before = signal.getsignal(number)
        if before in (signal.SIG_DFL, signal.default_int_handler):
            self._before[number] = before
            signal.signal(number, self._receive)

    def _restore_handlers(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        again, self.pending = self.pending is not None, number
        if not self._waits:
            raise Interrupted
        if again:  # what is under way may be left half done
            raise KeyboardInterrupt

    def check(self) -> None:
        """Raise Interrupted if a signal has come."""
        if self.pending is not None:
            raise Interrupted

    @contextmanager
    def immediate(self) -> Iterator[None]:
        """Let a signal raise Interrupted at once, where nothing is changed that must stay whole."""
        self.check()
        self._waits = False
        try:
            yield
        finally:
            self._waits = True
