"""``python -m bench peers``."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bench import results
from bench.command import (
    FAILED,
    INTERRUPTED,
    CommandError,
    check_known,
    positive_int,
    positive_seconds,
    print_error,
    print_lines,
    print_progress,
)
from bench.files import check_writable
from bench.machine import cores, file_name, measurement_info
from bench.networks import NETWORKS, Network
from bench.peers import busy
from bench.peers.competitors import COMPETITORS, OURS, PRECISIONS
from bench.peers.costs import all_costs
from bench.peers.process import ChildFailed
from bench.peers.race import INFERENCE, STEP, Settings, run_network
from bench.peers.table import costs_table, network_table
from bench.results import Record
from bench.text import counted
from portanet import BackendUnavailable

MAX_LOAD = 0.3
"""Load average (running processes in the last minute) above which a measurement is not reliable."""


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "peers",
        help="time the same networks in PyTorch, scikit-learn and JAX",
        description="Time networks in PortaNet and in the other installed libraries, in turn, each in its own process "
        "with the same number of threads. A ratio is the median over the rounds of PortaNet's time divided by that of "
        "the other library. By default all competitors run all tasks of all networks that have a goal.",
        epilog="A complete run takes about half an hour, during which nothing else should run. Its results go to "
        "bench/results, network by network, so an interrupted run keeps the finished networks. A selection is only "
        "printed, unless --out names a file. Fewer --rounds and --seconds are faster and noisier.",
    )
    parser.add_argument("--step", action="store_true", help="select training steps")
    parser.add_argument("--inference", action="store_true", help="select inference, at batch sizes 1 and 1000")
    parser.add_argument("--costs", action="store_true", help="select import, first step and installed size")
    parser.add_argument(
        "--busy", action="store_true", help="instead of all this: steps while 1 and 3 processes spin on each core"
    )
    parser.add_argument(
        "--competitors", nargs="+", default=[], metavar="NAME", help=f"besides portanet: {_other_names()}"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: cpu")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=PRECISIONS[0],
        help="of products and convolutions on a GPU, in all libraries (default: float32)",
    )
    add_settings(parser, seconds=0.3)
    parser.set_defaults(run=run)


def add_settings(parser: argparse.ArgumentParser, *, seconds: float) -> None:
    """Add the options of a measurement in turns; ``seconds`` is the default duration of a turn."""
    parser.add_argument("--networks", nargs="+", default=[], metavar="ID", help="ids of bench/networks.py, or 'all'")
    parser.add_argument("--threads", type=positive_int, default=cores(), metavar="N", help="default: usable cores")
    parser.add_argument("--rounds", type=positive_int, default=9, metavar="N", help="turns of each side (default: 9)")
    parser.add_argument(
        "--seconds",
        type=positive_seconds,
        default=seconds,
        metavar="S",
        help=f"duration of a turn; at least five steps (default: {seconds})",
    )
    parser.add_argument(
        "--limit", type=positive_seconds, default=180.0, metavar="S", help="to prepare or compile a task (default: 180)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the results as JSON")


def check_settings(options: argparse.Namespace) -> None:
    """Raise CommandError if a network is unknown or there are fewer cores than threads."""
    check_known("network", options.networks, [*NETWORKS, "all"])
    if options.threads > cores():
        raise CommandError(f"--threads {options.threads} is too many: this process may use {counted(cores(), 'core')}")


def start_record(
    kind: str, options: argparse.Namespace, device: str, networks: Sequence[str], *, complete: bool, name: str = ""
) -> Record:
    """
    Describe the machine in a record; without --out only a complete run is written, to ``bench/results``.

    The name of the file begins with ``name``, by default the kind.
    """
    try:
        info = measurement_info([device], options.threads)
    except BackendUnavailable as error:
        raise CommandError(f"--device {device}: {error}", FAILED) from error
    out = options.out or (results.FOLDER / file_name(name or kind, info) if complete else None)
    if out:
        check_writable(out)
    if info["load"] > MAX_LOAD:
        print_error(f"the machine is busy (load {info['load']}), so times will be noisy; stop other programs")
    return Record(out, {"kind": kind, **info, "rounds": options.rounds, "seconds": options.seconds}, networks)


def selected_networks(ids: Sequence[str]) -> list[str]:
    """Return the networks of a selection; without one, those with a goal."""
    if "all" in ids:
        return list(NETWORKS)
    return list(dict.fromkeys(ids)) or [id for id, network in NETWORKS.items() if network.goal is not None]


def run(options: argparse.Namespace) -> None:
    """Time networks in PortaNet and other libraries."""
    check_settings(options)
    check_known("competitor", options.competitors, COMPETITORS)
    if options.busy:
        return run_busy(options)
    everything = not (options.step or options.inference or options.costs)
    tasks = [STEP] * (options.step or everything) + [*INFERENCE] * (options.inference or everything)
    default = [name for name, competitor in COMPETITORS.items() if options.device in competitor.devices]
    names = list(dict.fromkeys([OURS, *(options.competitors or default)]))
    complete = everything and not options.networks and not options.competitors
    networks = selected_networks(options.networks) if tasks else []
    settings = Settings(
        options.device, options.threads, options.rounds, options.seconds, options.limit, options.precision
    )
    kind = "peers" if options.precision == PRECISIONS[0] else f"peers-{options.precision}"
    record = start_record("peers", options, options.device, networks, complete=complete, name=kind)
    record.file |= {"costs": {}, "precision": options.precision}
    with kept(record):
        time_networks(record, lambda network, log: run_network(network, names, tasks, settings, log), network_table)
        if options.costs or everything:
            record.add("costs", all_costs(settings, partial(print_progress, milestone=True)))
            print_progress()
            print_lines(costs_table(record.file["costs"]))


def run_busy(options: argparse.Namespace) -> None:
    """Time training steps while other processes spin on every core."""
    settings = Settings("cpu", options.threads, options.rounds, options.seconds, options.limit)
    record = start_record("busy", options, "cpu", selected_networks(options.networks), complete=not options.networks)
    with kept(record):
        time_networks(record, lambda network, log: busy.run_network(network, settings, log), busy.table)


@contextmanager
def kept(record: Record) -> Iterator[None]:
    """Say where the results are, after a failure or an interruption too."""
    try:
        yield
    except ChildFailed as reason:
        print_progress()
        raise CommandError(f"{reason}; {record.saved_message()}", FAILED) from reason
    except KeyboardInterrupt:
        print_progress()
        raise CommandError(f"interrupted; {record.saved_message()}", INTERRUPTED) from None
    if record.out:
        print_lines(f"written: {record.out}")


def time_networks(
    record: Record,
    measure: Callable[[Network, Callable[[str], None]], dict[str, Any]],
    table: Callable[[Network, dict[str, Any]], str],
) -> None:
    """Measure the networks of a record, and show each as soon as it is finished."""
    for id, position in record.remaining():
        print_progress(position, id, milestone=True)
        try:
            result = measure(NETWORKS[id], partial(print_progress, position))
        except ChildFailed as reason:
            raise ChildFailed(f"{id} cannot be timed: {reason}") from reason
        record.add("networks", {id: result})
        print_progress()
        print_lines(table(NETWORKS[id], record.file["networks"][id]))


def _other_names() -> str:
    return ", ".join(name for name in COMPETITORS if name != OURS)
