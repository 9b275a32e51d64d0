"""Empty figures, which notebooks show."""

from functools import cache
from io import BytesIO
from typing import Any


def new_figure(width: float, height: float) -> Any:
    """Return an empty figure, size in inches. It needs neither pyplot nor a display, and a notebook shows it."""
    return _figure_class()(figsize=(width, height), layout="constrained")


@cache
def _figure_class() -> type:
    """Return the class of figures; matplotlib is imported with the first one."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install matplotlib") from error

    class ShownFigure(Figure):
        """A figure that is a picture in a notebook, where those of matplotlib are one only after ``%matplotlib``."""

        def _repr_png_(self) -> bytes:
            content = BytesIO()
            self.savefig(content, format="png", dpi=100)
            return content.getvalue()

    return ShownFigure


def row_of_axes(figure: Any, n_panels: int) -> Any:
    """Return the axes of panels side by side."""
    return figure.subplots(1, n_panels, squeeze=False)[0]
