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


@pytest.mark.parametrize(
    ("points", "labels"), [(np.ones((3, 2)), [0, 1]), (np.ones((2, 3)), [0, 1]), (np.ones((2, 2)), np.ones((2, 1)))]
)
def test_unfit_points_are_refused(points: Any, labels: Any) -> None:
    with pytest.raises(ValueError, match=r"points must have shape \(N, 2\) and labels \(N,\), got"):
        plots.scatter({"": (points, labels)})
    with pytest.raises(ValueError, match=r"points must have shape \(N, 2\) and labels \(N,\), got"):
        plots.decision_boundary(lambda places: places[:, 0], points, labels)


@pytest.mark.parametrize("draw", [plots.scatter, lambda panels: plots.curves([0], panels)])
def test_empty_panels_are_refused(draw: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="panels is empty: give at least one"):
        draw({})
