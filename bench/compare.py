"""``python -m bench compare``: runs of ``python -m pytest bench`` side by side, CPU against GPU."""

import argparse
from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

from bench import files, results
from bench.command import FAILED, Refused, show
from bench.text import columns, duration

Case: TypeAlias = tuple[str, ...]
"""Name of a test, and its parameters but for the device, as text."""
Medians: TypeAlias = Mapping[Case, Mapping[str, float]]
"""For each case the median time in seconds on each device."""

CPU, GPU = "cpu", "cuda"
STYLES = {CPU: "-", GPU: "--"}
PICTURES = (".png", ".pdf", ".svg")


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
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw a picture (.png, .pdf or .svg)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the table, and draw the picture if there is to be one."""
    medians = gather([results.read(path, "suite") for path in options.files])
    if not medians:
        raise Refused(f"there are no times in {', '.join(map(str, options.files))}: nothing to compare")
    if options.picture:
        check_picture(medians, options.picture)
    show(columns(rows(medians)), *crossover_lines(medians))
    if options.picture:
        draw(medians, options.picture)
        show(f"picture: {options.picture}")


def check_picture(medians: Medians, path: Path) -> None:
    """Refuse a picture that cannot be drawn or written."""
    if path.suffix.lower() not in PICTURES:
        raise Refused(f"cannot draw {path}: a picture's name ends in {', '.join(PICTURES)}")
    if not network_steps(medians) and not dense_steps(medians):
        raise Refused("there is nothing to draw: the files hold no training steps")
    files.check_writable(path)


def gather(suites: Iterable[Mapping[str, Any]]) -> Medians:
    """Take the medians out of files of kind "suite"."""
    medians: dict[Case, dict[str, float]] = {}
    for suite in suites:
        for entry in suite["benchmarks"]:
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


def network_steps(medians: Medians) -> dict[str, Mapping[str, float]]:
    """For each network the time of its training step on each device."""
    return {case[1]: times for case, times in medians.items() if case[0] == "network_step"}


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
        For each batch size, in ascending order, the time on each device; those that lack one do not count.

    Examples
    --------
    >>> crossover({1: {"cpu": 1.0, "cuda": 3.0}, 16: {"cpu": 4.0, "cuda": 3.0}, 128: {"cpu": 9.0, "cuda": 3.0}})
    16
    """
    found = None
    for batch, times in reversed(compared(steps).items()):
        if times[GPU] >= times[CPU]:
            break
        found = batch
    return found


def compared(times: Mapping[Any, Mapping[str, float]]) -> dict[Any, Mapping[str, float]]:
    """Keep what was timed on both devices."""
    return {key: each for key, each in times.items() if {CPU, GPU} <= each.keys()}


def crossover_lines(medians: Medians) -> list[str]:
    """Say for each width that was timed on both devices from which batch size on the GPU is the faster."""
    found = {width: crossover(steps) for width, steps in dense_steps(medians).items() if compared(steps)}
    return [
        f"dense network of width {width}: the GPU is the faster "
        + (f"from batch size {batch} on" if batch else "at none of the batch sizes")
        for width, batch in found.items()
    ]


def draw(medians: Medians, path: Path) -> None:
    """Draw the picture in the format that the ending of its name asks for."""
    try:
        picture = figure(medians)
    except ImportError as error:
        raise Refused(f"the picture needs matplotlib ({error}): pip install -e '.[bench]'", FAILED) from error
    drawn = BytesIO()
    picture.savefig(drawn, format=path.suffix[1:].lower(), dpi=120)
    files.write(path, drawn.getvalue())


def figure(medians: Medians) -> Any:
    """
    Draw the training step of each network, and the curves of the dense networks that cross over.

    Networks that were timed on both devices have a bar each, the GPU's gain; without any, a point on each device.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    networks, dense = network_steps(medians), dense_steps(medians)
    pairs: list[tuple[Callable[[Any, Any], None], Any]] = [(_draw_networks, networks), (_draw_curves, dense)]
    panels = [(panel, data) for panel, data in pairs if data]
    drawn = Figure(figsize=(6.5 * len(panels), max(4.5, 2.5 + 0.18 * len(networks))), layout="constrained")
    for axes, (panel, data) in zip(drawn.subplots(1, len(panels), squeeze=False).flat, panels, strict=True):
        panel(axes, data)
        axes.title.set_fontsize("medium")
        axes.grid(alpha=0.3)
    return drawn


def _draw_networks(axes: Any, networks: Mapping[str, Mapping[str, float]]) -> None:
    if both := compared(networks):
        gains = {id: times[CPU] / times[GPU] for id, times in both.items()}
        colours = ["C3" if gain < 1 else "C0" for gain in gains.values()]
        # A logarithmic axis has no zero for bars to begin at: these begin where both are as fast.
        axes.barh(list(gains), [gain - 1 for gain in gains.values()], left=1, color=colours)
        axes.axvline(1, color="black", linewidth=0.8)
        xlabel = "CPU time / GPU time; right of 1 the GPU is the faster"
    else:
        for device in dict.fromkeys(chain.from_iterable(networks.values())):
            times = {id: 1e3 * found[device] for id, found in networks.items() if device in found}
            axes.plot(times.values(), times.keys(), "o", label=device)
        axes.legend()
        xlabel = "time (ms)"
    axes.invert_yaxis()
    axes.set(xscale="log", title="training step of each network", xlabel=xlabel)
    _label_decades(axes.xaxis)
    axes.margins(y=0.01)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", labelsize=7)


def _draw_curves(axes: Any, steps: Mapping[int, Mapping[int, Mapping[str, float]]]) -> None:
    title = "training step of dense networks"
    for i, (width, batches) in enumerate(steps.items()):
        for device, style in STYLES.items():
            times = {batch: 1e3 * found[device] for batch, found in batches.items() if device in found}
            if times:
                axes.plot(
                    times.keys(), times.values(), style, color=f"C{i}", marker=".", label=f"width {width}, {device}"
                )
        if at := crossover(batches):
            axes.plot(at, 1e3 * batches[at][GPU], "o", color=f"C{i}", markersize=10, fillstyle="none")
            title = "training step of dense networks; circle: from here on the GPU is the faster"
    axes.set(xscale="log", yscale="log", title=title, xlabel="batch size", ylabel="time (ms)")
    axes.set_xticks(sorted(set(chain.from_iterable(steps.values()))))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    _label_decades(axes.yaxis)
    axes.legend(fontsize=7, handlelength=4)  # long enough to tell dashes from a line


def _label_decades(axis: Any) -> None:
    """Label the decades, of few also 2 and 5: matplotlib labels all digits of short ranges, one over another."""
    from matplotlib.ticker import LogLocator, NullLocator

    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())
