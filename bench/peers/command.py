"""``python -m bench peers``."""

import argparse
from pathlib import Path
from typing import Any

from bench import results
from bench.command import FAILED, Refused, check_known, complain, count, progress, seconds
from bench.machine import cores, file_name, measured_on
from bench.networks import NETWORKS
from bench.peers.contenders import CONTENDERS, OURS
from bench.peers.costs import all_costs
from bench.peers.process import Failed
from bench.peers.race import INFERENCE, STEP, Settings, run_network
from bench.peers.table import of_costs, of_network
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
        "Without a selection, all contenders do all tasks for all networks that have a goal.",
        epilog="Such a complete run takes about half an hour, during which nothing else should run, and its results "
        "go to bench/results. A selection is only printed, unless --out names a file.",
    )
    parser.add_argument("--step", action="store_true", help="select training steps")
    parser.add_argument("--inference", action="store_true", help="select inference, at batch sizes 1 and 1000")
    parser.add_argument("--costs", action="store_true", help="select import, first step and installed size")
    parser.add_argument("--networks", nargs="+", default=[], metavar="ID", help="of bench/networks.py, or 'all'")
    parser.add_argument("--contenders", nargs="+", default=[], metavar="NAME", help=f"beside portanet: {_others()}")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to run (default: cpu)")
    parser.add_argument("--threads", type=count, default=cores(), metavar="N", help="of each (default: usable cores)")
    parser.add_argument("--rounds", type=count, default=9, metavar="N", help="turns of each contender (default: 9)")
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
    check_known("contender", options.contenders, CONTENDERS)
    everything = not (options.step or options.inference or options.costs)
    tasks = [STEP] * (options.step or everything) + [*INFERENCE] * (options.inference or everything)
    able = [name for name, contender in CONTENDERS.items() if options.device in contender.devices]
    names = list(dict.fromkeys([OURS, *(options.contenders or able)]))
    try:
        measured = measured_on([options.device], options.threads)
    except BackendUnavailable as reason:
        raise Refused(f"--device cuda: {reason}", FAILED) from reason
    if measured["load"] > BUSY:
        complain(f"the machine is busy (load {measured['load']}), so that times will scatter: let nothing else run")

    settings = Settings(options.device, options.threads, options.rounds, options.seconds, options.limit)
    networks = {}
    for network in (NETWORKS[id] for id in _selected(options.networks)) if tasks else ():
        try:
            networks[network.id] = run_network(network, names, tasks, settings, progress)
        except Failed as reason:
            raise Refused(f"{network.id} cannot be timed: {reason}", FAILED) from reason
        progress("")
        print(of_network(network, networks[network.id]), flush=True)
    costs = all_costs(settings, progress) if options.costs or everything else {}
    if costs:
        progress("")
        print(of_costs(costs))

    complete = everything and not options.networks and not options.contenders
    out = options.out or (results.FOLDER / file_name("peers", measured) if complete else None)
    if out:
        spent = {"rounds": options.rounds, "seconds": options.seconds}
        results.write(out, {"kind": "peers", **measured, **spent, "networks": networks, "costs": costs})
        print(f"written: {out}")


def _others() -> str:
    return ", ".join(name for name in CONTENDERS if name != OURS)


def _selected(ids: list[str]) -> list[str]:
    if "all" in ids:
        return list(NETWORKS)
    return list(dict.fromkeys(ids)) or [id for id, network in NETWORKS.items() if network.goal is not None]
