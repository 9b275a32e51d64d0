"""Empty figures, which notebooks show."""

from functools import cache
from io import BytesIO
from typing import Any


def new_figure(width: float, height: float) -> Any:
    """Return an empty figure, size in inches. It needs neither pyplot nor a display, and a notebook shows it."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install matplotlib") from error
    return _shown_by_notebooks(Figure)(figsize=(width, height), layout="constrained")


@cache
def _shown_by_notebooks(figure: type) -> type:
    """Return a class of figures that are pictures in a notebook; matplotlib's are only after ``%matplotlib``."""

    def to_png(self: Any) -> bytes:
        content = BytesIO()
        self.savefig(content, format="png", dpi=100)
        return content.getvalue()

    return type("Figure", (figure,), {"_repr_png_": to_png})


def row_of_axes(figure: Any, n_panels: int) -> Any:
    """Return the axes of panels side by side."""
    return figure.subplots(1, n_panels, squeeze=False)[0]
