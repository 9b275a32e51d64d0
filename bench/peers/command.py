"""``python -m bench peers``."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from bench import results
from bench.command import FAILED, INTERRUPTED, Refused, check_known, complain, count, progress, seconds, show
from bench.files import check_writable
from bench.machine import cores, file_name, measured_on
from bench.networks import NETWORKS
from bench.peers.competitors import COMPETITORS, OURS
from bench.peers.costs import all_costs
from bench.peers.process import Failed
from bench.peers.race import INFERENCE, STEP, Settings, Task, run_network
from bench.peers.table import of_costs, of_network
from bench.results import rounded
from bench.text import about, counted
from portanet import BackendUnavailable

BUSY = 0.3
"""Processes that ran on average in the last minute, from which on a measurement is not to be trusted."""


def add_to(commands: Any) -> None:
    """Describe the command to the parser."""
    parser = commands.add_parser(
        "peers",
        help="time the same networks in PyTorch, scikit-learn and JAX",
        description="Run networks in PortaNet and in what else is installed, in turns, each in its own process with "
        "the same number of threads. The figure is the median over the rounds of PortaNet's time over the other's. "
        "Without a selection, all competitors do all tasks for all networks that have a goal.",
        epilog="Such a complete run takes about half an hour, during which nothing else should run, and its results "
        "go to bench/results, network by network, so that an interrupted run leaves what it has. A selection is only "
        "printed, unless --out names a file. Fewer --rounds of fewer --seconds take less time and scatter more.",
    )
    parser.add_argument("--step", action="store_true", help="select training steps")
    parser.add_argument("--inference", action="store_true", help="select inference, at batch sizes 1 and 1000")
    parser.add_argument("--costs", action="store_true", help="select import, first step and installed size")
    parser.add_argument("--networks", nargs="+", default=[], metavar="ID", help="of bench/networks.py, or 'all'")
    parser.add_argument("--competitors", nargs="+", default=[], metavar="NAME", help=f"beside portanet: {_others()}")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to run (default: cpu)")
    parser.add_argument("--threads", type=count, default=cores(), metavar="N", help="of each (default: usable cores)")
    parser.add_argument("--rounds", type=count, default=9, metavar="N", help="turns of each competitor (default: 9)")
    parser.add_argument(
        "--seconds", type=seconds, default=0.3, metavar="S", help="of a turn; five steps at least (default: 0.3)"
    )
    parser.add_argument(
        "--limit", type=seconds, default=180.0, metavar="S", help="to prepare a task, to compile too (default: 180)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the results as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Time networks beside other libraries."""
    check_known("network", options.networks, [*NETWORKS, "all"])
    check_known("competitor", options.competitors, COMPETITORS)
    if options.threads > cores():
        raise Refused(f"--threads {options.threads} is too many: this process may use {counted(cores(), 'core')}")
    everything = not (options.step or options.inference or options.costs)
    tasks = [STEP] * (options.step or everything) + [*INFERENCE] * (options.inference or everything)
    able = [name for name, competitor in COMPETITORS.items() if options.device in competitor.devices]
    names = list(dict.fromkeys([OURS, *(options.competitors or able)]))
    try:
        measured = measured_on([options.device], options.threads)
    except BackendUnavailable as reason:
        raise Refused(f"--device cuda: {reason}", FAILED) from reason
    complete = everything and not options.networks and not options.competitors
    out = options.out or (results.FOLDER / file_name("peers", measured) if complete else None)
    if out:
        check_writable(out)
    if measured["load"] > BUSY:
        complain(f"the machine is busy (load {measured['load']}), so that times will scatter: let nothing else run")

    settings = Settings(options.device, options.threads, options.rounds, options.seconds, options.limit)
    spent = {"rounds": options.rounds, "seconds": options.seconds}
    record = Record(out, {**measured, **spent}, _selected(options.networks) if tasks else [])
    try:
        race(record, names, tasks, settings)
        if options.costs or everything:
            record.add("costs", all_costs(settings, partial(progress, milestone=True)))
            progress()
            show(of_costs(record.file["costs"]))
    except Failed as reason:
        progress()
        raise Refused(f"{reason}; {record.kept()}", FAILED) from reason
    except KeyboardInterrupt:
        progress()
        raise Refused(f"interrupted; {record.kept()}", INTERRUPTED) from None
    if out:
        show(f"written: {out}")


def race(record: "Record", names: Sequence[str], tasks: Sequence[Task], settings: Settings) -> None:
    """Time the networks that a record lacks, and show each as soon as it is finished."""
    for id, ahead in record.to_do():
        progress(ahead, id, milestone=True)
        try:
            result = run_network(NETWORKS[id], names, tasks, settings, partial(progress, ahead))
        except Failed as reason:
            raise Failed(f"{id} cannot be timed: {reason}") from reason
        record.add("networks", {id: result})
        progress()
        show(of_network(NETWORKS[id], record.file["networks"][id]))


class Record:
    """
    What a run has found, written anew after each network, so that an interruption does not lose it.

    Parameters
    ----------
    out : Path, optional
        Where to.
    measured : mapping
        On what, and how.
    asked : sequence of str
        Networks to be timed.
    """

    def __init__(self, out: Path | None, measured: Mapping[str, Any], asked: Sequence[str]):
        self.out, self.asked = out, asked
        self.file: dict[str, Any] = {"kind": "peers", **measured, "asked": asked, "networks": {}, "costs": {}}

    def to_do(self) -> Iterator[tuple[str, str]]:
        """Give the networks one by one, each with how far the run is."""
        begun = perf_counter()
        for n, id in enumerate(self.asked):
            left = (perf_counter() - begun) / n * (len(self.asked) - n) if n else None
            yield id, f"network {n + 1} of {len(self.asked)}" + (f", {about(left)} left" if left else "")

    def add(self, what: str, found: Mapping[str, Any]) -> None:
        """Take up more networks or costs; what the terminal shows is rounded as in the file."""
        self.file[what] |= rounded(found)
        if self.out:
            results.write(self.out, self.file)

    def kept(self) -> str:
        """Say what an interruption leaves."""
        if not self.out or not self.file["networks"]:
            return "nothing was written"
        return f"{len(self.file['networks'])} of {counted(len(self.asked), 'network')} stand in {self.out}"


def _others() -> str:
    return ", ".join(name for name in COMPETITORS if name != OURS)


def _selected(ids: list[str]) -> list[str]:
    if "all" in ids:
        return list(NETWORKS)
    return list(dict.fromkeys(ids)) or [id for id, network in NETWORKS.items() if network.goal is not None]
