"""Points in the plane: scatter plots and decision boundaries."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from portanet.checks import check_callable, check_mapping, check_number, check_text, check_texts, shown
from portanet.plots.arguments import MAX_NUMBER, check_labels, check_numbers, check_points
from portanet.plots.figures import new_figure, row_of_axes
from portanet.typing import Array


def scatter(panels: Mapping[str, tuple[Array, Array]], classes: Sequence[str] = (), *, title: str = "") -> Any:
    """
    Draw points coloured by class, with the name of each class at the median of its points.

    Parameters
    ----------
    panels : mapping of str to tuple (points, labels)
        Title, points (N, 2) and class indices (N,) of each panel.
    classes : sequence of str, optional
        Class names; by default the class indices.
    title : str
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If ``panels`` is empty, a shape does not fit, points are not finite, or a class has no name.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> corners = np.asarray([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> figure = scatter({"exclusive or": (corners, np.asarray([0, 1, 1, 0]))}, ("no", "yes"))
    >>> figure.savefig("scatter.png")
    """
    names, title = check_texts("classes", classes), check_text("title", title)
    example = "{'test set': (points, labels)}"
    data = {
        name: _points_and_labels(f"panels[{name!r}]", pair, n_classes=len(names) or None)
        for name, pair in check_mapping("panels", panels, example=example).items()
    }
    figure = new_figure(4.8 * len(data), 4.5 + 0.3 * bool(title))
    figure.suptitle(title)
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=3, foreground="white")]
    for axes, (name, (points, labels)) in zip(row_of_axes(figure, len(data)), data.items(), strict=True):
        axes.scatter(*points.T, c=labels % 10, cmap="tab10", vmin=-0.5, vmax=9.5, s=400 / len(points) ** 0.5, lw=0)
        for label in np.unique(labels):
            text = names[label] if names else str(label)
            median = np.median(points[labels == label], axis=0)
            axes.text(*median, text, ha="center", va="center", weight="bold", path_effects=halo)
        axes.set(title=name, xlabel="first coordinate", ylabel="second coordinate")
    return figure


def decision_boundary(
    score: Callable[[Array], Array], points: Array, labels: Array, *, level: float = 0.5, title: str = ""
) -> Any:
    """
    Draw points of two classes, the score of a classifier around them, and its decision boundary.

    Parameters
    ----------
    score : callable
        ``score(points)`` takes a NumPy array of shape (M, 2) and returns M scores, shape (M,) or (M, 1).
    points : array, shape (N, 2)
        Examples.
    labels : array of int, shape (N,)
        Class of each point: 1 where the score should be above ``level``, else 0.
    level : float
        Score of the decision boundary.
    title : str
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If a shape does not fit, points or scores are not finite, or a label is not 0 or 1.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> points = np.asarray([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> figure = decision_boundary(lambda points: points[:, 0], points, np.asarray([0, 0, 1, 1]))
    >>> figure.savefig("boundary.png")
    """
    check_callable("score", score, example="lambda points: net.predict(points)[:, 0]")
    points = check_points("points", points)
    labels = check_labels("labels", labels, len(points), n_classes=2)
    level, title = check_number("level", level, at_least=-MAX_NUMBER, at_most=MAX_NUMBER), check_text("title", title)
    low, high = points.min(axis=0), points.max(axis=0)
    margin = np.where(high > low, 0.1 * (high - low), 1.0)
    x, y = np.meshgrid(*np.linspace(low - margin, high + margin, 201).T)
    scores = check_numbers("score(points)", score(np.stack([x.ravel(), y.ravel()], axis=1)), (x.size,), (x.size, 1))
    scores = scores.reshape(x.shape).astype(np.float64)
    limit = np.abs(scores - level).max()
    limit = limit if limit > 1e-12 * abs(level) else 1.0  # of equal scores: contours need increasing levels
    figure = new_figure(5.2, 4.2)
    axes = figure.subplots()
    filled = axes.contourf(x, y, scores, np.linspace(level - limit, level + limit, 21), cmap="RdBu_r", alpha=0.7)
    if scores.min() < level < scores.max():
        axes.contour(x, y, scores, [level], colors="black")
    for label, color, marker in ((0, "tab:blue", "o"), (1, "tab:red", "s")):
        axes.scatter(*points[labels == label].T, c=color, marker=marker, s=18, edgecolors="white", lw=0.5, label=label)
    axes.set(title=title, xlabel="$x_1$", ylabel="$x_2$")
    axes.legend(title="class")
    figure.colorbar(filled, ax=axes, label="output", ticks=[level - limit, level, level + limit], format="{x:.2g}")
    return figure


def _points_and_labels(name: str, pair: Any, *, n_classes: int | None) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise ValueError(f"{name} must be a tuple (points, labels), got {shown(pair)}")
    points = check_points(f"points of {name}", pair[0])
    return points, check_labels(f"labels of {name}", pair[1], len(points), n_classes=n_classes)
