"""What the terminal shows of experiments and of their results."""

import shutil
import textwrap
from pathlib import Path
from typing import Any

from experiments.frame.record import Experiment


def entry(experiment: Experiment) -> str:
    """Describe an experiment in the list of all."""
    figures = "; ".join(f"{name}: {reported.value:g}" for name, reported in experiment.reported.items())
    lines = (
        f"{experiment.id}: {experiment.what}",
        f"    source: {experiment.source}; data: {experiment.data}",
        f"    reported: {figures or 'pictures only'}",
    )
    width = shutil.get_terminal_size((100, 24)).columns
    return "\n".join(textwrap.fill(line, width, subsequent_indent=" " * 8) for line in lines)


def table(result: dict[str, Any], folder: Path) -> str:
    """Set our figures beside those reported, and say where the pictures are."""
    quick = ", the quick form" if result["quick"] else ""
    head = f"{result['id']}{quick}, seed {result['seed']}, on {result['device']['name']}: {result['seconds']['all']} s"
    rows = [(name, f"{figure['ours']:.4g}", *_judgement(figure)) for name, figure in result["figures"].items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([head, *lines, *(f"picture: {folder / name}" for name in result["pictures"])])


def _judgement(figure: dict[str, Any]) -> tuple[str, str]:
    if figure["reported"] is None:
        return "", ""
    if figure["better"] is None:
        return f"(reported: {figure['reported']:g})", ""
    return f"(to reach: {figure['reported']:g})", {True: "met", False: "not met", None: "not judged"}[figure["met"]]
