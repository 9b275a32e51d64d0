"""
``python -m bench scaling``: training steps of one and two processes, the ranks, with one core each.

Each case runs in processes of its own, which ``mpiexec`` starts; the cases alternate.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from bench import files, machine, prediction, results
from bench.command import CommandError, check_known, positive_int, positive_seconds, print_lines, print_progress
from bench.compare import save
from bench.networks import NETWORKS
from bench.text import columns, duration

DEFAULT = ("001-ae-mnist", "003-lenet", "004-cnn")


class Case(NamedTuple):
    """How a network is trained."""

    ranks: int
    threads: int
    part: int
    """A rank has the batch of the network divided by this."""


CASES = {
    "one core": Case(1, 1, 1),
    "two threads": Case(1, 2, 1),
    "weak": Case(2, 1, 1),
    "strong": Case(2, 1, 2),
}
"""Weak: each rank has a whole batch. Strong: each rank has half of it."""


def measure(name: str, part: int, seconds: float) -> dict[str, float]:
    """Train in this rank, and return the median times of a step and of its exchange."""
    from portanet import Callback, Trainer
    from portanet.distributed import find_communicator

    network, ranks = NETWORKS[name], find_communicator()
    recipe = network.recipe()
    batch_size = max(1, network.batch_size // part)
    n = batch_size * ranks.size * 20
    x = recipe.examples(n)
    trainer = Trainer(network.build(), network.loss(), network.optimizer(), communicator=ranks)
    times: list[float] = []
    exchange: list[float] = []
    reduce = type(ranks).all_reduce

    def timed(array: Any) -> None:
        begin = perf_counter()
        reduce(ranks, array)
        exchange.append(perf_counter() - begin)

    ranks.all_reduce = timed  # type: ignore[method-assign]

    class Clock(Callback):
        def on_train_begin(self, trainer: Any) -> None:
            self.last = perf_counter()

        def on_train_batch_end(self, trainer: Any) -> None:
            now = perf_counter()
            times.append(now - self.last)
            self.last = now

        def on_epoch_end(self, trainer: Any, logs: Any) -> None:
            if ranks.broadcast(sum(times) > seconds):
                trainer.stop()
            self.last = perf_counter()

    trainer.fit(x, recipe.targets(x), epochs=10_000, batch_size=batch_size, callbacks=[Clock()], progress=False)
    gradient = np.zeros_like(trainer.net.flat.grad)
    alone = []
    for _ in range(50):
        ranks.barrier()
        begin = perf_counter()
        reduce(ranks, gradient)
        alone.append(perf_counter() - begin)
    return {
        "step": median(times[min(5, len(times) // 2) :]),  # the first ones also warm up
        "waiting": sum(exchange) / len(times),
        "exchange": median(alone),
        "bytes": float(gradient.nbytes),
    }


def find_program(name: str) -> str | None:
    """Return the path of a program: of this environment, else of the system."""
    return shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)


def run_case(name: str, case: Case, seconds: float) -> dict[str, float]:
    """Start the ranks of a case, and return what the first one measured."""
    mpiexec = find_program("mpiexec")
    if mpiexec is None:
        raise CommandError("mpiexec is missing: pip install mpi4py mpich")
    settings = {f"{pool}_NUM_THREADS": str(case.threads) for pool in ("OPENBLAS", "OMP")}
    worker = [sys.executable, "-m", "bench.scaling", name, str(case.part), str(seconds)]
    command = worker if case.ranks == 1 else [mpiexec, "-bind-to", "core", "-n", str(case.ranks), *worker]
    if case == CASES["one core"] and shutil.which("taskset"):
        command = ["taskset", "-c", str(min(os.sched_getaffinity(0))), *command]
    done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CommandError(f"{name} failed with {case.ranks} ranks: {done.stderr.strip().splitlines()[-1:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[0])
    return found


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "scaling",
        help="compare one and two processes that train together",
        description="Time training steps of one process with one core, of two with one core each, and of one process "
        "with two threads.",
        epilog="It needs mpi4py and mpiexec. A complete run takes two minutes. It is written to bench/results; a "
        "selection is only printed, unless --out names a file.",
    )
    parser.add_argument("--networks", nargs="+", default=[], metavar="NAME", help=f"by default {', '.join(DEFAULT)}")
    parser.add_argument("--rounds", type=positive_int, default=3, metavar="N", help="alternations (%(default)s)")
    parser.add_argument("--seconds", type=positive_seconds, default=2.0, metavar="S", help="of a case (%(default)s)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the results as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Compare the cases, and print a table."""
    check_known("network", options.networks, NETWORKS)
    info = machine.measurement_info(["cpu"], machine.threads())
    out = options.out or (None if options.networks else results.FOLDER / machine.file_name("scaling", info))
    if out:
        files.check_writable(out)
    found: dict[str, Any] = {}
    for name in list(dict.fromkeys(options.networks)) or DEFAULT:
        runs: dict[str, list[dict[str, float]]] = {label: [] for label in CASES}
        for i in range(options.rounds):
            print_progress(f"{name}, round {i + 1}", milestone=True)
            for label, case in CASES.items():
                runs[label].append(run_case(name, case, options.seconds))
        found[name] = {
            label: {key: median(one[key] for one in of_case) for key in of_case[0]} for label, of_case in runs.items()
        }
    predicted = columns([prediction.NODES_HEADER, *prediction.node_rows(found)])
    print_lines(columns([HEADER, *table_rows(found)]), "", "predicted gains:", predicted)
    if out:
        results.write(out, {"kind": "scaling", **info, "rounds": options.rounds, "networks": found})
        save(lambda: prediction.figure(found), out.with_suffix(".png"))


HEADER = ("network", "one core", "weak", "gain", "strong", "gain", "two threads", "strong / threads", "exchange")


def table_rows(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return a row of a table for each network."""
    table: list[tuple[str, ...]] = []
    for name, cases in found.items():
        one, weak, strong, threads = (cases[label]["step"] for label in ("one core", "weak", "strong", "two threads"))
        gains = f"{2 * one / weak:.2f}", f"{one / strong:.2f}"
        share = f"{cases['weak']['exchange'] / weak:.1%}"
        times = [duration(seconds) for seconds in (one, weak, strong, threads)]
        ratio = f"{strong / threads:.2f}"
        table.append((name, times[0], times[1], gains[0], times[2], gains[1], times[3], ratio, share))
    return table


def main(name: str, part: str, seconds: str) -> None:
    """Measure in this rank; the first one prints the result."""
    from portanet.distributed import find_communicator

    found = measure(name, int(part), float(seconds))
    if find_communicator().rank == 0:
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
