"""Time competitors in turn."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from time import sleep
from typing import Any, TypeAlias

from bench.machine import gpu_memory_used
from bench.networks import Network
from bench.peers import Unsupported
from bench.peers.competitors import OURS, PRECISIONS
from bench.peers.process import Child, ChildFailed
from bench.peers.ratios import compare
from bench.text import counted

PAUSE_SECONDS = 0.05
"""Pause between two competitors: the threads of OpenBLAS and OpenMP spin for about 20 ms after their last work."""

Task: TypeAlias = dict[str, Any]
STEP: Task = {"do": "step"}
INFERENCE: tuple[Task, ...] = ({"do": "inference", "batch_size": 1}, {"do": "inference", "batch_size": 1000})


@dataclass(frozen=True)
class Settings:
    """
    Settings of a measurement.

    Parameters
    ----------
    device : str
        "cpu" or "cuda".
    threads : int
        Size of each thread pool.
    rounds : int
        Number of turns of each competitor.
    seconds : float
        Duration of a turn.
    limit : float
        Seconds that a competitor may take to prepare a task, torch.compile included.
    precision : str
        On a GPU, see :mod:`bench.peers.competitors`.
    """

    device: str = "cpu"
    threads: int = 1
    rounds: int = 9
    seconds: float = 0.3
    limit: float = 180.0
    precision: str = PRECISIONS[0]


def run_network(
    network: Network, names: Iterable[str], tasks: Sequence[Task], settings: Settings, log: Callable[[str], None]
) -> dict[str, Any]:
    """
    Time one network in all competitors.

    Parameters
    ----------
    network : Network
        The network.
    names : iterable of str
        Competitors.
    tasks : sequence of dict
        :data:`STEP` and those of :data:`INFERENCE`.
    settings : Settings
        Device, threads and durations.
    log : callable
        Called with progress messages.

    Returns
    -------
    dict
        ``"tasks"``: the result of :func:`bench.peers.ratios.compare` for each task. ``"memory"``: peak memory of each
        competitor in bytes, after the training steps. ``"gpu_memory"``: on a GPU, what each holds there after its first
        training step, with the CUDA context. ``"absent"``: for each task the competitors that failed or do not support
        it, and why.

    Raises
    ------
    ChildFailed
        If PortaNet itself fails.
    """
    recipe = network.recipe().to_json()
    result: dict[str, Any] = {"tasks": {}, "memory": {}, "absent": {}}
    with ExitStack() as stack:
        children = {
            name: stack.enter_context(Child(name, settings.device, settings.threads, precision=settings.precision))
            for name in names
        }
        for task in tasks:
            title = task_name(task)
            absent: dict[str, str] = {}
            present: dict[str, Child] = {}
            for name, child in children.items():
                log(f"{network.id}, {title}: preparing {name}")
                measured = settings.device == "cuda" and task == STEP
                before = gpu_memory_used() if measured else 0
                try:
                    child.ask(settings.limit, recipe=recipe, **task)
                    present[name] = child
                    if measured:
                        result.setdefault("gpu_memory", {})[name] = gpu_memory_used() - before
                except (Unsupported, ChildFailed) as reason:
                    _leave_out(name, reason, absent)
            log(f"{network.id}, {title}: {counted(settings.rounds, 'round')}")
            blocks = take_turns(present, settings, absent)
            result["tasks"][title], result["absent"][title] = compare(blocks), absent
            if task == STEP:
                result["memory"] = {name: children[name].ask(do="memory")["bytes"] for name in blocks}
    return result


def task_name(task: Task) -> str:
    """
    Return the name of a task in a file of results.

    Examples
    --------
    >>> [task_name(task) for task in (STEP, *INFERENCE)]
    ['step', 'inference-1', 'inference-1000']
    """
    return "-".join(map(str, task.values()))


def take_turns(children: dict[str, Child], settings: Settings, absent: dict[str, str]) -> dict[str, list[float]]:
    """
    Time the prepared tasks in turn; each round starts with another competitor.

    Parameters
    ----------
    children : dict of str to Child
        Processes by name.
    settings : Settings
        Number and duration of the turns.
    absent : dict of str to str
        Competitors that fail are added, with the reason.

    Returns
    -------
    dict
        Median time in each round, in seconds, of each competitor that did not fail.
    """
    blocks: dict[str, list[float]] = {name: [] for name in children}
    for n in range(settings.rounds):
        names = list(blocks)
        first = n % max(1, len(names))
        for name in names[first:] + names[:first]:
            sleep(PAUSE_SECONDS)
            try:
                answer = children[name].ask(settings.limit + settings.seconds, do="time", seconds=settings.seconds)
                blocks[name].append(answer["median"])
            except ChildFailed as reason:
                _leave_out(name, reason, absent)
                del blocks[name]
    return blocks


def _leave_out(name: str, reason: Exception, absent: dict[str, str]) -> None:
    """Record why a competitor is left out; raise ChildFailed if it is PortaNet, the base of all ratios."""
    if name == OURS:
        raise ChildFailed(f"{OURS}: {reason}") from reason
    absent[name] = str(reason)
