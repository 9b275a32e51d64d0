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


def test_curves_stand_in_panels_under_their_names():
    x = np.asarray([0.0, 1.0, 2.0])
    figure = plots.curves(
        x, {"height": {"sin": np.sin(x), "cos": np.cos(x)}, "slope": {"": x}}, xlabel="x", title="two"
    )
    height, slope = figure.axes
    assert figure.get_suptitle() == "two"
    assert (height.get_ylabel(), slope.get_ylabel()) == ("height", "slope")
    assert height.get_xlabel() == slope.get_xlabel() == "x"
    assert [text.get_text() for text in height.get_legend().get_texts()] == ["sin", "cos"]
    assert slope.get_legend() is None
    np.testing.assert_array_equal(height.lines[1].get_ydata(), np.cos(x))
    assert drawn(figure).std() > 0.05


@pytest.mark.parametrize("channels", [(), (1,)], ids=["no channel", "one channel"])
def test_images_lie_in_rows_with_white_between(channels):
    images = np.linspace(0.1, 1, 5)[:, np.newaxis, np.newaxis] * np.ones((2, 3))  # each of one grey
    figure = plots.image_grid(images.reshape(5, 2, 3, *channels), columns=3, rows=("first", "second"), title="greys")
    (axes,) = figure.axes
    sheet = axes.images[0].get_array()
    assert sheet.shape == (2 * 3, 3 * 4)
    np.testing.assert_allclose(sheet[::3, ::4], [[0.1, 0.325, 0.55], [0.775, 1, 0]])  # the last place is empty
    np.testing.assert_array_equal(sheet[2::3], 0)
    np.testing.assert_array_equal(sheet[:, 3::4], 0)
    assert axes.images[0].get_clim() == (0, 1)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["first", "second"]
    assert axes.get_title() == "greys"
    assert drawn(figure).std() > 0.05


@pytest.mark.parametrize("n_rows", [1, 9])
def test_long_names_of_rows_stand_in_the_picture(n_rows):
    figure = plots.image_grid(
        np.ones((10 * n_rows, 8, 8)), rows=["complex, BCE, trained with noise"] * n_rows, title="t"
    )
    drawn(figure)
    assert min(label.get_window_extent().x0 for label in figure.axes[0].get_yticklabels()) >= 0


def test_captions_stand_above_their_images():
    axes = plots.image_grid(np.ones((4, 8, 8)), columns=2, captions="abcd").axes[0]
    sheet = axes.images[0].get_array()
    assert sheet.shape == (2 * (2 + 8 + 1), 2 * 9)
    for text, (row, column) in zip(axes.texts, np.ndindex(2, 2), strict=True):
        x, y = text.get_position()
        assert text.get_text() == "abcd"[2 * row + column]
        assert 9 * column <= x < 9 * column + 8
        assert 11 * row <= y < 11 * row + 2
        assert sheet[11 * row + 1, 9 * column] == 0 < sheet[11 * row + 2, 9 * column]


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((8, 8), {}, r"images must have shape \(N, H, W\) or \(N, H, W, 1\), got \(8, 8\)"),
        ((2, 8, 8, 3), {}, r"got \(2, 8, 8, 3\)"),
        ((0, 8, 8), {}, r"got \(0, 8, 8\)"),
        ((4, 8, 8), {"columns": 0}, "columns must be a whole number of at least 1, got 0"),
        ((4, 8, 8), {"columns": 2, "rows": ["a"]}, "rows must be 2 texts for 4 images in rows of 2, got 1"),
        ((4, 8, 8), {"captions": ["a"]}, "captions must be 4 texts for 4 images in rows of 10, got 1"),
    ],
)
def test_images_that_do_not_fit(shape, options, message):
    with pytest.raises(ValueError, match=message):
        plots.image_grid(np.ones(shape), **options)


def test_points_have_the_colours_of_their_classes_and_names_amid_them():
    points, labels = np.asarray([[0, 0], [0, 2], [0, 1], [5, 5]]), np.asarray([0, 0, 0, 1])
    figure = plots.scatter({"train": (points, labels), "test": (points + 1, labels)}, ("cat", "dog"), title="pets")
    train, test = figure.axes
    assert figure.get_suptitle() == "pets"
    assert (train.get_title(), test.get_title()) == ("train", "test")
    assert (train.get_xlabel(), train.get_ylabel()) == ("first coordinate", "second coordinate")
    assert {text.get_text(): text.get_position() for text in test.texts} == {"cat": (1, 2), "dog": (6, 6)}
    (cloud,) = train.collections
    np.testing.assert_array_equal(cloud.get_offsets(), points)
    drawn(figure)
    cats, dog = cloud.get_facecolors()[:3], cloud.get_facecolors()[3]
    assert (cats == cats[0]).all()
    assert (cats[0] != dog).any()


def test_classes_without_names_are_their_indices():
    axes = plots.scatter({"": (np.eye(2), np.asarray([3, 12]))}).axes[0]
    assert [text.get_text() for text in axes.texts] == ["3", "12"]


def test_the_boundary_is_where_the_score_is_at_the_level():
    points, labels = np.asarray([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), np.asarray([0, 0, 1, 1])
    figure = plots.decision_boundary(lambda places: 2 * places[:, 0], points, labels, level=0.5, title="a line")
    axes, bar = figure.axes
    assert (axes.get_title(), axes.get_xlabel(), axes.get_ylabel()) == ("a line", "$x_1$", "$x_2$")
    assert bar.get_ylabel() == "output"
    _, line, *classes = axes.collections
    (path,) = line.get_paths()
    np.testing.assert_allclose(path.vertices[:, 0], 0.25)
    np.testing.assert_allclose(np.sort(path.vertices[:, 1])[[0, -1]], [-0.1, 1.1])
    assert [cloud.get_label() for cloud in classes] == ["0", "1"]
    np.testing.assert_array_equal(classes[1].get_offsets(), points[2:])
    assert drawn(figure).std() > 0.05


@pytest.mark.parametrize(
    ("points", "labels"), [(np.ones((3, 2)), [0, 1]), (np.ones((2, 3)), [0, 1]), (np.ones((2, 2)), np.ones((2, 1)))]
)
def test_points_that_do_not_fit(points, labels):
    with pytest.raises(ValueError, match=r"points must have shape \(N, 2\) and labels \(N,\), got"):
        plots.scatter({"": (points, labels)})
    with pytest.raises(ValueError, match=r"points must have shape \(N, 2\) and labels \(N,\), got"):
        plots.decision_boundary(lambda places: places[:, 0], points, labels)


@pytest.mark.parametrize("draw", [plots.scatter, lambda panels: plots.curves([0], panels)])
def test_no_panels(draw):
    with pytest.raises(ValueError, match="panels is empty: give at least one"):
        draw({})


def test_missing_matplotlib_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="pictures need matplotlib: pip install matplotlib"):
        plots.confusion_matrix(COUNTS)
