"""``python -m bench compare``: runs of ``python -m pytest bench`` side by side, CPU against GPU."""

import argparse
from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

from bench import files, results
from bench.command import FAILED, CommandError, print_lines
from bench.text import columns, duration
from portanet.files import as_file_errors

Case: TypeAlias = tuple[str, ...]
"""Name of a test and its parameters, except the device, as strings."""
Medians: TypeAlias = Mapping[Case, Mapping[str, float]]
"""Median time in seconds on each device, by case."""

CPU, GPU = "cpu", "cuda"
STYLES = {CPU: "-", GPU: "--"}
PICTURES = (".png", ".pdf", ".svg")


def add_to(commands: Any) -> None:
    """Describe the command to the parser."""
    parser = commands.add_parser(
        "compare",
        help="compare CPU and GPU",
        description="Print a table and draw a picture of files that `python -m pytest bench --benchmark-json FILE` "
        "wrote: the speed-up of the GPU for each network, and for each width the batch size from which the GPU is "
        "faster.",
        epilog="If several files hold the same device, the last file counts.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="one file, or one for each device")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw a picture (.png, .pdf or .svg)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the table, and draw the picture if one was asked for."""
    medians = gather(map(read, options.files))
    if not medians:
        raise CommandError(f"nothing to compare: there are no times in {', '.join(map(str, options.files))}")
    if options.picture:
        check_picture(medians, options.picture)
    print_lines(columns(rows(medians)), *crossover_lines(medians))
    if options.picture:
        draw(medians, options.picture)
        print_lines(f"picture: {options.picture}")


def read(path: Path) -> dict[str, Any]:
    """Read a file of kind "suite" of which tables and pictures can be made."""
    suite = results.read(path, "suite")
    medians = gather([suite])
    with as_file_errors(path):  # a case without a width, for instance, shows only here
        for part in (rows, network_steps, crossover_lines):
            part(medians)
    return suite


def check_picture(medians: Medians, path: Path) -> None:
    """Raise CommandError if the picture cannot be drawn or written."""
    if path.suffix.lower() not in PICTURES:
        raise CommandError(f"cannot draw {path}: the name of a picture ends in {', '.join(PICTURES)}")
    if not network_steps(medians) and not dense_steps(medians):
        raise CommandError("nothing to draw: the files hold no training steps")
    files.check_writable(path)


def gather(suites: Iterable[Mapping[str, Any]]) -> Medians:
    """Collect the medians from files of kind "suite"."""
    medians: dict[Case, dict[str, float]] = {}
    for suite in suites:
        for entry in suite["benchmarks"]:
            case = (entry["test"], *map(str, entry["params"].values()))
            medians.setdefault(case, {})[entry["device"]] = entry["median"]
    return medians


def devices(medians: Medians) -> list[str]:
    """Return the devices that were timed, the CPU first."""
    return sorted(
        {device for times in medians.values() for device in times}, key=lambda device: (device != CPU, device)
    )


def rows(medians: Medians) -> list[list[str]]:
    """Return a header and one row per case: the time on each device and, if a GPU was timed, its speed-up."""
    names = devices(medians)
    speed_up = ["CPU / GPU"] if GPU in names else []
    table = [["case", *names, *speed_up]]
    for case, times in medians.items():
        cells = [duration(times[name]) if name in times else "" for name in names]
        factor = [f"{times[CPU] / times[GPU]:.2f}" if {CPU, GPU} <= times.keys() else ""] if speed_up else []
        table.append([" ".join(case).replace("_", " "), *cells, *factor])
    return table


def network_steps(medians: Medians) -> dict[str, Mapping[str, float]]:
    """Return the time of a training step on each device, by network."""
    return {case[1]: times for case, times in medians.items() if case[0] == "network_step"}


def dense_steps(medians: Medians) -> dict[int, dict[int, Mapping[str, float]]]:
    """Return the step time of the dense networks on each device, by width and batch size in ascending order."""
    found: dict[int, dict[int, Mapping[str, float]]] = {}
    sizes = sorted((int(case[1]), int(case[2]), case) for case in medians if case[0] == "dense_step")
    for width, batch, case in sizes:
        found.setdefault(width, {})[batch] = medians[case]
    return found


def crossover(steps: Mapping[int, Mapping[str, float]]) -> int | None:
    """
    Return the smallest batch size from which the GPU is faster, or None if there is none.

    Parameters
    ----------
    steps : mapping
        Time on each device by batch size, in ascending order. Batch sizes without both devices are ignored.

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
    """Keep the entries that were timed on both devices."""
    return {key: each for key, each in times.items() if {CPU, GPU} <= each.keys()}


def crossover_lines(medians: Medians) -> list[str]:
    """Return a sentence for each width that was timed on both devices: the batch size from which the GPU is faster."""
    found = {width: crossover(steps) for width, steps in dense_steps(medians).items() if compared(steps)}
    return [
        f"dense network of width {width}: the GPU is faster "
        + (f"from batch size {batch}" if batch else "at none of the batch sizes")
        for width, batch in found.items()
    ]


def draw(medians: Medians, path: Path) -> None:
    """Draw the picture; the suffix of the file selects the format."""
    save(lambda: figure(medians), path)


def save(make: Callable[[], Any], path: Path) -> None:
    """Write the figure of matplotlib that a function makes."""
    try:
        picture = make()
    except ImportError as error:
        raise CommandError(f"the picture needs matplotlib ({error}): pip install -e '.[bench]'", FAILED) from error
    drawn = BytesIO()
    try:
        picture.savefig(drawn, format=path.suffix[1:].lower(), dpi=120)
    except ValueError as error:  # a name that matplotlib takes for a formula
        raise CommandError(f"cannot draw {path}: {str(error).splitlines()[-1]}", FAILED) from error
    files.write(path, drawn.getvalue())


def figure(medians: Medians) -> Any:
    """
    Draw the training step of each network, and the curves of the dense networks.

    Networks timed on both devices are bars of the GPU's speed-up. If there are none, each time is a point.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    networks, dense = network_steps(medians), dense_steps(medians)
    pairs: list[tuple[Callable[[Any, Any], None], Any]] = [(_draw_networks, networks), (_draw_curves, dense)]
    panels = [(panel, data) for panel, data in pairs if data]
    drawing = Figure(figsize=(6.5 * len(panels), max(4.5, 2.5 + 0.18 * len(networks))), layout="constrained")
    for axes, (panel, data) in zip(drawing.subplots(1, len(panels), squeeze=False).flat, panels, strict=True):
        panel(axes, data)
        axes.title.set_fontsize("medium")
        axes.grid(alpha=0.3)
    return drawing


def _draw_networks(axes: Any, networks: Mapping[str, Mapping[str, float]]) -> None:
    if both := compared(networks):
        speed_ups = {id: times[CPU] / times[GPU] for id, times in both.items()}
        colours = ["C3" if speed_up < 1 else "C0" for speed_up in speed_ups.values()]
        # A logarithmic axis has no zero, so the bars start at 1.
        axes.barh(list(speed_ups), [speed_up - 1 for speed_up in speed_ups.values()], left=1, color=colours)
        axes.axvline(1, color="black", linewidth=0.8)
        xlabel = "CPU time / GPU time; above 1 the GPU is faster"
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
            title = "training step of dense networks; the GPU is faster from the circle on"
    axes.set(xscale="log", yscale="log", title=title, xlabel="batch size", ylabel="time (ms)")
    axes.set_xticks(sorted(set(chain.from_iterable(steps.values()))))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    _label_decades(axes.yaxis)
    axes.legend(fontsize=7, handlelength=4)  # long enough to show dashes


def _label_decades(axis: Any) -> None:
    """Label decades, in short ranges also 2 and 5: the labels of matplotlib's default overlap in short ranges."""
    from matplotlib.ticker import LogLocator, NullLocator

    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())
