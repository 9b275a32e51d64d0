"""Grids of images."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from portanet.checks import check_count, check_text, check_texts
from portanet.plots.arguments import check_numbers
from portanet.plots.figures import new_figure
from portanet.typing import Array


def image_grid(
    images: Array, *, columns: int = 10, rows: Sequence[str] = (), captions: Sequence[str] = (), title: str = ""
) -> Any:
    """
    Draw grey images in rows: 0 is white, 1 is black, other values are clipped to [0, 1].

    Parameters
    ----------
    images : array of float, shape (N, H, W) or (N, H, W, 1)
        Images, row by row.
    columns : int
        Maximum number of images per row.
    rows : sequence of str, optional
        A label for each row.
    captions : sequence of str, optional
        A caption for each image, drawn above it.
    title : str
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the images have another shape or are not finite, or the number of labels or captions does not fit.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> before = np.linspace(0, 1, 3 * 64).reshape(3, 8, 8)
    >>> figure = image_grid(np.concat([before, 1 - before]), columns=3, rows=["before", "after"])
    >>> figure.savefig("images.png")
    """
    images = check_numbers("images", images, ("N", "H", "W"), ("N", "H", "W", 1))
    images, title = images.reshape(images.shape[:3]), check_text("title", title)
    n, height, width = images.shape
    columns = min(check_count("columns", columns), n)
    n_rows = -(-n // columns)
    rows, captions = check_texts("rows", rows), check_texts("captions", captions)
    for name, texts, wanted in (("rows", rows, n_rows), ("captions", captions, n)):
        if len(texts) not in (0, wanted):
            raise ValueError(f"{name} must be {wanted} texts for {n} images in rows of {columns}, got {len(texts)}")
    caption_height = height // 4 if captions else 0
    # Each cell has a caption above its image, and a white line below and right of it.
    cells = np.zeros((n_rows * columns, caption_height + height + 1, width + 1))
    cells[:n, caption_height:-1, :-1] = images
    _, cell_height, cell_width = cells.shape
    sheet = cells.reshape(n_rows, columns, cell_height, cell_width).swapaxes(1, 2).reshape(n_rows * cell_height, -1)
    inch = min(9 / columns, 1.2) / width
    figure = new_figure(inch * sheet.shape[1] + 0.1 * max(map(len, rows), default=0), inch * sheet.shape[0] + 0.4)
    axes = figure.subplots()
    axes.imshow(sheet, cmap="gray_r", vmin=0, vmax=1)
    axes.set_anchor("E")  # leaves the free space to the row labels
    for i, caption in enumerate(captions):
        row, column = divmod(i, columns)
        position = (column + 0.5) * cell_width - 1, row * cell_height + caption_height - 1
        axes.text(*position, caption, ha="center", va="bottom", fontsize=7)
    axes.set_xticks([])
    axes.set_yticks([(row + 0.5) * cell_height for row in range(len(rows))], rows)
    axes.tick_params(length=0, labelsize=8)
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize=10)
    return figure
