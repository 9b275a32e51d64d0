"""Boxes and arrows of the pictures."""

from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

BLUE, GREY, GREEN, ORANGE = "#dbe9f6", "#eeeeee", "#e2f0d9", "#fde8d0"


def new_axes(width: float, height: float, xlim: tuple[float, float], ylim: tuple[float, float]) -> tuple[Any, Any]:
    """Return a figure and its axes, without frame and ticks."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=xlim, ylim=ylim)
    axes.axis("off")
    return figure, axes


def box(axes: Any, center: tuple[float, float], text: str, color: str, size: tuple[float, float] = (3.4, 0.6)) -> None:
    """Draw a labelled box; a second line of the text, in small letters, names a file."""
    (x, y), (width, height) = center, size
    style = {"boxstyle": "round,pad=0.04", "facecolor": color, "edgecolor": "black", "linewidth": 0.8}
    axes.add_patch(FancyBboxPatch((x - width / 2, y - height / 2), width, height, zorder=4, **style))
    title, _, file = text.partition("\n")
    axes.text(x, y + (0.12 if file else 0), title, ha="center", va="center", fontsize=8, zorder=5)
    axes.text(x, y - 0.14, file, ha="center", va="center", fontsize=7, family="monospace", color="#444444", zorder=5)


def arrow(axes: Any, start: tuple[float, float], end: tuple[float, float], text: str = "", **style: Any) -> None:
    """Draw an arrow, with a text above its middle."""
    properties = {"arrowstyle": "-|>", "color": "black", "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0, **style}
    axes.annotate("", end, start, arrowprops=properties)
    x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
    axes.text(x, y + 0.08, text, ha="center", va="bottom", fontsize=9)
