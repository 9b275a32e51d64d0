"""Curves, and the curves of a training history."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from portanet.plots.figures import new_figure, row_of_axes
from portanet.typing import Array

Scale: TypeAlias = Literal["", "x", "y", "xy"]
"""Axes with a logarithmic scale."""


def curves(
    x: Array, panels: Mapping[str, Mapping[str, Array]], *, xlabel: str = "", title: str = "", log: Scale = ""
) -> Any:
    """
    Draw curves in panels side by side.

    Parameters
    ----------
    x : array_like, shape (N,)
        Abscissa of all curves.
    panels : mapping of str to mapping of str to array_like, shape (N,)
        Vertical axis label of each panel, and its curves by name. A legend shows the names of two curves or more.
    xlabel, title : str
        Label of the horizontal axes; title of the figure.
    log : {"", "x", "y", "xy"}
        Axes with a logarithmic scale.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If ``panels`` is empty, or ``log`` is invalid.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> x = np.linspace(-3, 3)
    >>> figure = curves(x, {"height": {"sin": np.sin(x), "cos": np.cos(x)}}, xlabel="x")
    >>> figure.savefig("curves.png")
    """
    if not panels:
        raise ValueError("panels is empty: give at least one, such as {'loss': {'training': losses}}")
    if log not in get_args(Scale):
        raise ValueError(f"log must be '', 'x', 'y' or 'xy', got {log!r}")
    figure = new_figure(4.2 * len(panels), 3.2 + 0.3 * bool(title))
    figure.suptitle(title)
    for axes, (name, lines) in zip(row_of_axes(figure, len(panels)), panels.items(), strict=True):
        for label, y in lines.items():
            axes.plot(x, y, label=label, marker="." if len(y) < 30 else "")
        axes.set(xlabel=xlabel, ylabel=name, **{f"{axis}scale": "log" for axis in log})
        axes.grid(alpha=0.3)
        if len(lines) > 1:
            axes.legend()
    return figure


def training_curves(history: Mapping[str, Sequence[float]], *, title: str = "", held_out: str = "validation") -> Any:
    """
    Draw each quantity of a history over the epochs, training and validation in one panel.

    Parameters
    ----------
    history : History, or another mapping of names to a number for each epoch
        At least one epoch. A name with the prefix ``val_`` is drawn beside the name without it.
    title : str
        Title of the figure.
    held_out : str
        Legend label of the validation curves, "test" for a test set.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the history is empty.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> history = portanet.History()
    >>> history.append({"loss": 0.7, "val_loss": 0.8})
    >>> training_curves(history, title="first epoch").savefig("curves.png")
    """
    if not history:
        raise ValueError("history holds no epochs: call fit first")
    names = [name for name in history if not (name.startswith("val_") and name.removeprefix("val_") in history)]
    prefixes = {"training": "", held_out: "val_"}
    panels = {
        _axis_label(name): {
            label: history[prefix + name] for label, prefix in prefixes.items() if prefix + name in history
        }
        for name in names
    }
    n_epochs = len(history[names[0]])
    epochs = np.arange(1, n_epochs + 1)
    figure = curves(epochs, panels, xlabel="epoch", title=title)
    for axes in figure.axes:
        axes.set_xlim(0.5, n_epochs + 0.5)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    return figure


def _axis_label(name: str) -> str:
    return "learning rate" if name == "lr" else name.replace("_", " ")
