"""What a training run went through, epoch by epoch."""

from collections.abc import Iterator
from typing import Any


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

    def append(self, row: dict[str, float]) -> None:
        """Add an epoch."""
        self.epochs.append(row)

    def __getitem__(self, name: str) -> list[float]:
        """Return the values of one name, an epoch each."""
        if name not in self.names:
            raise KeyError(f"{name!r} was not recorded: there are {', '.join(self.names) or 'no epochs'}")
        return [row[name] for row in self.epochs]

    @property
    def names(self) -> list[str]:
        """What was recorded."""
        return list(self.epochs[-1]) if self.epochs else []

    def __len__(self) -> int:
        return len(self.epochs)

    def __iter__(self) -> Iterator[dict[str, float]]:
        return iter(self.epochs)

    def __repr__(self) -> str:
        last = ", ".join(f"{name} {self.epochs[-1][name]:.4g}" for name in self.names)
        return f"History({len(self)} epochs{': ' + last if last else ''})"

    def plot(self) -> Any:
        """
        Draw the curves with matplotlib, one picture a quantity, training and validation together.

        Returns
        -------
        matplotlib.figure.Figure
            ``figure.savefig("curves.png")`` keeps it.
        """
        from portanet.plots import training_curves

        return training_curves(self)
