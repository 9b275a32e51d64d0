"""Pictures of training and of what networks make, with matplotlib: it is imported when a picture is asked for."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

from portanet.checks import check_count
from portanet.typing import Array

if TYPE_CHECKING:
    from portanet.training.history import History

Scale: TypeAlias = Literal["", "x", "y", "xy"]
"""Axes with a logarithmic scale."""


def curves(
    x: Array, panels: Mapping[str, Mapping[str, Array]], *, xlabel: str = "", title: str = "", log: Scale = ""
) -> Any:
    """
    Draw curves over common places, in panels side by side.

    Parameters
    ----------
    x : array_like, shape (N,)
        Places.
    panels : mapping of str to mapping of str to array_like, shape (N,)
        Curves of each panel by their names, which stand in a legend where there are several; the panel's name stands
        at its vertical axis.
    xlabel, title : str
        Below each panel, and above all.
    log : {"", "x", "y", "xy"}
        Axes on which equal steps are equal factors.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there is no panel, or no such axis.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> x = np.linspace(-3, 3)
    >>> figure = curves(x, {"height": {"sin": np.sin(x), "cos": np.cos(x)}}, xlabel="x")
    >>> figure.savefig("curves.png")
    """
    if not panels:
        raise ValueError("panels is empty: give at least one, such as {'loss': {'training': losses}}")
    if log not in get_args(Scale):
        raise ValueError(f"log must be '', 'x', 'y' or 'xy', got {log!r}")
    figure = _figure(4.2 * len(panels), 3.2 + 0.3 * bool(title))
    figure.suptitle(title)
    for axes, (name, lines) in zip(_row(figure, len(panels)), panels.items(), strict=True):
        for label, y in lines.items():
            axes.plot(x, y, label=label, marker="." if len(y) < 30 else "")
        axes.set(xlabel=xlabel, ylabel=name, **{f"{axis}scale": "log" for axis in log})
        axes.grid(alpha=0.3)
        if len(lines) > 1:
            axes.legend()
    return figure


def training_curves(history: "History", *, title: str = "", held_out: str = "validation") -> Any:
    """
    Draw every quantity of a history over the epochs, validation beside training.

    Parameters
    ----------
    history : History
        Of at least one epoch.
    title : str
        Above the picture.
    held_out : str
        What the validation data are called in the legend: "test" where it is a test set that is watched.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there is nothing to draw.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> history = portanet.History()
    >>> history.append({"loss": 0.7, "val_loss": 0.8})
    >>> training_curves(history, title="first epoch").savefig("curves.png")
    """
    if not len(history):
        raise ValueError("history holds no epochs: call fit first")
    names = [name for name in history.names if name.removeprefix("val_") == name or name[4:] not in history.names]
    both = {"training": "", held_out: "val_"}
    panels = {
        _quantity(name): {label: history[kind + name] for label, kind in both.items() if kind + name in history.names}
        for name in names
    }
    epochs = np.arange(1, len(history) + 1)
    figure = curves(epochs, panels, xlabel="epoch", title=title)
    for axes in figure.axes:
        axes.set_xlim(0.5, len(history) + 0.5)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    return figure


def confusion_matrix(counts: Array, classes: Sequence[str] = (), *, title: str = "Confusion matrix") -> Any:
    """
    Draw a confusion matrix with its counts: rows are true classes, columns predicted ones.

    The colour grows with the square root of a count's share of its row, so that rare mistakes are seen beside the
    diagonal.

    Parameters
    ----------
    counts : array of int, shape (C, C)
        On the host.
    classes : sequence of str, optional
        C names; by default the indices.
    title : str
        Above the picture.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If ``counts`` is not square, or ``classes`` are not as many.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> confusion_matrix([[8, 2], [0, 9]], ("cat", "dog")).savefig("confusion.png")
    """
    counts = np.asarray(counts)
    n = len(counts)
    if counts.shape != (n, n):
        raise ValueError(f"counts must have shape (C, C), got {counts.shape}")
    names = list(classes) or [str(index) for index in range(n)]
    if len(names) != n:
        raise ValueError(f"classes must be {n} names for counts of shape {counts.shape}, got {len(names)}")
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = _figure(2.2 + 0.45 * n, 1.5 + 0.45 * n)
    from matplotlib.colors import PowerNorm

    axes = figure.subplots()
    picture = axes.imshow(share, cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=1))
    for row, column in np.argwhere(counts):
        color = "white" if picture.norm(share[row, column]) > 0.6 else "black"
        axes.text(column, row, f"{counts[row, column]}", ha="center", va="center", color=color, fontsize=8)
    slanted = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if max(map(len, names)) > 3 else {}
    axes.set_xticks(range(n), names, **slanted)
    axes.set_yticks(range(n), names)
    axes.set(title=title, xlabel="predicted", ylabel="true")
    figure.colorbar(picture, ax=axes, label="share of the true class", shrink=0.8)
    return figure


def image_grid(
    images: Array, *, columns: int = 10, rows: Sequence[str] = (), captions: Sequence[str] = (), title: str = ""
) -> Any:
    """
    Draw images in rows, 0 white and 1 black; values beyond these are shown as these.

    Parameters
    ----------
    images : array of float, shape (N, H, W) or (N, H, W, 1)
        On the host, a row after another.
    columns : int
        Images a row.
    rows : sequence of str, optional
        A name for each row.
    captions : sequence of str, optional
        N texts, one above each image.
    title : str
        Above the picture.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the images have another shape, or the names are not as many as what they name.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> before = np.linspace(0, 1, 3 * 64).reshape(3, 8, 8)
    >>> figure = image_grid(np.concat([before, 1 - before]), columns=3, rows=["before", "after"])
    >>> figure.savefig("images.png")
    """
    images, columns = np.asarray(images), check_count("columns", columns)
    if images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    if images.ndim != 3 or not images.size:
        raise ValueError(f"images must have shape (N, H, W) or (N, H, W, 1), got {images.shape}")
    n, height, width = images.shape
    n_rows = -(-n // columns)
    for what, names, wanted in (("rows", rows, n_rows), ("captions", captions, n)):
        if len(names) not in (0, wanted):
            raise ValueError(f"{what} must be {wanted} texts for {n} images in rows of {columns}, got {len(names)}")
    above = height // 4 if captions else 0
    cells = np.zeros((n_rows * columns, above + height + 1, width + 1))
    cells[:n, above:-1, :-1] = images
    sheet = cells.reshape(n_rows, columns, *cells.shape[1:]).swapaxes(1, 2).reshape(n_rows * cells.shape[1], -1)
    inch = min(9 / columns, 1.2) / width
    figure = _figure(inch * sheet.shape[1] + 0.1 * max(map(len, rows), default=0), inch * sheet.shape[0] + 0.4)
    axes = figure.subplots()
    axes.imshow(sheet, cmap="gray_r", vmin=0, vmax=1)
    axes.set_anchor("E")  # what is left over goes to the names
    for i, caption in enumerate(captions):
        row, column = divmod(i, columns)
        place = (column + 0.5) * cells.shape[2] - 1, row * cells.shape[1] + above - 1
        axes.text(*place, caption, ha="center", va="bottom", fontsize=7)
    axes.set_xticks([])
    axes.set_yticks([(row + 0.5) * cells.shape[1] for row in range(len(rows))], rows)
    axes.tick_params(length=0, labelsize=8)
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize=10)
    return figure


def scatter(panels: Mapping[str, tuple[Array, Array]], classes: Sequence[str] = (), *, title: str = "") -> Any:
    """
    Draw points of planes in the colours of their classes, and write the name of each class amid its points.

    Parameters
    ----------
    panels : mapping of str to tuple (points, labels)
        Arrays on the host of shapes (N, 2) and (N,), the labels class indices; the name stands above the panel.
    classes : sequence of str, optional
        Names in the order of the indices; by default the indices.
    title : str
        Above the picture.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there is no panel, or points and labels do not fit together.
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
    figure = _figure(4.8 * len(panels), 4.5 + 0.3 * bool(title))
    figure.suptitle(title)
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=3, foreground="white")]
    for axes, (name, given) in zip(_row(figure, len(panels)), panels.items(), strict=True):
        points, labels = _plane(*given)
        axes.scatter(*points.T, c=labels % 10, cmap="tab10", vmin=-0.5, vmax=9.5, s=400 / len(points) ** 0.5, lw=0)
        for label in np.unique(labels):
            text = classes[label] if classes else str(label)
            middle = np.median(points[labels == label], axis=0)
            axes.text(*middle, text, ha="center", va="center", weight="bold", path_effects=halo)
        axes.set(title=name, xlabel="first coordinate", ylabel="second coordinate")
    return figure


