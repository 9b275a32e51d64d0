"""Empty figures, which notebooks show."""

from functools import partial
from io import BytesIO
from typing import Any


def new_figure(width: float, height: float) -> Any:
    """Return an empty figure, size in inches. It needs neither pyplot nor a display, and a notebook shows it."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install matplotlib") from error
    figure: Any = Figure(figsize=(width, height), layout="constrained")
    figure._repr_png_ = partial(_to_png, figure)  # else a notebook shows it only after ``%matplotlib``
    return figure


def _to_png(figure: Any) -> bytes:
    content = BytesIO()
    figure.savefig(content, format="png", dpi=100)
    return content.getvalue()


def row_of_axes(figure: Any, n_panels: int) -> Any:
    """Return the axes of panels side by side."""
    return figure.subplots(1, n_panels, squeeze=False)[0]
