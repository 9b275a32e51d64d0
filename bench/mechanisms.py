"""
``python -m bench mechanisms``: the speed-up of each speed mechanism of PortaNet.

Two processes run the same training step in turn: one with every mechanism, one with a mechanism disabled by the
environment variable ``PORTANET_DISABLE`` (see ``portanet.backends.disabled``).
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from statistics import median
from typing import Any

from bench.command import check_known
from bench.networks import Network
from bench.peers.command import add_settings, check_settings, kept, selected_networks, start_record, time_networks
from bench.peers.competitors import OURS
from bench.peers.process import Child, ChildFailed
from bench.peers.race import STEP, Settings, take_turns
from bench.peers.ratios import paired_ratio
from bench.peers.table import quartiles_cell
from bench.text import columns, duration, factor
from portanet.backends import get_backend

VARIABLE = "PORTANET_DISABLE"
ENGINE = ("rewrite", "dense", "engine", "malloc", "batch_last")
"""Mechanisms that are not kernels; "graph", "persistent" and "streaming", which need a GPU, are not measured."""
KERNELS = tuple(get_backend("cpu").kernels)
"""Kernels that the NumPy backend overrides; a disabled one is replaced by its portable form."""
MECHANISMS = (*ENGINE, *KERNELS)


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "mechanisms",
        help="measure the speed-up of each speed mechanism",
        description="Time the training step on the CPU with all mechanisms and with one of them disabled, in turn, in "
        "two processes. The ratio is the median over the rounds of the time without the mechanism divided by the time "
        "with it: above 1, the mechanism makes the step faster. By default all mechanisms are measured on all networks "
        "that have a goal.",
        epilog="A complete run takes about 20 minutes, during which nothing else should run. Its results go to "
        "bench/results, network by network, so an interrupted run keeps the finished networks. A selection is only "
        "printed, unless --out names a file.",
    )
    parser.add_argument(
        "--mechanisms", nargs="+", default=[], metavar="NAME", help=f"choose from: {', '.join(MECHANISMS)}"
    )
    add_settings(parser, seconds=0.1)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Measure the mechanisms."""
    check_settings(options)
    check_known("mechanism", options.mechanisms, MECHANISMS)
    names = list(dict.fromkeys(options.mechanisms)) or list(MECHANISMS)
    complete = not options.networks and not options.mechanisms
    settings = Settings("cpu", options.threads, options.rounds, options.seconds, options.limit)
    networks = selected_networks(options.networks)
    record = start_record("mechanisms", options, settings.device, networks, complete=complete)
    with kept(record):
        time_networks(record, lambda network, log: run_network(network, names, settings, log), table)


def run_network(
    network: Network, names: Sequence[str], settings: Settings, log: Callable[[str], None]
) -> dict[str, Any]:
    """
    Measure mechanisms on the training step of one network.

    Parameters
    ----------
    network : Network
        The network.
    names : sequence of str
        Mechanisms.
    settings : Settings
        Threads and durations.
    log : callable
        Called with progress messages.

    Returns
    -------
    dict
        ``"mechanisms"``: for each mechanism the median times with and without it in seconds, ``"on"`` and ``"off"``,
        the ``"ratio"`` of the latter to the former, and its ``"quartiles"``. ``"absent"``: the mechanisms without which
        the step fails, and the error.

    Raises
    ------
    ChildFailed
        If the step fails with all mechanisms enabled.
    """
    recipe = network.recipe().to_json()
    result: dict[str, dict[str, Any]] = {"mechanisms": {}, "absent": {}}
    for name in names:
        log(f"{network.id}: {name}")
        with ExitStack() as stack:
            children = {
                key: stack.enter_context(Child(OURS, settings.device, settings.threads, {VARIABLE: disabled}))
                for key, disabled in ((OURS, ""), (name, name))
            }
            children[OURS].ask(settings.limit, recipe=recipe, **STEP)
            try:
                children[name].ask(settings.limit, recipe=recipe, **STEP)
            except ChildFailed as reason:
                result["absent"][name] = str(reason)
                continue
            blocks = take_turns(children, settings, result["absent"])
        if name in blocks:
            on, off = blocks[OURS], blocks[name]
            result["mechanisms"][name] = {"on": median(on), "off": median(off), **paired_ratio(off, on)}
    return result


def table(network: Network, result: Mapping[str, Any]) -> str:
    """Return a table of the mechanisms on one network, the largest speed-up first."""
    rows = [(network.id, "on", "off", "off / on", "quartiles")]
    for name, row in sorted(result["mechanisms"].items(), key=lambda item: -float(item[1]["ratio"])):
        times = duration(row["on"]), duration(row["off"])
        rows.append((f"  {name}", *times, factor(row["ratio"]), quartiles_cell(row)))
    return "\n".join([columns(rows), *(f"  {name}: {reason}" for name, reason in result["absent"].items())])
