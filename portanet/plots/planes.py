"""Points in the plane: scatter plots and decision boundaries."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from portanet.plots.figures import new_figure, row_of_axes
from portanet.typing import Array


def scatter(panels: Mapping[str, tuple[Array, Array]], classes: Sequence[str] = (), *, title: str = "") -> Any:
    """
    Draw points coloured by class, with the name of each class at the median of its points.

    Parameters
    ----------
    panels : mapping of str to tuple (points, labels)
        Title, points (N, 2) and class indices (N,) of each panel, as arrays on the host.
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
        If ``panels`` is empty, or the shapes do not fit.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> corners = np.asarray([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> figure = scatter({"exclusive or": (corners, np.asarray([0, 1, 1, 0]))}, ("no", "yes"))
    >>> figure.savefig("scatter.png")
    """
    if not panels:
        raise ValueError("panels is empty: give at least one, such as {'test set': (points, labels)}")
    figure = new_figure(4.8 * len(panels), 4.5 + 0.3 * bool(title))
    figure.suptitle(title)
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=3, foreground="white")]
    for axes, (name, data) in zip(row_of_axes(figure, len(panels)), panels.items(), strict=True):
        points, labels = _points_and_labels(*data)
        axes.scatter(*points.T, c=labels % 10, cmap="tab10", vmin=-0.5, vmax=9.5, s=400 / len(points) ** 0.5, lw=0)
        for label in np.unique(labels):
            text = classes[label] if classes else str(label)
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
        ``score(points)`` returns the scores, of M numbers, of points (M, 2); NumPy arrays.
    points : array, shape (N, 2)
        Examples, on the host.
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
        If the shapes of points and labels do not fit.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> points = np.asarray([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> figure = decision_boundary(lambda points: points[:, 0], points, np.asarray([0, 0, 1, 1]))
    >>> figure.savefig("boundary.png")
    """
    points, labels = _points_and_labels(points, labels)
    figure = new_figure(5.2, 4.2)
    axes = figure.subplots()
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.1 * (high - low)
    x, y = np.meshgrid(*np.linspace(low - margin, high + margin, 201).T)
    scores = np.asarray(score(np.stack([x.ravel(), y.ravel()], axis=1))).reshape(x.shape)
    limit = np.abs(scores - level).max()
    filled = axes.contourf(x, y, scores, np.linspace(level - limit, level + limit, 21), cmap="RdBu_r", alpha=0.7)
    axes.contour(x, y, scores, [level], colors="black")
    for label, color, marker in ((0, "tab:blue", "o"), (1, "tab:red", "s")):
        axes.scatter(*points[labels == label].T, c=color, marker=marker, s=18, edgecolors="white", lw=0.5, label=label)
    axes.set(title=title, xlabel="$x_1$", ylabel="$x_2$")
    axes.legend(title="class")
    figure.colorbar(filled, ax=axes, label="output", ticks=[level - limit, level, level + limit], format="{x:.2g}")
    return figure


def _points_and_labels(points: Array, labels: Array) -> tuple[np.ndarray, np.ndarray]:
    points, labels = np.asarray(points), np.asarray(labels)
    if points.shape != (len(labels), 2) or labels.ndim != 1:
        raise ValueError(f"points must have shape (N, 2) and labels (N,), got {points.shape} and {labels.shape}")
    return points, labels
