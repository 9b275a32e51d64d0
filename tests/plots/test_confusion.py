import sys
from typing import Any

import numpy as np
import pytest

from portanet import plots
from tests.plots.rendering import pixels

COUNTS = np.asarray([[8, 2, 0], [0, 9, 1], [0, 0, 0]])


def test_rows_are_true_classes_and_columns_predicted_ones() -> None:
    figure = plots.confusion_matrix(COUNTS, ("cat", "dog", "elephant"), title="pets")
    axes, _ = figure.axes
    assert (axes.get_title(), axes.get_xlabel(), axes.get_ylabel()) == ("pets", "predicted", "true")
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [label.get_text() for label in labels] == ["cat", "dog", "elephant"]
    found = {text.get_position(): text.get_text() for text in axes.texts}
    assert found == {(0, 0): "8", (1, 0): "2", (1, 1): "9", (2, 1): "1"}  # (column, row); zeros are left out
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.8, 0.2, 0.0], [0.0, 0.9, 0.1], [0.0, 0.0, 0.0]])
    assert pixels(figure).std() > 0.05


def test_counts_are_white_on_dark_cells() -> None:
    axes = plots.confusion_matrix(COUNTS).axes[0]
    assert {text.get_text(): text.get_color() for text in axes.texts} == {
        "8": "white",
        "9": "white",
        "2": "black",
        "1": "black",
    }
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("counts", "classes", "message"),
    [
        (COUNTS[:2], (), r"counts must have shape \(C, C\), got \(2, 3\)"),
        (3, (), r"counts must have shape \(C, C\), got \(\)"),
        (np.ones((0, 0)), (), r"counts is empty, of shape \(0, 0\)"),
        (COUNTS * np.nan, (), "counts holds NaN, infinity or numbers above"),
        (-COUNTS, (), "counts must be whole numbers from 0 to .*, got -8: give counts of examples"),
        (COUNTS * 1e200, (), "counts must be whole numbers from 0 to .*, got 8e.200: give counts of examples"),
        (COUNTS / 10, (), "counts must be whole numbers from 0 to .*, got 0.8: give counts of examples"),
        (np.ma.array(COUNTS, mask=COUNTS > 8), (), "counts is a masked array with 1 masked values"),
        ([["a"]], (), "counts has dtype <U1: give numbers"),
        ([[1, 2], [3]], (), "counts has rows of unequal length"),
        (COUNTS, ("cat", "dog"), r"classes must be 3 names for counts of shape \(3, 3\), got 2"),
        (COUNTS, (1, 2, 3), r"classes must be a sequence of strings, got \(1, 2, 3\)"),
        (COUNTS, {0: "cat", 1: "dog", 2: "cow"}, "classes must be a sequence of strings, got {0: 'cat'"),
        (COUNTS, 3, "classes must be a sequence of strings, got 3"),
    ],
)
def test_unfit_counts_and_names_are_refused(counts: Any, classes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plots.confusion_matrix(counts, classes)


def test_counts_of_a_file_may_be_floats() -> None:
    axes = plots.confusion_matrix(COUNTS.astype("float64")).axes[0]
    assert [text.get_text() for text in axes.texts] == ["8", "2", "9", "1"]


def test_error_without_matplotlib_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="plots need matplotlib: pip install matplotlib"):
        plots.confusion_matrix(COUNTS)
