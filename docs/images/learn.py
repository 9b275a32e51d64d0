"""Drawings for the pages that teach."""

from typing import Any

import numpy as np
from drawing import BLUE, GREEN, ORANGE, arrow, box, new_axes
from matplotlib.patches import Rectangle


def chain() -> Any:
    """Draw a chain of two functions and the loss, and their pullbacks in reverse order."""
    figure, axes = new_axes(7.2, 2.4, (-1.2, 12.8), (0.0, 4.0))
    for i, (function, kept) in enumerate(zip("fgL", "xhy", strict=True)):
        x = 2.4 + 4 * i
        box(axes, (x, 3.3), f"${function}$", BLUE, (1.6, 0.9))
        box(axes, (x, 0.7), f"pullback of ${function}$", GREEN, (2.3, 0.9))
        arrow(axes, (x, 2.8), (x, 1.2), linestyle="--", color="#777777")
        axes.text(x + 0.15, 2.0, f"keeps ${kept}$", fontsize=9, va="center", color="#555555")
    for i, name in enumerate(("x", "h", "y", "L")):
        left, right = 4 * i - 0.76, 4 * i + 1.56
        last = 0.8 * (name == "L")  # the value of the loss leaves the picture, and dL/dL = 1 comes in
        arrow(axes, (left, 3.3), (right - last, 3.3), f"${name}$")
        arrow(axes, (right - last, 0.7), (left + 0.36, 0.7), "$1$" if last else f"$d{name}$")
    return figure


def numbers(axes: Any, left: float, top: float, values: Any, color: str) -> None:
    """Draw a matrix of numbers in squares."""
    for (i, j), value in np.ndenumerate(np.atleast_2d(values)):
        axes.add_patch(Rectangle((left + j, top - i - 1), 1, 1, facecolor=color, edgecolor="black", linewidth=0.8))
        axes.text(left + j + 0.5, top - i - 0.5, f"{value:g}", ha="center", va="center", fontsize=9)


def convolution() -> Any:
    """Draw the windows of a signal as rows of a matrix, and the product with the kernel."""
    x, w = np.asarray([1.0, 2.0, 0.0, -1.0, 3.0]), np.asarray([1.0, 0.0, -1.0])
    windows = np.lib.stride_tricks.sliding_window_view(x, 3)
    figure, axes = new_axes(6.6, 2.0, (-0.3, 16.2), (0.2, 4.6))
    axes.set_aspect("equal")
    numbers(axes, 0, 2.5, x, BLUE)
    axes.text(2.5, 2.75, "signal $x$", ha="center", fontsize=9)
    arrow(axes, (5.4, 2), (7.0, 2), "windows")
    numbers(axes, 7.4, 3.5, windows, BLUE)
    axes.text(8.9, 3.75, "$X$, a window a row", ha="center", fontsize=9)
    axes.text(11.2, 2, r"$\times$", ha="center", va="center", fontsize=12)
    numbers(axes, 12, 3.5, w[:, None], ORANGE)
    axes.text(12.5, 3.75, "$w$", ha="center", fontsize=9)
    axes.text(13.9, 2, "=", ha="center", va="center", fontsize=12)
    numbers(axes, 14.8, 3.5, (windows @ w)[:, None], GREEN)
    axes.text(15.3, 3.75, "$y$", ha="center", fontsize=9)
    return figure


def recurrent() -> Any:
    """Draw a recurrent layer over three steps, forward and backward."""
    figure, axes = new_axes(7.6, 2.9, (-1.0, 13.6), (-0.3, 5.2))
    for t in (1, 2, 3):
        x = 4 * t - 2
        box(axes, (x, 2.5), f"step {t}\nW, U, b", BLUE, (1.9, 0.9))
        arrow(axes, (x - 0.3, 0.5), (x - 0.3, 1.98))
        arrow(axes, (x + 0.3, 1.98), (x + 0.3, 0.5), color="#b03a2e")
        axes.text(x, 0.1, f"$x_{t}$  $dx_{t}$", ha="center", fontsize=9)
        arrow(axes, (x - 0.3, 3.02), (x - 0.3, 4.4))
        arrow(axes, (x + 0.3, 4.4), (x + 0.3, 3.02), color="#b03a2e")
        axes.text(x, 4.6, f"$y_{t}$  $dy_{t}$", ha="center", fontsize=9)
    for t in (0, 1, 2, 3):
        left = 4 * t - 0.98
        arrow(axes, (left, 2.65), (left + 1.96, 2.65), f"$h_{t}$")
        arrow(axes, (left + 1.96, 2.35), (left, 2.35), color="#b03a2e")
        axes.text(left + 0.98, 2.2, f"$dh_{t}$", ha="center", va="top", fontsize=9, color="#b03a2e")
    return figure
