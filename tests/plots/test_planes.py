from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from portanet import plots
from tests.plots.rendering import pixels


def test_points_are_coloured_by_class_and_class_names_are_at_the_median() -> None:
    points, labels = np.asarray([[0, 0], [0, 2], [0, 1], [5, 5]]), np.asarray([0, 0, 0, 1])
    figure = plots.scatter({"train": (points, labels), "test": (points + 1, labels)}, ("cat", "dog"), title="pets")
    train, test = figure.axes
    assert figure.get_suptitle() == "pets"
    assert (train.get_title(), test.get_title()) == ("train", "test")
    assert (train.get_xlabel(), train.get_ylabel()) == ("first coordinate", "second coordinate")
    assert {text.get_text(): text.get_position() for text in test.texts} == {"cat": (1, 2), "dog": (6, 6)}
    (cloud,) = train.collections
    np.testing.assert_array_equal(cloud.get_offsets(), points)
    pixels(figure)
    cats, dog = cloud.get_facecolors()[:3], cloud.get_facecolors()[3]
    assert (cats == cats[0]).all()
    assert (cats[0] != dog).any()


def test_default_class_names_are_the_indices() -> None:
    axes = plots.scatter({"": (np.eye(2), np.asarray([3, 12]))}).axes[0]
    assert [text.get_text() for text in axes.texts] == ["3", "12"]


def test_the_boundary_is_at_the_level_of_the_score() -> None:
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
    assert pixels(figure).std() > 0.05


UNFIT = [
    (np.ones((3, 2)), [0, 1], r"labels .*must have shape \(3,\), got \(2,\)"),
    (np.ones((2, 3)), [0, 1], r"points .*must have shape \(N, 2\), got \(2, 3\)"),
    (np.ones(2), [0, 1], r"points .*must have shape \(N, 2\), got \(2,\)"),
    (np.ones((0, 2)), [], r"points .*is empty, of shape \(0, 2\): give at least one number"),
    ([[0, np.nan]], [1], "points .*holds NaN, infinity or numbers above"),
    ([[0, np.inf]], [1], "points .*holds NaN, infinity or numbers above"),
    ([[1e308, -1e308]], [1], "points .*holds NaN, infinity or numbers above 1e.300: remove or scale these"),
    ([["a", "b"]], [1], "points .*has dtype <U1: give numbers instead of strings"),
    ([[0, 1], [2]], [1], "points .*has rows of unequal length"),
    (np.ma.array(np.eye(2), mask=np.eye(2) > 0), [0, 1], "points .*is a masked array with 2 masked values"),
    (3, [1], r"points .*must have shape \(N, 2\), got \(\)"),
    (np.ones((2, 2)), np.ones((2, 1)), r"labels .*must have shape \(2,\), got \(2, 1\)"),
    (np.ones((2, 2)), 1, r"labels .*must have shape \(2,\), got \(\)"),
    (np.ones((2, 2)), ["0", "1"], "labels .*has dtype <U1: give numbers instead of strings"),
    (np.ones((2, 2)), [0.0, 0.5], "labels .*must be integers, got dtype float64"),
    (np.ones((2, 2)), [0.0, np.nan], "labels .*holds NaN, infinity or numbers above"),
    (np.ones((2, 2)), [0, None], r"labels .*holds None at \[1\]"),
    (np.ones((2, 2)), np.ma.array([0, 1], mask=[True, False]), "labels .*is a masked array with 1 masked values"),
    (np.ones((2, 2)), None, "labels .*is None: give an array"),
    (np.ones((2, 2)), [0, 2], "labels .*must be from 0 to 1, as there are 2 classes, got 2"),
    (np.ones((2, 2)), [-1, 0], "labels .*must be from 0 to 1, as there are 2 classes, got -1"),
]


@pytest.mark.parametrize(("points", "labels", "message"), UNFIT)
def test_unfit_points_and_labels_are_refused(points: Any, labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        plots.scatter({"left": (points, labels)}, ("no", "yes"))
    assert "panels['left']" in str(raised.value)
    with pytest.raises(ValueError, match=message):
        plots.decision_boundary(lambda places: places[:, 0], points, labels)


@pytest.mark.parametrize(
    "panels", [{"left": (np.eye(2),)}, {"left": np.eye(2)}, {"left": "ab"}, {1: (np.eye(2), [0, 1])}]
)
def test_a_panel_is_a_name_and_a_pair(panels: Any) -> None:
    with pytest.raises(
        ValueError, match=r"panels.* must be a (tuple .points, labels.|mapping with strings as keys), got"
    ):
        plots.scatter(panels)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (lambda n: np.zeros(n - 1), r"must have shape \(40401,\) or \(40401, 1\), got \(40400,\)"),
        (lambda n: np.zeros((n, 2)), r"must have shape \(40401,\) or \(40401, 1\), got \(40401, 2\)"),
        (lambda n: np.full(n, np.nan), "holds NaN, infinity or numbers above"),
        (lambda n: ["a"] * n, "has dtype <U1: give numbers"),
        (lambda n: None, "is None: give an array"),
    ],
)
def test_unfit_scores_are_refused(scores: Callable[[int], Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"score\(points\) {message}"):
        plots.decision_boundary(lambda places: scores(len(places)), np.eye(2), [0, 1])


@pytest.mark.parametrize("value", [0.5, 0.5 + 1e-16, 3.0, -1.0])
@pytest.mark.parametrize("points", [np.eye(2), np.zeros((2, 2)), np.asarray([[True, False], [False, True]])])
def test_a_classifier_with_one_score_everywhere_has_no_boundary(value: float, points: Any) -> None:
    figure = plots.decision_boundary(lambda places: np.full((len(places), 1), value), points, [False, True])
    assert len(figure.axes[0].collections) == 3  # the filled contour and two classes
    assert pixels(figure).std() > 0.01


@pytest.mark.parametrize("draw", [plots.scatter, lambda panels: plots.curves([0], panels)])
def test_empty_panels_are_refused(draw: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="panels is empty: give for instance"):
        draw({})
