"""A drawing of a network: its layers from top to bottom, with the shapes between them."""

from typing import Any, NamedTuple

from portanet.checks import check_input_shape, check_text
from portanet.layers import Layer, Parallel, Residual, Sequential
from portanet.layers.base import check_layer
from portanet.plots.figures import new_figure
from portanet.typing import Shape

WIDTH, HEIGHT, GAP, EDGE = 3.4, 0.5, 0.45, 0.25
"""Width and height of a layer's box, the gap between boxes, and the edge of a frame around several, in inches."""

MERGES: dict[type[Layer], str] = {Residual: "+", Parallel: "concat"}
"""How layers with branches join the outputs of these."""

WITH_PARAMETERS, WITHOUT = "#cfe2f3", "#f0f0f0"
"""Colours of layers that have parameters, and of those that have none."""


class _Part(NamedTuple):
    """A layer, or a frame around several, with its size."""

    text: str
    colour: str
    width: float
    height: float
    output: Shape
    inner: tuple["_Part", ...] = ()
    merge: str = ""
    """How the outputs of branches, which are drawn side by side, become one."""


def network(net: Any, input_shape: Shape, *, title: str = "") -> Any:
    """
    Draw the layers of a network from top to bottom, with the shape of one output between them.

    Layers with parameters are blue. A frame stands around the layers of a nested network. Branches are side by side.
    Layers without an input size get theirs, as by ``net.build(input_shape)``.

    Parameters
    ----------
    net : Layer
        The network.
    input_shape : tuple of int
        Shape of one input, without the batch axis.
    title : str
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the input does not fit the network.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> net = portanet.Sequential(portanet.Linear(64, 32), portanet.ReLU(), portanet.Linear(32, 10))
    >>> portanet.plots.network(net, (64,)).savefig("network.svg")
    """
    check_layer("net", net)
    shape, title = check_input_shape("input_shape", input_shape), check_text("title", title)
    net.build(shape)
    whole = _part(net, shape)
    height = whole.height + 2 * GAP
    figure = new_figure(whole.width + 1.4, height + 0.4 * bool(title))
    axes = figure.subplots()
    axes.set(xlim=(0, whole.width + 1.2), ylim=(height, 0), aspect="equal")
    axes.set_axis_off()
    axes.set_title(title)
    centre = 0.6 + whole.width / 2
    _arrow(axes, centre, 0.0, GAP, shape)
    _draw(axes, whole, centre, GAP)
    _arrow(axes, centre, GAP + whole.height, height, whole.output)
    return figure


def _part(layer: Any, shape: Shape) -> _Part:
    """Measure a layer and those inside it."""
    children = list(layer._children_with_shapes(shape))
    output = tuple(layer.output_shape(shape))
    if not children:
        return _Part(repr(layer), WITH_PARAMETERS if layer.n_parameters else WITHOUT, WIDTH, HEIGHT, output)
    inner = tuple(_part(child, inner_shape) for _, child, inner_shape in children)
    merge = MERGES.get(type(layer), "")
    if isinstance(layer, Residual) and layer.projection is None:
        inner += (_Part("", "none", WIDTH / 3, 0.0, shape),)  # the input itself
    if merge:
        width = sum(part.width for part in inner) + GAP * (len(inner) - 1)
        height = max(part.height for part in inner) + 2 * GAP
    else:
        width = max(part.width for part in inner)
        height = sum(part.height for part in inner) + GAP * (len(inner) - 1)
    if isinstance(layer, Sequential):
        return _Part("", "none", width, height, output, inner)
    name, edges = type(layer).__name__, 2 * EDGE
    return _Part(name, "none", width + edges, height + edges + EDGE, output, inner, merge)


def _draw(axes: Any, part: _Part, centre: float, top: float) -> None:
    """Draw a part below a point."""
    if not part.inner:
        _box(axes, part, centre, top)
        axes.text(centre, top + HEIGHT / 2, _cut(part.text), ha="center", va="center", fontsize=8)
        return
    if part.text:
        _box(axes, part, centre, top)
        corner = {"ha": "left", "va": "top", "fontsize": 7, "style": "italic"}
        axes.text(centre - part.width / 2 + 0.08, top + 0.06, part.text, **corner)
        top += 2 * EDGE
    if part.merge:
        left, bottom = centre - part.width / 2 + EDGE, top + part.height - 3 * EDGE
        middles: list[float] = []
        for branch in part.inner:
            middle = left + branch.width / 2
            if branch.height:
                _arrow(axes, middle, top, top + GAP)
                _draw(axes, branch, middle, top + GAP)
            _arrow(axes, middle, top + bool(branch.height) * (GAP + branch.height), bottom, branch.output)
            middles.append(middle)
            left += branch.width + GAP
        for y in (top, bottom):
            axes.plot([middles[0], middles[-1]], [y, y], color="0.3", linewidth=0.9)
        on_line = {"facecolor": "white", "edgecolor": "none", "pad": 2}
        axes.text(centre, bottom, part.merge, ha="center", va="center", fontsize=9, bbox=on_line)
        return
    for i, step in enumerate(part.inner):
        if i:
            _arrow(axes, centre, top - GAP, top, part.inner[i - 1].output)
        _draw(axes, step, centre, top)
        top += step.height + GAP


def _box(axes: Any, part: _Part, centre: float, top: float) -> None:
    from matplotlib.patches import FancyBboxPatch

    corner, shape = (centre - part.width / 2, top), "round,pad=0,rounding_size=0.08"
    line: dict[str, Any] = {"facecolor": part.colour, "edgecolor": "0.4", "linewidth": 0.8}
    axes.add_patch(FancyBboxPatch(corner, part.width, part.height, shape, **line))


def _arrow(axes: Any, x: float, begin: float, end: float, shape: Shape | None = None) -> None:
    axes.annotate("", (x, end), (x, begin), arrowprops={"arrowstyle": "->", "color": "0.3", "lw": 0.9})
    if shape is not None:
        axes.text(x + 0.1, (begin + end) / 2, str(shape), ha="left", va="center", fontsize=7, color="0.3")


def _cut(text: str, width: int = 46) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."
