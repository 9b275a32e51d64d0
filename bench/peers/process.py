"""Start competitors as child processes, and send them requests."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from threading import Timer
from types import MappingProxyType
from typing import Any, Self

from bench.peers import Unsupported
from bench.peers.competitors import PRECISIONS

ROOT = Path(__file__).parents[2]
NO_VARIABLES: Mapping[str, str] = MappingProxyType({})


class ChildFailed(Exception):
    """A request to a competitor failed; the message says why."""


class Child:
    """
    A competitor in its own process, so that libraries do not share thread pools.

    Parameters
    ----------
    competitor, device : str
        See :mod:`bench.peers.competitors`.
    threads : int
        Size of each thread pool.
    variables : mapping of str to str, optional
        Additional environment variables of the process.
    precision : str
        On a GPU, see :mod:`bench.peers.competitors`.
    """

    def __init__(
        self,
        competitor: str,
        device: str,
        threads: int,
        variables: Mapping[str, str] = NO_VARIABLES,
        precision: str = PRECISIONS[0],
    ):
        options = ("--device", device, "--precision", precision)
        self._command = [sys.executable, "-m", "bench.peers.child", competitor, *options]
        self._process = subprocess.Popen(
            self._command,
            cwd=ROOT,
            env={**environment(threads, precision), **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # so that end() also ends compiler processes that it has started
        )

    def ask(self, limit: float = 180.0, **request: Any) -> dict[str, Any]:
        """
        Send a request and wait for the answer.

        Parameters
        ----------
        limit : float
            Seconds after which the process is killed.
        **request
            See :mod:`bench.peers.child`.

        Raises
        ------
        Unsupported
            If the competitor does not support the network.
        ChildFailed
            If the request fails otherwise, or takes too long.
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
            timed_out = not timer.is_alive()
            timer.cancel()
        if not line:
            command = " ".join(self._command[1:])
            raise ChildFailed(
                f"took more than {limit:g} s" if timed_out else f"its process ended; to see why: python {command}"
            )
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise (Unsupported if answer["unsupported"] else ChildFailed)(answer["error"])
        return answer

    def end(self) -> None:
        """Kill the process and all processes that it has started."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._process.communicate()


def environment(threads: int, precision: str = PRECISIONS[0]) -> dict[str, str]:
    """Return environment variables: as many threads for every pool, and no TF32 on a GPU if float32 is asked for."""
    count = {f"{pool}_NUM_THREADS": str(threads) for pool in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA")}
    # JAX would take most of the memory of a GPU at once, so that no other library runs beside it.
    gpu = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    if precision == "float32":
        gpu["NVIDIA_TF32_OVERRIDE"] = "0"
    return {**os.environ, **count, **gpu, "TORCHINDUCTOR_COMPILE_THREADS": "1", "PYTHONWARNINGS": "ignore"}
