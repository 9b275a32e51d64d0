"""Start competitors as processes, and ask them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Timer
from typing import Any, Self

from bench.peers import Unfit

ROOT = Path(__file__).parents[2]


class Failed(Exception):
    """A competitor did not do what it was asked to; the message says why."""


class Child:
    """
    A competitor in a process of its own, so that no two thread pools meet.

    Parameters
    ----------
    competitor, device : str
        See :mod:`bench.peers.competitors`.
    threads : int
        Of each thread pool it may have.
    """

    def __init__(self, competitor: str, device: str, threads: int):
        self._command = [sys.executable, "-m", "bench.peers.child", competitor, "--device", device]
        self._process = subprocess.Popen(
            self._command,
            cwd=ROOT,
            env=environment(threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # to end the compiler processes that it may start with it
        )

    def ask(self, limit: float = 180.0, **request: Any) -> dict[str, Any]:
        """
        Send a request and wait for its answer.

        Parameters
        ----------
        limit : float
            Seconds until the process is ended.
        **request
            See :mod:`bench.peers.child`.

        Raises
        ------
        Unfit
            If the competitor has no such network.
        Failed
            If it fails otherwise, or takes too long.
        """
        assert self._process.stdin
        assert self._process.stdout
        timer = Timer(limit, self.end)
        timer.start()
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            late = not timer.is_alive()
            timer.cancel()
        if not line:
            by_hand = " ".join(self._command[1:])
            raise Failed(f"took more than {limit:g} s" if late else f"its process ended: see python {by_hand}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise (Unfit if answer["unfit"] else Failed)(answer["error"])
        return answer

    def end(self) -> None:
        """End the process, and all that it started."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._process.communicate()


def environment(threads: int) -> dict[str, str]:
    """The environment in which every thread pool has the same number of threads."""
    count = {f"{pool}_NUM_THREADS": str(threads) for pool in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA")}
    return {**os.environ, **count, "TORCHINDUCTOR_COMPILE_THREADS": "1", "PYTHONWARNINGS": "ignore"}
