"""Pictures: what is written on them, and that something is drawn."""

import sys
from io import BytesIO

import numpy as np
import pytest

from portanet import History, plots

image = pytest.importorskip("matplotlib.image", reason="the pictures are matplotlib's")
COUNTS = np.asarray([[8, 2, 0], [0, 9, 1], [0, 0, 0]])


def history(*rows):
    made = History()
    for row in rows:
        made.append(row)
    return made


def drawn(figure):
    """Render a figure, and return its pixels."""
    png = BytesIO()
    figure.savefig(png, format="png")
    png.seek(0)
    return image.imread(png)[..., :3]


def test_curves_hold_the_history():
    figure = plots.training_curves(
        history(
            {"loss": 0.9, "accuracy": 0.5, "val_loss": 1.0, "lr": 0.1},
            {"loss": 0.4, "accuracy": 0.8, "val_loss": 0.6, "lr": 0.05},
        ),
        title="a net",
        held_out="test",
    )
    loss, accuracy, lr = figure.axes
    assert figure.get_suptitle() == "a net"
    assert [axes.get_ylabel() for axes in figure.axes] == ["mean loss", "accuracy", "learning rate"]
    assert {axes.get_xlabel() for axes in figure.axes} == {"epoch"}
    assert [line.get_ydata().tolist() for line in loss.lines] == [[0.9, 0.4], [1.0, 0.6]]
    assert [line.get_xdata().tolist() for line in loss.lines] == [[1, 2], [1, 2]]
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["training", "test"]
    assert accuracy.get_legend() is lr.get_legend() is None
    assert drawn(figure).std() > 0.05


def test_what_is_measured_in_validation_only_is_drawn_too():
    (_, only) = plots.training_curves(history({"loss": 1.0, "val_accuracy": 0.5})).axes
    assert only.get_ylabel() == "val accuracy"
    assert len(only.lines) == 1


@pytest.mark.parametrize("epochs", [1, 2, 40])
def test_epochs_are_whole_numbers_from_one(epochs):
    figure = plots.training_curves(history(*({"loss": 1 / (i + 1)} for i in range(epochs))))
    drawn(figure)
    (axes,) = figure.axes
    low, high = axes.get_xlim()
    ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
    assert ticks
    assert all(tick == int(tick) and 1 <= tick <= epochs for tick in ticks)


def test_the_history_draws_itself():
    assert [axes.get_ylabel() for axes in history({"loss": 1.0}).plot().axes] == ["mean loss"]


def test_nothing_to_draw():
    with pytest.raises(ValueError, match="history holds no epochs: call fit first"):
        plots.training_curves(History())


def test_confusion_matrix_shows_counts_where_they_belong():
    figure = plots.confusion_matrix(COUNTS, ("cat", "dog", "elephant"), title="pets")
    axes, _ = figure.axes
    assert (axes.get_title(), axes.get_xlabel(), axes.get_ylabel()) == ("pets", "predicted", "true")
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [label.get_text() for label in labels] == ["cat", "dog", "elephant"]
    found = {text.get_position(): text.get_text() for text in axes.texts}
    assert found == {(0, 0): "8", (1, 0): "2", (1, 1): "9", (2, 1): "1"}  # (column, row); zeros are left out
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.8, 0.2, 0], [0, 0.9, 0.1], [0, 0, 0]])
    assert drawn(figure).std() > 0.05


def test_confusion_matrix_is_dark_under_white_numbers_only():
    axes = plots.confusion_matrix(COUNTS).axes[0]
    assert {text.get_text(): text.get_color() for text in axes.texts} == {
        "8": "white",
        "9": "white",
        "2": "black",
        "1": "black",
    }
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1", "2"]


def test_confusion_matrix_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"counts must have shape \(C, C\), got \(2, 3\)"):
        plots.confusion_matrix(COUNTS[:2])
    with pytest.raises(ValueError, match=r"classes must be 3 names for counts of shape \(3, 3\), got 2"):
        plots.confusion_matrix(COUNTS, ("cat", "dog"))


def test_missing_matplotlib_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="pictures need matplotlib: pip install matplotlib"):
        plots.confusion_matrix(COUNTS)
