"""Curves, and the curves of a training history."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from portanet.checks import check_choice, check_mapping, check_text
from portanet.plots.arguments import check_numbers
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
        Vertical axis label of each panel, and its curves by name. A legend shows the names of two curves or more. NaN
        and infinity leave gaps.
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
        If ``panels`` or one of them is empty, a curve has another length than ``x``, or ``log`` is invalid.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> x = np.linspace(-3, 3)
    >>> figure = curves(x, {"height": {"sin": np.sin(x), "cos": np.cos(x)}}, xlabel="x")
    >>> figure.savefig("curves.png")
    """
    x = check_numbers("x", x, ("N",))
    panels = {
        name: {
            label: check_numbers(f"panels[{name!r}][{label!r}]", y, (len(x),), finite=False)
            for label, y in check_mapping(f"panels[{name!r}]", lines, example="{'training': losses}").items()
        }
        for name, lines in check_mapping("panels", panels, example="{'loss': {'training': losses}}").items()
    }
    xlabel, title = check_text("xlabel", xlabel), check_text("title", title)
    check_choice("log", log, choices=get_args(Scale))
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


def training_curves(
    history: Mapping[str, Sequence[float]], *, title: str = "", validation_label: str = "validation"
) -> Any:
    """
    Draw each quantity of a history over the epochs, training and validation in one panel.

    Parameters
    ----------
    history : History, or another mapping of names to a number for each epoch
        At least one epoch. A name with the prefix ``val_`` is drawn beside the name without it.
    title : str
        Title of the figure.
    validation_label : str
        Legend label of the validation curves, "test" for a test set.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the history is empty, or one of its names has another number of epochs or no numbers.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> history = portanet.History()
    >>> history.append({"loss": 0.7, "val_loss": 0.8})
    >>> training_curves(history, title="first epoch").savefig("curves.png")
    """
    first = next(iter(check_mapping("history", history, example="the result of fit")))
    n_epochs = len(check_numbers(f"history[{first!r}]", history[first], ("N",), finite=False))
    values = {name: check_numbers(f"history[{name!r}]", history[name], (n_epochs,), finite=False) for name in history}
    if check_text("validation_label", validation_label) == "training":
        raise ValueError("validation_label must be another label than 'training', that of the other curves")
    names = [name for name in values if not (name.startswith("val_") and name.removeprefix("val_") in values)]
    prefixes = {"training": "", validation_label: "val_"}
    panels = {
        name: {label: values[prefix + name] for label, prefix in prefixes.items() if prefix + name in values}
        for name in names
    }
    figure = curves(np.arange(1, n_epochs + 1), panels, xlabel="epoch", title=title)
    for name, axes in zip(names, figure.axes, strict=True):
        axes.set_ylabel(_axis_label(name))
        axes.set_xlim(0.5, n_epochs + 0.5)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    return figure


def _axis_label(name: str) -> str:
    return "learning rate" if name == "lr" else name.replace("_", " ")
