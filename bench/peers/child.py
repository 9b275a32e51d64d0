"""
The process of one competitor: it reads requests from stdin and writes answers to stdout, one line of JSON each.

``{"do": "step", "recipe": ...}`` and ``{"do": "inference", "recipe": ..., "batch_size": n}`` prepare a task and run it
once. ``{"do": "time", "seconds": s}`` repeats it and returns the median and the mean. ``{"do": "memory"}`` returns the
peak memory. A request that fails is answered with ``{"error": ...}``.
"""

import argparse
import importlib
import json
import math
import os
import statistics
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any, TextIO

from bench.peers import Unsupported
from bench.peers.competitors import COMPETITORS, PRECISIONS
from bench.recipe import Recipe

MIN_REPEATS = 5


def main() -> None:
    """Answer requests until stdin ends."""
    parser = argparse.ArgumentParser("python -m bench.peers.child", description=__doc__)
    parser.add_argument("competitor", choices=COMPETITORS)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=PRECISIONS, default=PRECISIONS[0])
    options = parser.parse_args()
    answers = _private_stdout()
    worker = Worker(options.competitor, options.device, options.precision)
    for line in sys.stdin:
        try:
            answer = worker.answer(json.loads(line))
        except Exception as error:
            answer = {"error": one_line(error), "unsupported": isinstance(error, Unsupported)}
        print(json.dumps(answer), file=answers, flush=True)


def one_line(error: Exception) -> str:
    """Return the message of an error in one line."""
    if isinstance(error, ModuleNotFoundError):
        return f"{error.name} is not installed"
    text = str(error) if isinstance(error, Unsupported) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:300]


def _private_stdout() -> TextIO:
    """Return stdout for the answers, and redirect what libraries print to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


class Worker:
    """Prepares tasks of one competitor, and times the current one."""

    def __init__(self, competitor: str, device: str, precision: str = PRECISIONS[0]):
        self.competitor, self.device, self.precision = COMPETITORS[competitor], device, precision
        self.run: Callable[[], Any] = lambda: None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle a request."""
        match request:
            case {"do": "memory"}:
                return {"bytes": peak_memory()}
            case {"do": "time", "seconds": seconds}:
                return time(self.run, seconds)
            case {"do": ("step" | "inference") as task, "recipe": recipe, **arguments}:
                module = importlib.import_module(f"bench.peers.{self.competitor.module}")
                if self.device == "cuda" and hasattr(module, "set_precision"):
                    module.set_precision(self.precision)
                prepare = getattr(module, task)
                self.run = prepare(Recipe.from_json(recipe), self.device, **self.competitor.options, **arguments)
                self.run()
                return {}
        raise ValueError(f"unknown request: {request}")


def time(run: Callable[[], Any], seconds: float) -> dict[str, float]:
    """
    Return the median and the mean time of a task, in seconds.

    Parameters
    ----------
    run : callable
        Runs the task once and waits until it is done.
    seconds : float
        Minimum duration of the measurement; the task runs at least ``MIN_REPEATS`` times.
    """
    run()  # wakes sleeping threads, and fills the caches that another process used
    times: list[tuple[float, float]] = []
    deadline = perf_counter() + seconds
    while len(times) < MIN_REPEATS or times[-1][1] < deadline:
        begin = perf_counter()
        value = run()
        times.append((begin, perf_counter()))
    _check_finite(value)
    durations = [end - begin for begin, end in times]
    return {"median": statistics.median(durations), "mean": statistics.fmean(durations)}


def _check_finite(value: Any) -> None:
    """Raise if the network has diverged: arithmetic with infinities takes another time."""
    total = float(value.sum() if hasattr(value, "sum") else value)
    if not math.isfinite(total):
        raise FloatingPointError(f"the network has diverged: the sum of its loss or output is {total}")


def peak_memory() -> int:
    """Return the peak resident memory of this process in bytes."""
    try:
        # ru_maxrss would start with the peak of the parent process.
        with open("/proc/self/status") as status:
            return next(1024 * int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
