"""Tests that run in a process of their own, which ends with the traces of all threads where it hangs."""

import faulthandler
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any

SECONDS = 90.0
"""A test that takes longer counts as hanging. On an idle machine, tests take one to five seconds."""


def isolated(*, seconds: float = SECONDS, **environment: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a test run in a fresh interpreter, where warnings are errors too; its arguments are numbers and texts."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @wraps(function)
        def test(**arguments: Any) -> None:
            texts = {name: str(value) if isinstance(value, Path) else value for name, value in arguments.items()}
            name, module = function.__name__, function.__module__.removeprefix("tests.")
            text = json.dumps([f"tests.{module}", name, seconds, texts])
            command = [sys.executable, "-W", "error", "-m", "tests.isolated", text]
            root, environ = Path(__file__).parents[1], {**os.environ, **environment}
            with tempfile.TemporaryFile("w+") as stderr:  # a pipe would wait for children that hang
                process = subprocess.Popen(command, cwd=root, env=environ, stderr=stderr, start_new_session=True)
                try:
                    status = process.wait(seconds + 10)
                finally:
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)  # it, if it hangs, and children that do
                    process.wait()
                stderr.seek(0)
                assert status == 0, stderr.read()

        return test

    return decorate


def main(text: str) -> None:
    module, name, seconds, arguments = json.loads(text)
    faulthandler.dump_traceback_later(seconds, exit=True)
    getattr(importlib.import_module(module), name).__wrapped__(**arguments)


if __name__ == "__main__":
    main(sys.argv[1])
