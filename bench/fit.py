"""
``python -m bench fit``: training steps a second of ``fit``.

On a GPU, ``fit`` alone runs several recorded steps at once; ``bench peers`` times single ones.
"""

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import portanet.engine.graph
from bench import results
from bench.command import FAILED, CommandError, check_known, positive_int, print_lines, print_progress
from bench.files import check_writable
from bench.machine import file_name, measurement_info, threads
from bench.networks import NETWORKS, Network
from bench.peers.competitors import PRECISIONS
from bench.results import Record
from bench.text import columns, counted
from portanet import BackendUnavailable, Callback, Trainer

DEFAULT = ("003-mlp", "003-lenet", "004-cnn")
HEADER = ("network", "precision", "steps a launch", "steps a second")


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "fit",
        help="count the training steps a second of fit",
        description="Train networks with fit on random data that are on the device, and count the steps a second: the "
        "median over the epochs, without the first one. On a GPU, steps are recorded: as a graph, or as one kernel.",
        epilog="Without a selection, the results go to bench/results.",
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: cpu")
    parser.add_argument("--networks", nargs="+", default=[], metavar="ID", help=f"default: {' '.join(DEFAULT)}")
    parser.add_argument("--steps", type=positive_int, default=256, metavar="N", help="steps of an epoch (default: 256)")
    parser.add_argument("--epochs", type=positive_int, default=5, metavar="N", help="default: 5")
    parser.add_argument(
        "--steps-per-graph", type=positive_int, nargs="+", default=[], metavar="N", help="on a GPU (default: 1 16 64)"
    )
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=[], help="on a GPU (default: both)")
    parser.add_argument(
        "--columns", type=positive_int, metavar="BYTES", help="on a GPU: largest matrix of a convolution at a time"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the results as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Count the steps a second of each network in each variant."""
    check_known("network", options.networks, NETWORKS)
    networks = list(dict.fromkeys(options.networks)) or list(DEFAULT)
    try:
        info = measurement_info([options.device], threads())
    except BackendUnavailable as error:
        raise CommandError(f"--device {options.device}: {error}", FAILED) from error
    selection = options.networks or options.steps_per_graph or options.precision or options.columns
    out = options.out or (None if selection else results.FOLDER / file_name("fit", info))
    if out:
        check_writable(out)
    record = Record(out, {"kind": "fit", **info, "steps": options.steps, "epochs": options.epochs}, networks)
    if options.columns and options.device == "cuda":
        conv: Any = import_module("portanet.backends.cupy.conv")
        conv.MAX_COLUMNS_BYTES = options.columns
    for id, position in record.remaining():
        for precision, n in variants(options):
            print_progress(position, f"{id}, {precision}, {counted(n, 'step')} a launch", milestone=True)
            rate = steps_per_second(NETWORKS[id], options, precision, n)
            record.add("networks", {id: {**record.file["networks"].get(id, {}), f"{precision}, {n}": rate}})
    print_progress()
    print_lines(columns([HEADER, *table_rows(record.file["networks"])]), *([f"written: {out}"] if out else []))


def variants(options: argparse.Namespace) -> list[tuple[str, int]]:
    """Return the precisions and steps a launch to be measured; a CPU has one of each."""
    if options.device == "cpu":
        return [(PRECISIONS[0], 1)]
    return [(p, n) for p in options.precision or PRECISIONS for n in options.steps_per_graph or (1, 16, 64)]


class Clock(Callback):
    """Notes the time at the end of each epoch, when ``fit`` has read the losses from the device."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_epoch_end(self, trainer: Any, logs: Any) -> None:
        """Note the time."""
        self.times.append(perf_counter())


def steps_per_second(
    network: Network, options: argparse.Namespace, precision: Any = PRECISIONS[0], steps_per_graph: int = 1
) -> float:
    """
    Return the steps a second of ``fit``.

    Parameters
    ----------
    network : Network
        The network.
    options : Namespace
        With the attributes ``device``, ``steps`` (of an epoch) and ``epochs``.
    precision : str
        Of products and convolutions on a GPU.
    steps_per_graph : int
        Recorded as one graph or kernel.
    """
    recipe, clock = network.recipe(), Clock()
    trainer = Trainer(
        network.build(),
        network.loss(),
        network.optimizer(),
        device=options.device,
        float32_matmul_precision=precision,
    )
    examples = recipe.examples(network.batch_size * options.steps)
    x, y = trainer.net.asarray(examples), trainer.net.asarray(recipe.targets(examples))
    settings: dict[str, Any] = {"batch_size": network.batch_size, "epochs": options.epochs + 1, "progress": False}
    with recorded_together(steps_per_graph):
        trainer.fit(x, y, callbacks=[clock], **settings)
    return options.steps / median(end - begin for begin, end in pairwise(clock.times))


@contextmanager
def recorded_together(n: int) -> Iterator[None]:
    """Context manager: record ``n`` steps as one."""
    graph: Any = portanet.engine.graph
    before, graph.STEPS_PER_GRAPH = graph.STEPS_PER_GRAPH, n
    try:
        yield
    finally:
        graph.STEPS_PER_GRAPH = before


def table_rows(networks: Mapping[str, Mapping[str, float]]) -> list[tuple[str, ...]]:
    """
    Return the cells of a table of the results.

    Examples
    --------
    >>> table_rows({"003-mlp": {"float32, 16": 1234.5}})
    [('003-mlp', 'float32', '16', '1,234')]
    """
    rows: list[tuple[str, ...]] = []
    for id, rates in networks.items():
        for variant, rate in rates.items():
            precision, _, n = variant.partition(", ")
            rows.append((id, precision, n, f"{rate:,.0f}"))
    return rows
