"""Let competitors run in turns."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from time import sleep
from typing import Any, TypeAlias

from bench.networks import Network
from bench.peers import Unfit
from bench.peers.competitors import OURS
from bench.peers.process import Child, Failed
from bench.peers.ratios import compare
from bench.text import counted

PAUSE = 0.05
"""Seconds between two competitors: the threads of OpenBLAS and OpenMP spin for some 20 ms after their last work."""

Task: TypeAlias = dict[str, Any]
STEP: Task = {"do": "step"}
INFERENCE: tuple[Task, ...] = ({"do": "inference", "batch_size": 1}, {"do": "inference", "batch_size": 1000})


@dataclass(frozen=True)
class Settings:
    """
    How to run a race.

    Parameters
    ----------
    device : str
        "cpu" or "cuda".
    threads : int
        Of each thread pool.
    rounds : int
        How often each competitor has its turn.
    seconds : float
        Of a turn.
    limit : float
        Seconds that a competitor may take to prepare a task, torch.compile included.
    """

    device: str = "cpu"
    threads: int = 1
    rounds: int = 9
    seconds: float = 0.3
    limit: float = 180.0


def run_network(
    network: Network, names: Iterable[str], tasks: Sequence[Task], settings: Settings, say: Callable[[str], None]
) -> dict[str, Any]:
    """
    Time one network in all competitors.

    Parameters
    ----------
    network : Network
        What to run.
    names : iterable of str
        Contenders.
    tasks : sequence of dict
        :data:`STEP` and those of :data:`INFERENCE`.
    settings : Settings
        How.
    say : callable
        Is told how it goes.

    Returns
    -------
    dict
        ``"tasks"``: for each what :func:`bench.peers.ratios.compare` says. ``"memory"``: peak of each competitor in
        bytes, after the training steps. ``"absent"``: for each task the competitors that took no part, and why.

    Raises
    ------
    Failed
        If PortaNet itself cannot run it.
    """
    recipe = network.recipe().to_json()
    result: dict[str, Any] = {"tasks": {}, "memory": {}, "absent": {}}
    with ExitStack() as stack:
        children = {name: stack.enter_context(Child(name, settings.device, settings.threads)) for name in names}
        for task in tasks:
            title = task_name(task)
            absent: dict[str, str] = {}
            present: dict[str, Child] = {}
            for name, child in children.items():
                say(f"{network.id}, {title}: {name} prepares")
                try:
                    child.ask(settings.limit, recipe=recipe, **task)
                    present[name] = child
                except (Unfit, Failed) as reason:
                    _excuse(name, reason, absent)
            say(f"{network.id}, {title}: {counted(settings.rounds, 'round')}")
            blocks = take_turns(present, settings, absent)
            result["tasks"][title], result["absent"][title] = compare(blocks), absent
            if task == STEP:
                result["memory"] = {name: children[name].ask(do="memory")["bytes"] for name in blocks}
    return result


def task_name(task: Task) -> str:
    """
    Name a task in a file of results.

    Examples
    --------
    >>> [task_name(task) for task in (STEP, *INFERENCE)]
    ['step', 'inference-1', 'inference-1000']
    """
    return "-".join(map(str, task.values()))


def take_turns(children: dict[str, Child], settings: Settings, absent: dict[str, str]) -> dict[str, list[float]]:
    """
    Time what competitors have prepared; each round begins with another one.

    Parameters
    ----------
    children : dict of str to Child
        By name.
    settings : Settings
        How.
    absent : dict of str to str
        Takes up those that fail, and why.

    Returns
    -------
    dict
        For each competitor that did not fail its median time in each round, in seconds.
    """
    blocks: dict[str, list[float]] = {name: [] for name in children}
    for n in range(settings.rounds):
        names = list(blocks)
        begin = n % max(1, len(names))
        for name in names[begin:] + names[:begin]:
            sleep(PAUSE)
            try:
                answer = children[name].ask(settings.limit + settings.seconds, do="time", seconds=settings.seconds)
                blocks[name].append(answer["median"])
            except Failed as reason:
                _excuse(name, reason, absent)
                del blocks[name]
    return blocks


def _excuse(name: str, reason: Exception, absent: dict[str, str]) -> None:
    """Go on without a competitor; without PortaNet there is nothing to compare."""
    if name == OURS:
        raise Failed(f"{OURS}: {reason}") from reason
    absent[name] = str(reason)
