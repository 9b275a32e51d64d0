from typing import Any

import numpy as np
import pytest

from portanet import plots
from tests.plots.rendering import pixels


@pytest.mark.parametrize("channels", [(), (1,)], ids=["no channel", "one channel"])
def test_images_are_laid_out_row_by_row_with_white_lines_between(channels: tuple[int, ...]) -> None:
    images = np.linspace(0.1, 1, 5)[:, np.newaxis, np.newaxis] * np.ones((2, 3))  # each of one grey
    figure = plots.image_grid(images.reshape(5, 2, 3, *channels), columns=3, rows=("first", "second"), title="greys")
    (axes,) = figure.axes
    sheet = axes.images[0].get_array()
    assert sheet.shape == (2 * 3, 3 * 4)
    np.testing.assert_allclose(sheet[::3, ::4], [[0.1, 0.325, 0.55], [0.775, 1, 0]])  # the last cell is empty
    np.testing.assert_array_equal(sheet[2::3], 0)
    np.testing.assert_array_equal(sheet[:, 3::4], 0)
    assert axes.images[0].get_clim() == (0, 1)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["first", "second"]
    assert axes.get_title() == "greys"
    assert pixels(figure).std() > 0.05


@pytest.mark.parametrize("n_rows", [1, 9])
def test_long_row_labels_are_inside_the_figure(n_rows: int) -> None:
    figure = plots.image_grid(
        np.ones((10 * n_rows, 8, 8)), rows=["complex, BCE, trained with noise"] * n_rows, title="t"
    )
    pixels(figure)
    assert min(label.get_window_extent().x0 for label in figure.axes[0].get_yticklabels()) >= 0


def test_captions_are_above_their_images() -> None:
    axes = plots.image_grid(np.ones((4, 8, 8)), columns=2, captions="abcd").axes[0]
    sheet = axes.images[0].get_array()
    assert sheet.shape == (2 * (2 + 8 + 1), 2 * 9)
    for text, (row, column) in zip(axes.texts, np.ndindex(2, 2), strict=True):
        x, y = text.get_position()
        assert text.get_text() == "abcd"[2 * row + column]
        assert 9 * column <= x < 9 * column + 8
        assert 11 * row <= y < 11 * row + 2
        assert sheet[11 * row + 1, 9 * column] == 0 < sheet[11 * row + 2, 9 * column]


def test_columns_without_images_are_left_out() -> None:
    axes = plots.image_grid(np.ones((2, 8, 8)), columns=10**12).axes[0]
    assert axes.images[0].get_array().shape == (9, 2 * 9)


FOUR = np.ones((4, 8, 8))
MASKED = np.ma.array(FOUR, mask=FOUR > 0)


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (FOUR[0], {}, r"images must have shape \(N, H, W\) or \(N, H, W, 1\), got \(8, 8\)"),
        (np.ones((2, 8, 8, 3)), {}, r"images must have shape .*, got \(2, 8, 8, 3\)"),
        (1.0, {}, r"images must have shape .*, got \(\)"),
        (FOUR[:0], {}, r"images is empty, of shape \(0, 8, 8\)"),
        (FOUR[:, :0], {}, r"images is empty, of shape \(4, 0, 8\)"),
        (FOUR * np.nan, {}, "images holds NaN, infinity or numbers above"),
        (MASKED, {}, "images is a masked array with 256 masked values"),
        (list(MASKED), {}, "images is a list with 256 masked values"),
        (FOUR.astype(str), {}, "images has dtype <U32: give numbers instead of strings"),
        ("pixels", {}, "images is a str: give an array"),
        (FOUR, {"columns": 0}, "columns must be a whole number of at least 1, got 0"),
        (FOUR, {"columns": 2, "rows": ["a"]}, "rows must be 2 texts for 4 images in rows of 2, got 1"),
        (FOUR, {"rows": [1]}, r"rows must be a sequence of strings, got \[1\]"),
        (FOUR, {"rows": {"a"}}, "rows must be a sequence of strings, got {'a'}"),
        (FOUR, {"rows": None}, "rows must be a sequence of strings, got None"),
        (FOUR, {"captions": ["a"]}, "captions must be 4 texts for 4 images in rows of 4, got 1"),
        (FOUR, {"captions": range(4)}, r"captions must be a sequence of strings, got range\(0, 4\)"),
        (FOUR, {"title": 3}, "title must be a string, got 3"),
    ],
)
def test_unfit_images_and_labels_are_refused(images: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plots.image_grid(images, **options)
