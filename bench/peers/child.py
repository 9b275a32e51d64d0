"""
The process of one competitor: it answers requests on stdin, a line of JSON each, with lines on stdout.

``{"do": "step", "recipe": ...}`` and ``{"do": "inference", "recipe": ..., "batch_size": n}`` prepare a task and do it
once; ``{"do": "time", "seconds": s}`` repeats it and gives the median; ``{"do": "memory"}`` gives the peak so far.
A request that fails is answered with ``{"error": ...}``.
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

from bench.peers import Unfit
from bench.peers.competitors import COMPETITORS
from bench.recipe import Recipe

LEAST_REPEATS = 5


def main() -> None:
    """Serve requests until stdin ends."""
    parser = argparse.ArgumentParser("python -m bench.peers.child", description=__doc__)
    parser.add_argument("competitor", choices=COMPETITORS)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    answers = _private_stdout()
    worker = Worker(options.competitor, options.device)
    for line in sys.stdin:
        try:
            answer = worker.answer(json.loads(line))
        except Exception as error:
            answer = {"error": in_a_line(error), "unfit": isinstance(error, Unfit)}
        print(json.dumps(answer), file=answers, flush=True)


def in_a_line(error: Exception) -> str:
    """Say what went wrong."""
    if isinstance(error, ModuleNotFoundError):
        return f"{error.name} is not installed"
    text = str(error) if isinstance(error, Unfit) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:300]


def _private_stdout() -> TextIO:
    """Keep stdout for answers: what libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


class Worker:
    """What a child remembers from request to request: the task at hand."""

    def __init__(self, competitor: str, device: str):
        self.competitor, self.device = COMPETITORS[competitor], device
        self.run: Callable[[], Any] = lambda: None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what is asked."""
        match request:
            case {"do": "memory"}:
                return {"bytes": peak_memory()}
            case {"do": "time", "seconds": seconds}:
                return {"median": time(self.run, seconds)}
            case {"do": ("step" | "inference") as task, "recipe": recipe, **arguments}:
                module = importlib.import_module(f"bench.peers.{self.competitor.module}")
                prepare = getattr(module, task)
                self.run = prepare(Recipe.from_json(recipe), self.device, **self.competitor.options, **arguments)
                self.run()
                return {}
        raise ValueError(f"there is no such request: {request}")


def time(run: Callable[[], Any], seconds: float) -> float:
    """
    Median time of a task, in seconds.

    Parameters
    ----------
    run : callable
        Does it once and waits until it is done.
    seconds : float
        How long to repeat it; a few times at least.
    """
    run()  # threads are asleep and caches hold what another process left
    times: list[tuple[float, float]] = []
    end = perf_counter() + seconds
    while len(times) < LEAST_REPEATS or times[-1][1] < end:
        begun = perf_counter()
        value = run()
        times.append((begun, perf_counter()))
    _check_finite(value)
    return statistics.median(done - begun for begun, done in times)


def _check_finite(value: Any) -> None:
    """A network that has diverged computes with infinities, which takes another time."""
    number = float(value.sum() if hasattr(value, "sum") else value)
    if not math.isfinite(number):
        raise FloatingPointError(f"the network has diverged: its loss or output adds up to {number}")


def peak_memory() -> int:
    """Largest resident memory of this process so far, in bytes."""
    try:
        # Not ru_maxrss, which begins with that of the process that started this one.
        with open("/proc/self/status") as status:
            return next(1024 * int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
