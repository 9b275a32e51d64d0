"""Progress of ``fit`` on stderr."""

import sys
from contextlib import suppress
from typing import Any

from portanet.training.callbacks import Callback, Logs, Training


def progress_callbacks(wanted: bool, epochs: int, steps: int) -> list[Callback]:
    """Return the callbacks that report progress: a bar on a terminal where tqdm is installed, else lines."""
    if not wanted:
        return []
    if _is_terminal(sys.stderr):
        try:
            from tqdm import tqdm
        except ImportError:
            pass
        else:
            return [_Bar(tqdm(total=epochs * steps, unit="step"), epochs)]
    return [_Lines(epochs)]


def _is_terminal(stream: Any) -> bool:
    """Whether a stream is a terminal; what replaces stderr may be closed, or have no such method."""
    try:
        return bool(stream.isatty())
    except (AttributeError, TypeError, OSError, ValueError):
        return False


def _describe(trainer: Training, epochs: int, logs: Logs) -> str:
    numbers = "  ".join(f"{name} {value:.4g}" for name, value in logs.items())
    return f"epoch {len(trainer.history.epochs)}/{epochs}  {numbers}"


class _Lines(Callback):
    def __init__(self, epochs: int):
        self.epochs = epochs

    def on_epoch_end(self, trainer: Training, logs: Logs) -> None:
        # Training goes on without a console, and where it is closed, full, or cannot write a metric's name.
        with suppress(AttributeError, OSError, ValueError):
            if sys.stderr is not None:  # print would take stdout
                print(_describe(trainer, self.epochs, logs), file=sys.stderr, flush=True)


class _Bar(Callback):
    def __init__(self, bar: Any, epochs: int):
        self.bar, self.epochs = bar, epochs

    def on_train_begin(self, trainer: Training) -> None:
        self.first = trainer.steps

    def on_train_batch_end(self, trainer: Training) -> None:
        self.bar.update(trainer.steps - self.first - self.bar.n)

    def on_epoch_end(self, trainer: Training, logs: Logs) -> None:
        self.bar.write(_describe(trainer, self.epochs, logs), file=sys.stderr)

    def on_train_end(self, trainer: Training) -> None:
        self.bar.close()
