"""The pictures of a report, as PNG files."""

import warnings
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np

from portanet.plots import confusion_matrix, training_curves
from portanet.plots.figures import new_figure
from portanet.table.wording import shorten

MAX_LABEL = 20
"""Most characters of a name in a picture."""

DPI = 120


def curves(history: Mapping[str, Sequence[float]]) -> bytes:
    """Draw the loss over the epochs."""
    return _png(training_curves(history))


def confusion(counts: np.ndarray, classes: Sequence[str]) -> bytes:
    """Draw a confusion matrix."""
    return _png(confusion_matrix(counts, [*map(_label, classes)]))


def residuals(y_true: np.ndarray, y_pred: np.ndarray, name: str) -> bytes:
    """Draw the residuals ``y_true - y_pred`` over the predictions."""
    figure = new_figure(5.2, 4.2)
    axes = figure.subplots()
    axes.axhline(0, color="black", lw=0.8)
    axes.scatter(y_pred, y_true - y_pred, s=12, alpha=0.5, lw=0)
    axes.set(title="Residuals", xlabel=f"predicted {_label(name)}", ylabel="true - predicted")
    axes.grid(alpha=0.3)
    return _png(figure)


def _label(name: str) -> str:
    """Shorten a name from the data; a dollar sign would begin a formula."""
    return shorten(name, MAX_LABEL).replace("$", r"\$")


def _png(figure: Any) -> bytes:
    png = BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # of a script that the font lacks
        figure.savefig(png, format="png", dpi=DPI, metadata={"Software": None})
    return png.getvalue()
