"""Loss and metrics of a training run, epoch by epoch."""

import math
from collections.abc import Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from portanet.checks import check_mapping
from portanet.names import unknown_attribute
from portanet.plots import training_curves

MAX_ROWS = 10
"""Epochs that a notebook shows."""


class History(Mapping[str, list[float]]):
    """
    Loss and metrics of every epoch: a mapping of names to lists of numbers.

    Attributes
    ----------
    epochs : list of dict
        The same numbers, epoch by epoch.

    Examples
    --------
    >>> history = History()
    >>> history.append({"loss": 0.7, "accuracy": 0.5})
    >>> history.append({"loss": 0.4, "accuracy": 0.8})
    >>> history["loss"]
    [0.7, 0.4]
    >>> dict(history)
    {'loss': [0.7, 0.4], 'accuracy': [0.5, 0.8]}
    >>> history
    History(2 epochs: loss 0.4, accuracy 0.8)
    """

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []

    def append(self, logs: dict[str, float]) -> None:
        """Add an epoch."""
        check_mapping("logs", logs, example="{'loss': 0.7}")
        self.epochs.append(logs)  # no copy: callbacks add entries

    def __getitem__(self, name: str) -> list[float]:
        """Return the value of each epoch; NaN where an epoch lacks it."""
        if name not in list(self):
            raise KeyError(f"{name!r} is not recorded: there are {', '.join(self) or 'no epochs'}")
        return [logs.get(name, math.nan) for logs in self.epochs]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names that any epoch has, in order."""
        return iter(dict.fromkeys(name for logs in self.epochs for name in logs))

    def __len__(self) -> int:
        """Return the number of names; that of epochs is ``len(history.epochs)``."""
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        last = ", ".join(f"{name} {value:.4g}" for name, value in (self.epochs[-1] if self.epochs else {}).items())
        return f"History({len(self.epochs)} epochs{': ' + last if last else ''})"

    def _repr_html_(self) -> str:
        """Return a table of the last epochs, for notebooks."""
        names, first = list(self), max(0, len(self.epochs) - MAX_ROWS)
        head = "".join(f"<th>{escape(name)}</th>" for name in ("epoch", *names))
        rows = [
            f"<td>{i}</td>" + "".join(f"<td>{logs.get(name, math.nan):.4g}</td>" for name in names)
            for i, logs in enumerate(self.epochs[first:], first + 1)
        ]
        return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"

    def plot(self) -> Any:
        """
        Draw the curves with matplotlib, one picture a quantity, training and validation together.

        Returns
        -------
        matplotlib.figure.Figure
            A notebook shows it; ``figure.savefig("curves.png")`` keeps it.
        """
        return training_curves(self)

    if not TYPE_CHECKING:  # a type checker would take every name for an attribute
        __getattr__ = unknown_attribute
