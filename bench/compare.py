"""``python -m bench compare``: runs of ``python -m pytest bench`` side by side, CPU against GPU."""

import argparse
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

from bench import results
from bench.command import FAILED, Refused
from bench.text import columns, duration
from portanet.persistence import write_atomically

Case: TypeAlias = tuple[str, ...]
"""Name of a test, and its parameters but for the device, as text."""
Medians: TypeAlias = Mapping[Case, Mapping[str, float]]
"""For each case the median time in seconds on each device."""

CPU, GPU = "cpu", "cuda"


def add_to(commands: Any) -> None:
    """Describe the command to the parser."""
    parser = commands.add_parser(
        "compare",
        help="set CPU and GPU side by side",
        description="Turn files that `python -m pytest bench --benchmark-json FILE` wrote into a table and a picture: "
        "how much a GPU gains for each network, and from which batch on for which width.",
        epilog="A device that stands in several files counts in the last.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="of one machine, or of one for each device")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="draw a picture (needs matplotlib)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the table, and draw the picture if there is to be one."""
    medians = gather([results.read(path, "suite") for path in options.files])
    print(columns(rows(medians)))
    print("\n".join(crossover_lines(medians)))
    if options.picture:
        _draw(medians, options.picture)
        print(f"picture: {options.picture}")


def gather(files: Iterable[Mapping[str, Any]]) -> Medians:
    """Take the medians out of files of kind "suite"."""
    medians: dict[Case, dict[str, float]] = {}
    for file in files:
        for entry in file["benchmarks"]:
            case = (entry["test"], *map(str, entry["params"].values()))
            medians.setdefault(case, {})[entry["device"]] = entry["median"]
    return medians


def devices(medians: Medians) -> list[str]:
    """Devices that were timed, the CPU first."""
    return sorted(
        {device for times in medians.values() for device in times}, key=lambda device: (device != CPU, device)
    )


def rows(medians: Medians) -> list[list[str]]:
    """One row a case, below the header: the time on each device and, if there is a GPU, how many times faster it is."""
    names = devices(medians)
    gain = ["CPU / GPU"] if GPU in names else []
    table = [["case", *names, *gain]]
    for case, times in medians.items():
        cells = [duration(times[name]) if name in times else "" for name in names]
        factor = [f"{times[CPU] / times[GPU]:.2f}" if {CPU, GPU} <= times.keys() else ""] if gain else []
        table.append([" ".join(case).replace("_", " "), *cells, *factor])
    return table


def dense_steps(medians: Medians) -> dict[int, dict[int, Mapping[str, float]]]:
    """For each width and each batch size of the dense networks, both in ascending order, the time on each device."""
    found: dict[int, dict[int, Mapping[str, float]]] = {}
    sizes = sorted((int(case[1]), int(case[2]), case) for case in medians if case[0] == "dense_step")
    for width, batch, case in sizes:
        found.setdefault(width, {})[batch] = medians[case]
    return found


def crossover(steps: Mapping[int, Mapping[str, float]]) -> int | None:
    """
    Find the smallest batch size from which on the GPU is the faster, or None if there is none.

    Parameters
    ----------
    steps : mapping
        For each batch size, in ascending order, the time on each device.

    Examples
    --------
    >>> crossover({1: {"cpu": 1.0, "cuda": 3.0}, 16: {"cpu": 4.0, "cuda": 3.0}, 128: {"cpu": 9.0, "cuda": 3.0}})
    16
    """
    found = None
    for batch in reversed(list(steps)):
        times = steps[batch]
        if not {CPU, GPU} <= times.keys() or times[GPU] >= times[CPU]:
            break
        found = batch
    return found


def crossover_lines(medians: Medians) -> list[str]:
    """Say for each width from which batch size on the GPU is the faster."""
    if GPU not in devices(medians):
        return ["no file holds times of a GPU: nothing to cross over"]
    found = {width: crossover(steps) for width, steps in dense_steps(medians).items()}
    return [
        f"dense network of width {width}: the GPU is the faster "
        + (f"from batch size {batch} on" if batch else "at none of the batch sizes")
        for width, batch in found.items()
    ]


def _draw(medians: Medians, path: Path) -> None:
    try:
        picture = figure(medians)
    except ImportError as error:
        raise Refused(f"the picture needs matplotlib ({error}): pip install -e '.[bench]'", FAILED) from error
    png = BytesIO()
    picture.savefig(png, format="png", dpi=120)
    try:
        write_atomically(path, png.getvalue())
    except OSError as error:
        raise Refused(f"cannot write {path}: {error.strerror}", FAILED) from error


def figure(medians: Medians) -> Any:
    """
    Draw a bar for each network, and the curves that cross over.

    With a GPU the bars are its gain, CPU time over GPU time; without, the time of a step.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    networks = {case[1]: times for case, times in medians.items() if case[0] == "network_step"}
    drawn = Figure(figsize=(13, 2.5 + 0.18 * len(networks)), layout="constrained")
    bars, curves = drawn.subplots(1, 2)
    _draw_bars(bars, networks)
    _draw_curves(curves, dense_steps(medians))
    return drawn


def _draw_bars(axes: Any, networks: Mapping[str, Mapping[str, float]]) -> None:
    both = {id: times[CPU] / times[GPU] for id, times in networks.items() if {CPU, GPU} <= times.keys()}
    bars = both or {id: 1e3 * next(iter(times.values())) for id, times in networks.items()}
    start = 1.0 if both else 0.0  # gains reach from parity to either side
    colours = ["C3" if both and value < 1 else "C0" for value in bars.values()]
    axes.barh(list(bars), [value - start for value in bars.values()], left=start, color=colours)
    axes.invert_yaxis()
    axes.set(xscale="log", title="training step of each network", xlabel="CPU time / GPU time" if both else "time (ms)")
    axes.margins(y=0.01)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", labelsize=7)
    axes.grid(axis="x", alpha=0.3)


def _draw_curves(axes: Any, steps: Mapping[int, Mapping[int, Mapping[str, float]]]) -> None:
    for i, (width, batches) in enumerate(steps.items()):
        for device, style in ((CPU, "-"), (GPU, "--")):
            points = [(batch, 1e3 * times[device]) for batch, times in batches.items() if device in times]
            if points:
                axes.plot(
                    *zip(*points, strict=True), style, color=f"C{i}", marker=".", label=f"width {width}, {device}"
                )
        if at := crossover(batches):
            axes.plot(at, 1e3 * batches[at][GPU], "o", color=f"C{i}", markersize=10, fillstyle="none")
    axes.set(
        xscale="log",
        yscale="log",
        title="training step of dense networks; circle: from here on the GPU is the faster",
        xlabel="batch size",
        ylabel="time (ms)",
    )
    axes.title.set_fontsize("medium")
    axes.grid(alpha=0.3)
    if steps:
        axes.legend(fontsize=7)
