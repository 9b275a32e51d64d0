"""Progress of ``fit`` on stderr."""

import sys
import warnings
from contextlib import suppress
from typing import Any

from portanet.training.callbacks import Callback, Logs, Training


def progress_callbacks(wanted: bool, epochs: int, steps: int | None) -> list[Callback]:
    """Return the callbacks that report progress: a bar in a terminal or notebook if tqdm is installed, else lines."""
    if not wanted:
        return []
    if _is_terminal(sys.stderr) or _in_notebook():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # without ipywidgets, the bar of a notebook is one of text
                from tqdm.auto import tqdm
        except ImportError:
            pass
        else:
            return [_Bar(tqdm, epochs, steps)]
    return [_Lines(epochs)]


def _is_terminal(stream: Any) -> bool:
    """Whether a stream is a terminal; what replaces stderr may be closed, or have no such method."""
    try:
        return bool(stream.isatty())
    except (AttributeError, TypeError, OSError, ValueError):
        return False


def _in_notebook() -> bool:
    """Whether the process is that of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


def _describe(trainer: Training, epochs: int, logs: Logs) -> str:
    numbers = "  ".join(f"{name} {value:.4g}" for name, value in logs.items())
    return f"epoch {len(trainer.history.epochs)}/{epochs}  {numbers}"


class _Lines(Callback):
    on_all_ranks = False

    def __init__(self, epochs: int):
        self.epochs = epochs

    def on_epoch_end(self, trainer: Training, logs: Logs) -> None:
        # Training goes on without a console, and where it is closed, full, or cannot write a metric's name.
        with suppress(AttributeError, OSError, ValueError):
            if sys.stderr is not None:  # print would take stdout
                print(_describe(trainer, self.epochs, logs), file=sys.stderr, flush=True)


class _Bar(Callback):
    on_all_ranks = False

    def __init__(self, tqdm: Any, epochs: int, steps: int | None):
        self.tqdm, self.epochs, self.steps = tqdm, epochs, steps

    def on_train_begin(self, trainer: Training) -> None:
        done = len(trainer.history.epochs) * (self.steps or 0)  # where fit goes on from a checkpoint
        self.bar = self.tqdm(total=self.epochs * self.steps if self.steps else None, initial=done, unit="step")
        self.first = trainer.steps - done

    def on_train_batch_end(self, trainer: Training) -> None:
        self.bar.update(trainer.steps - self.first - self.bar.n)

    def on_epoch_end(self, trainer: Training, logs: Logs) -> None:
        if self.steps is not None:
            done = len(trainer.history.epochs) * self.steps
            self.bar.update(done - self.bar.n)  # with the steps of a resumed epoch that an earlier run has done
            self.first = trainer.steps - done
        self.bar.write(_describe(trainer, self.epochs, logs), file=sys.stderr)

    def on_train_end(self, trainer: Training) -> None:
        self.bar.close()
