"""Confusion matrices."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from portanet.checks import check_text, check_texts
from portanet.plots.arguments import check_numbers
from portanet.plots.figures import new_figure
from portanet.typing import Array


def confusion_matrix(counts: Array, classes: Sequence[str] = (), *, title: str = "Confusion matrix") -> Any:
    """
    Draw a confusion matrix with its counts: rows are true classes, columns predicted classes.

    The colour shows the square root of each count's share of its row, which makes rare mistakes visible.

    Parameters
    ----------
    counts : array of int, shape (C, C)
        Result of :func:`portanet.confusion_matrix`.
    classes : sequence of str, optional
        C names; by default the class indices.
    title : str
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If ``counts`` is not square or holds no counts, or ``classes`` does not have C names.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> confusion_matrix([[8, 2], [0, 9]], ("cat", "dog")).savefig("confusion.png")
    """
    counts, names, title = _check_counts("counts", counts), check_texts("classes", classes), check_text("title", title)
    n = len(counts)
    names = names or tuple(map(str, range(n)))
    if len(names) != n:
        raise ValueError(f"classes must be {n} names for counts of shape {counts.shape}, got {len(names)}")
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = new_figure(2.2 + 0.45 * n, 1.5 + 0.45 * n)
    from matplotlib.colors import PowerNorm

    axes = figure.subplots()
    image = axes.imshow(share, cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=1))
    for row, column in np.argwhere(counts):
        color = "white" if image.norm(share[row, column]) > 0.6 else "black"
        axes.text(column, row, f"{counts[row, column]}", ha="center", va="center", color=color, fontsize=8)
    slanted = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if max(map(len, names)) > 3 else {}
    axes.set_xticks(range(n), names, **slanted)
    axes.set_yticks(range(n), names)
    axes.set(title=title, xlabel="predicted", ylabel="true")
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    return figure


def _check_counts(name: str, values: Array) -> np.ndarray:
    counts = check_numbers(name, values, ("C", "C"))
    if (wrong := counts[(counts < 0) | (counts > 2**53) | (counts % 1 != 0)]).size:
        raise ValueError(f"{name} must be whole numbers from 0 to 2**53, got {wrong[0]}: give counts of examples")
    return counts.astype(np.int64)
