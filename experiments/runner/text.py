"""Text of experiments and results for the terminal."""

import shutil
import textwrap
from pathlib import Path
from typing import Any

from experiments.runner.record import Experiment

MAX_LISTED_FIGURES = 8
"""Reported figures to show per experiment in the list."""


def entry(experiment: Experiment) -> str:
    """Return the entry of an experiment in the list."""
    figures = [f"{name}: {reported.value:g}" for name, reported in experiment.reported.items()]
    if len(figures) > MAX_LISTED_FIGURES:
        figures[MAX_LISTED_FIGURES:] = [f"and {len(figures) - MAX_LISTED_FIGURES} more (see --json)"]
    lines = (
        f"{experiment.id}: {experiment.what}",
        f"    source: {experiment.source}; data: {experiment.data}",
        f"    reported: {'; '.join(figures) or 'pictures only'}",
    )
    width = shutil.get_terminal_size((100, 24)).columns
    return "\n".join(textwrap.fill(line, width, subsequent_indent=" " * 8, break_on_hyphens=False) for line in lines)


def table(result: dict[str, Any], folder: Path) -> str:
    """Return a table of our figures and the reported ones, and the paths of the pictures."""
    quick = ", quick" if result["quick"] else ""
    seconds = f"{duration(result['seconds']['all'])}{' each' if len(result['seeds']) > 1 else ''}"
    head = f"{result['id']}{quick}, {seeds(result)}, on {result['device']['name']}: {seconds}"
    rows = [(name, ours(figure), *_verdict(figure)) for name, figure in result["figures"].items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([head, *lines, *(f"picture: {folder / name}" for name in result["pictures"])])


def ours(figure: dict[str, Any]) -> str:
    """Format the mean over the seeds and, if there are several, the standard deviation."""
    return _short(figure["ours"], 4) + ("" if figure["spread"] is None else f" ± {_short(figure['spread'], 2)}")


def seeds(result: dict[str, Any]) -> str:
    """Format the seeds of a result."""
    return f"{'seed' if len(result['seeds']) == 1 else 'seeds'} {', '.join(map(str, result['seeds']))}"


def duration(seconds: float) -> str:
    """Format a duration with two digits."""
    if seconds < 60:
        return f"{seconds:.2g} s"
    if seconds < 3600:
        return f"{seconds / 60:.2g} min"
    return f"{seconds / 3600:.2g} h"


def _short(value: float, digits: int) -> str:
    """Round to significant digits, without an exponent below a million."""
    return f"{float(f'{value:.{digits}g}'):g}"


def _verdict(figure: dict[str, Any]) -> tuple[str, str]:
    if figure["reported"] is None:
        return "", ""
    if figure["better"] is None:
        return f"(reported: {figure['reported']:g})", ""
    return f"(to reach: {figure['reported']:g})", {True: "met", False: "not met", None: "not judged"}[figure["met"]]
