"""Empty figures."""

from typing import Any


def new_figure(width: float, height: float) -> Any:
    """Return an empty figure, size in inches. It needs neither pyplot nor a display."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install matplotlib") from error
    return Figure(figsize=(width, height), layout="constrained")


def row_of_axes(figure: Any, n_panels: int) -> Any:
    """Return the axes of panels side by side."""
    return figure.subplots(1, n_panels, squeeze=False)[0]
