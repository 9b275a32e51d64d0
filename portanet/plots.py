"""Pictures of training, with matplotlib, which is imported only here and only when a picture is asked for."""

from typing import TYPE_CHECKING, Any

import numpy as np

from portanet.typing import Array

if TYPE_CHECKING:
    from portanet.history import History


def training_curves(history: "History") -> Any:
    """
    Draw every quantity of a history over the epochs, validation beside training.

    Parameters
    ----------
    history : History
        Of at least one epoch.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    if not len(history):
        raise ValueError("history holds no epochs: call fit first")
    names = [name for name in history.names if name.removeprefix("val_") == name or name[4:] not in history.names]
    figure = Figure(figsize=(4.2 * len(names), 3.2), layout="constrained")
    epochs = np.arange(1, len(history) + 1)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for label, curve in (("training", name), ("validation", f"val_{name}")):
            if curve in history.names:
                axes.plot(epochs, history[curve], label=label, marker="." if len(history) < 30 else "")
        axes.set(title=name.replace("_", " "), xlabel="epoch", ylabel=_unit(name))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        if len(axes.lines) > 1:
            axes.legend()
    return figure


def confusion_matrix(counts: Array, classes: tuple[str, ...] | None = None, *, title: str = "Confusion matrix") -> Any:
    """
    Draw a confusion matrix with its counts: rows are true classes, columns predicted ones.

    Parameters
    ----------
    counts : array of int, shape (C, C)
        On the host.
    classes : tuple of str, optional
        Names; by default the indices.
    title : str
        Above the picture.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    counts = np.asarray(counts)
    names = classes or tuple(map(str, range(len(counts))))
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(2 + 0.45 * len(counts), 1.6 + 0.45 * len(counts)), layout="constrained")
    axes = figure.subplots()
    picture = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        color = "white" if share[row, column] > 0.5 else "black" if count else "lightgrey"
        axes.text(column, row, f"{count}", ha="center", va="center", color=color, fontsize=8)
    ticks = np.arange(len(counts))
    axes.set_xticks(ticks, names, rotation=0 if max(map(len, names)) < 3 else 45, ha="center")
    axes.set_yticks(ticks, names)
    axes.set(title=title, xlabel="predicted", ylabel="true")
    figure.colorbar(picture, ax=axes, label="share of the true class", shrink=0.8)
    return figure


def _unit(name: str) -> str:
    if name == "loss":
        return "mean loss"
    return "learning rate" if name == "lr" else "share"
