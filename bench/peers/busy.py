"""
``python -m bench peers --busy``: training steps while other processes spin on every core.

A shared server or a class room is seldom quiet. Where k processes spin on each core, a thread gets one part of k + 1 of
a core. The table therefore shows the mean step, divided by k + 1 and by the step of one thread on the quiet machine: 1
means that the library uses its fair share of one core, and loses nothing by waiting.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from statistics import mean
from typing import Any

from bench.machine import cores
from bench.networks import Network
from bench.peers import Unsupported
from bench.peers.competitors import OURS
from bench.peers.process import Child, ChildFailed
from bench.peers.race import STEP, Settings
from bench.text import columns, duration, factor

SPINNING = (1, 3)
"""Numbers of processes that spin on each core."""

COMPETITORS = (OURS, "torch-eager")
MAX_RATIO = 3.0
"""Goal: the largest ratio of the table for all threads."""

SPIN = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"  # ends with its parent


def run_network(network: Network, settings: Settings, log: Callable[[str], None]) -> dict[str, Any]:
    """
    Time the training step of one network on a quiet and on a busy machine.

    Returns
    -------
    dict
        For each competitor ``"quiet"``, the mean step of one thread in seconds, and ``"busy"``: for each number of
        spinning processes a core, the mean steps of all threads and of one, and their ratios as in the table.
        ``"absent"``: competitors that failed, and why.
    """
    recipe, result = network.recipe().to_json(), dict[str, Any](competitors={}, absent={})
    for name in COMPETITORS:
        log(f"{network.id}: {name}")
        with ExitStack() as stack:
            all_and_one = [
                stack.enter_context(Child(name, settings.device, threads)) for threads in (settings.threads, 1)
            ]
            try:
                for child in all_and_one:
                    child.ask(settings.limit, recipe=recipe, **STEP)
                [quiet] = _means([all_and_one[1]], settings)
                result["competitors"][name] = {"quiet": quiet, "busy": _busy(all_and_one, quiet, settings)}
            except (Unsupported, ChildFailed) as reason:
                if name == OURS:
                    raise ChildFailed(f"{OURS}: {reason}") from reason
                result["absent"][name] = str(reason)
    return result


def table(network: Network, result: Mapping[str, Any]) -> str:
    """Return a table of the result of :func:`run_network`."""
    header = [f"{network.id}, mean step", "quiet, one thread"]
    header += [f"{k} a core, {threads}" for k in SPINNING for threads in ("all threads", "one")]
    rows = [
        [f"  {name}", duration(row["quiet"]), *(factor(v) for k in SPINNING for v in row["busy"][str(k)]["ratios"])]
        for name, row in result["competitors"].items()
    ]
    return "\n".join([columns([header, *rows]), *(f"  {name}: {why}" for name, why in result["absent"].items())])


def is_fair(row: Mapping[str, Any]) -> bool:
    """Whether the ratios of all threads are at most ``MAX_RATIO``."""
    return all(b["ratios"][0] <= MAX_RATIO for b in row["busy"].values())


def equals_one_thread(row: Mapping[str, Any]) -> bool:
    """Whether all threads take no longer than one, up to 10 % of noise."""
    return all(b["ratios"][0] <= 1.1 * b["ratios"][1] for b in row["busy"].values())


@contextmanager
def spinning(n: int) -> Iterator[None]:
    """Let n processes spin."""
    # In sessions of their own, like the competitors: Linux may divide its time by sessions.
    command = [sys.executable, "-c", SPIN]
    processes = [subprocess.Popen(command, start_new_session=True) for _ in range(n)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _busy(children: Sequence[Child], quiet: float, settings: Settings) -> dict[str, Any]:
    results = {}
    for k in SPINNING:
        with spinning(k * cores()):
            seconds = _means(children, settings)
        results[str(k)] = {"seconds": seconds, "ratios": [s / (k + 1) / quiet for s in seconds]}
    return results


def _means(children: Sequence[Child], settings: Settings) -> list[float]:
    """Return the mean step of each child over all rounds, in which they take turns."""
    request, limit = {"do": "time", "seconds": settings.seconds}, settings.limit + settings.seconds
    rounds = [[child.ask(limit, **request)["mean"] for child in children] for _ in range(settings.rounds)]
    return [mean(times) for times in zip(*rounds, strict=True)]