def decision_boundary(
    score: Callable[[Array], Array], points: Array, labels: Array, *, level: float = 0.5, title: str = ""
) -> Any:
    """
    Draw points of two classes, the score of every place around them, and the line where it decides.

    Parameters
    ----------
    score : callable
        ``score(places)`` gives numbers of shape (M,) for places of shape (M, 2), all on the host.
    points : array, shape (N, 2)
        Examples.
    labels : array of int, shape (N,)
        Their classes: 0, or 1 where the score should be above the level.
    level : float
        Score at which the decision turns.
    title : str
        Above the picture.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If points and labels do not fit together.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> points = np.asarray([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> figure = decision_boundary(lambda places: places[:, 0], points, np.asarray([0, 0, 1, 1]))
    >>> figure.savefig("boundary.png")
    """
    points, labels = _plane(points, labels)
    figure = _figure(5.2, 4.2)
    axes = figure.subplots()
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.1 * (high - low)
    x, y = np.meshgrid(*np.linspace(low - margin, high + margin, 201).T)
    scores = np.asarray(score(np.stack([x.ravel(), y.ravel()], axis=1))).reshape(x.shape)
    reach = np.abs(scores - level).max()
    shown = axes.contourf(x, y, scores, np.linspace(level - reach, level + reach, 21), cmap="RdBu_r", alpha=0.7)
    axes.contour(x, y, scores, [level], colors="black")
    for label, color, marker in ((0, "tab:blue", "o"), (1, "tab:red", "s")):
        axes.scatter(*points[labels == label].T, c=color, marker=marker, s=18, edgecolors="white", lw=0.5, label=label)
    axes.set(title=title, xlabel="$x_1$", ylabel="$x_2$")
    axes.legend(title="class")
    figure.colorbar(shown, ax=axes, label="output", ticks=[level - reach, level, level + reach], format="{x:.2g}")
    return figure


def _figure(width: float, height: float) -> Any:
    """Make an empty picture of a size in inches, without pyplot: it needs no display and stays in no list."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install matplotlib") from error
    return Figure(figsize=(width, height), layout="constrained")


def _row(figure: Any, panels: int) -> Any:
    """Panels side by side."""
    return figure.subplots(1, panels, squeeze=False)[0]


def _plane(points: Array, labels: Array) -> tuple[np.ndarray, np.ndarray]:
    points, labels = np.asarray(points), np.asarray(labels)
    if points.shape != (len(labels), 2) or labels.ndim != 1:
        raise ValueError(f"points must have shape (N, 2) and labels (N,), got {points.shape} and {labels.shape}")
    return points, labels


def _quantity(name: str) -> str:
    if name == "loss":
        return "mean loss"
    return "learning rate" if name == "lr" else name.replace("_", " ")
