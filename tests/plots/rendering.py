"""Rendering of figures; tests that import it are skipped without matplotlib."""

from io import BytesIO
from typing import Any

import pytest

image = pytest.importorskip("matplotlib.image", reason="plots need matplotlib")


def pixels(figure: Any) -> Any:
    """Render a figure, and return its pixels."""
    png = BytesIO()
    figure.savefig(png, format="png")
    png.seek(0)
    return image.imread(png)[..., :3]
