"""Waiting for what has no timeout of its own."""

import threading
from collections.abc import Callable
from typing import Any


def ends_within(seconds: float, task: Callable[[], Any]) -> bool:
    """
    Run a task in a thread, which is left to itself after a time; return whether it has ended, or raise its error.

    Examples
    --------
    >>> ends_within(1.0, lambda: None), ends_within(0.01, lambda: threading.Event().wait(1.0))
    (True, False)
    """
    errors: list[BaseException] = []

    def run() -> None:
        try:
            task()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    return not thread.is_alive()
