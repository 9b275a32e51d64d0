"""Loss and metrics of a training run, epoch by epoch."""

import math
from collections.abc import Iterator
from typing import Any

from portanet.plots import training_curves


class History:
    """
    Loss and metrics of every epoch.

    Examples
    --------
    >>> history = History()
    >>> history.append({"loss": 0.7, "accuracy": 0.5})
    >>> history.append({"loss": 0.4, "accuracy": 0.8})
    >>> history["loss"]
    [0.7, 0.4]
    >>> history
    History(2 epochs: loss 0.4, accuracy 0.8)
    """

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []

    def append(self, logs: dict[str, float]) -> None:
        """Add an epoch."""
        self.epochs.append(logs)

    def __getitem__(self, name: str) -> list[float]:
        """Return the value of each epoch; NaN where an epoch lacks it."""
        if name not in self.names:
            raise KeyError(f"{name!r} is not recorded: there are {', '.join(self.names) or 'no epochs'}")
        return [logs.get(name, math.nan) for logs in self.epochs]

    @property
    def names(self) -> list[str]:
        """Names that any epoch has, in order."""
        return list(dict.fromkeys(name for logs in self.epochs for name in logs))

    def __len__(self) -> int:
        return len(self.epochs)

    def __iter__(self) -> Iterator[dict[str, float]]:
        return iter(self.epochs)

    def __repr__(self) -> str:
        last = ", ".join(f"{name} {value:.4g}" for name, value in (self.epochs[-1] if self.epochs else {}).items())
        return f"History({len(self)} epochs{': ' + last if last else ''})"

    def plot(self) -> Any:
        """
        Draw the curves with matplotlib, one picture a quantity, training and validation together.

        Returns
        -------
        matplotlib.figure.Figure
            ``figure.savefig("curves.png")`` keeps it.
        """
        return training_curves(self)
