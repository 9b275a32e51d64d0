"""Pictures of training, with matplotlib, which is imported only here and only when a picture is asked for."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from portanet.typing import Array

if TYPE_CHECKING:
    from portanet.history import History


def training_curves(history: "History", *, title: str = "", held_out: str = "validation") -> Any:
    """
    Draw every quantity of a history over the epochs, validation beside training.

    Parameters
    ----------
    history : History
        Of at least one epoch.
    title : str
        Above the picture.
    held_out : str
        What the validation data are called in the legend: "test" where it is a test set that is watched.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there is nothing to draw.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> history = portanet.History()
    >>> history.append({"loss": 0.7, "val_loss": 0.8})
    >>> training_curves(history, title="first epoch").savefig("curves.png")
    """
    if not len(history):
        raise ValueError("history holds no epochs: call fit first")
    names = [name for name in history.names if name.removeprefix("val_") == name or name[4:] not in history.names]
    figure = _figure(4.2 * len(names), 3.2 + 0.3 * bool(title))
    figure.suptitle(title)
    epochs = np.arange(1, len(history) + 1)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for label, curve in (("training", name), (held_out, f"val_{name}")):
            if curve in history.names:
                axes.plot(epochs, history[curve], label=label, marker="." if len(history) < 30 else "")
        axes.set(xlabel="epoch", ylabel=_quantity(name), xlim=(0.5, len(history) + 0.5))
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.grid(alpha=0.3)
        if len(axes.lines) > 1:
            axes.legend()
    return figure


def confusion_matrix(counts: Array, classes: Sequence[str] = (), *, title: str = "Confusion matrix") -> Any:
    """
    Draw a confusion matrix with its counts: rows are true classes, columns predicted ones.

    The colour grows with the square root of a count's share of its row, so that rare mistakes are seen beside the
    diagonal.

    Parameters
    ----------
    counts : array of int, shape (C, C)
        On the host.
    classes : sequence of str, optional
        C names; by default the indices.
    title : str
        Above the picture.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If ``counts`` is not square, or ``classes`` are not as many.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> confusion_matrix([[8, 2], [0, 9]], ("cat", "dog")).savefig("confusion.png")
    """
    counts = np.asarray(counts)
    n = len(counts)
    if counts.shape != (n, n):
        raise ValueError(f"counts must have shape (C, C), got {counts.shape}")
    names = list(classes) or [str(index) for index in range(n)]
    if len(names) != n:
        raise ValueError(f"classes must be {n} names for counts of shape {counts.shape}, got {len(names)}")
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = _figure(2.2 + 0.45 * n, 1.5 + 0.45 * n)
    from matplotlib.colors import PowerNorm

    axes = figure.subplots()
    picture = axes.imshow(share, cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=1))
    for row, column in np.argwhere(counts):
        color = "white" if picture.norm(share[row, column]) > 0.6 else "black"
        axes.text(column, row, f"{counts[row, column]}", ha="center", va="center", color=color, fontsize=8)
    slanted = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if max(map(len, names)) > 3 else {}
    axes.set_xticks(range(n), names, **slanted)
    axes.set_yticks(range(n), names)
    axes.set(title=title, xlabel="predicted", ylabel="true")
    figure.colorbar(picture, ax=axes, label="share of the true class", shrink=0.8)
    return figure


def _figure(width: float, height: float) -> Any:
    """Make an empty picture of a size in inches, without pyplot: it needs no display and stays in no list."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install matplotlib") from error
    return Figure(figsize=(width, height), layout="constrained")


def _quantity(name: str) -> str:
    if name == "loss":
        return "mean loss"
    return "learning rate" if name == "lr" else name.replace("_", " ")
