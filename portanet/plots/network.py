"""A drawing of a network: its layers from top to bottom, with the shapes between them."""

from typing import Any, NamedTuple

from portanet.checks import check_input_shape, check_text
from portanet.layers import Graph, Layer, MultiHeadAttention, Parallel, Residual, Sequential
from portanet.layers.base import check_layer
from portanet.plots.figures import new_figure
from portanet.tree import is_shape
from portanet.typing import Shape, Shapes

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
    output: Shapes
    inner: tuple["_Part", ...] = ()
    merge: str = ""
    """How the outputs of branches, which are drawn side by side, become one."""

    rows: tuple[tuple[int, ...], ...] = ()
    """Of a graph: which of the inner parts lie side by side, from top to bottom."""

    links: tuple[tuple[str, tuple[int, ...]], ...] = ()
    """Of a graph: what each inner part gives, and from which parts it takes its inputs."""


def network(net: Any, input_shape: Shapes, *, title: str = "") -> Any:
    """
    Draw the layers of a network from top to bottom, with the shape of one output between them.

    Layers with parameters are blue. A frame stands around the layers of a nested network. Branches are side by side,
    and so are the nodes of a :class:`portanet.Graph` that can be computed at the same time. Layers without an input
    size get theirs, as by ``net.build(input_shape)``.

    Parameters
    ----------
    net : Layer
        The network.
    input_shape : tuple of int
        Shape of one input, without the batch axis; for several inputs, a tuple or dict of shapes.
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
    if is_shape(shape):
        _arrow(axes, centre, 0.0, GAP, shape)
    _draw(axes, whole, centre, GAP)
    if is_shape(whole.output):
        _arrow(axes, centre, GAP + whole.height, height, whole.output)
    return figure


def _part(layer: Any, shape: Shapes) -> _Part:
    """Measure a layer and those inside it."""
    children = list(layer._children_with_shapes(shape))
    output = layer.output_shape(shape)
    if isinstance(layer, Graph):
        return _graph(layer, shape, output)
    if not children or isinstance(layer, MultiHeadAttention):  # its projections are not one after the other
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


def _graph(layer: Graph, shape: Shapes, output: Shapes) -> _Part:
    """Measure the nodes of a graph; each lies below those whose values it takes."""
    shapes = layer.by_name(shape)
    giver = {name: i for i, name in enumerate(layer.inputs)}
    inner = [_Part(name, "none", WIDTH / 2, HEIGHT / 2, shapes[name]) for name in layer.inputs]
    links: list[tuple[str, tuple[int, ...]]] = [("", ())] * len(inner)
    depth = [0] * len(inner)
    children = layer._children_with_shapes(shape)
    for (_, takes, gives), (_, node, node_shape) in zip(layer.nodes, children, strict=True):
        taken = tuple(giver[name] for name in ((takes,) if isinstance(takes, str) else takes))
        given = (gives,) if isinstance(gives, str) else gives
        giver |= dict.fromkeys(given, len(inner))
        inner.append(_part(node, node_shape))
        links.append((", ".join(given), taken))
        depth.append(1 + max(depth[i] for i in taken))
    rows = tuple(tuple(i for i, own in enumerate(depth) if own == level) for level in range(max(depth) + 1))
    width = max(sum(inner[i].width + GAP for i in row) - GAP for row in rows)
    height = sum(max(inner[i].height for i in row) + 2 * GAP for row in rows) - 2 * GAP
    edges = 2 * EDGE
    size = width + edges, height + edges + EDGE
    return _Part("Graph", "none", *size, output, tuple(inner), rows=rows, links=tuple(links))


def _draw_rows(axes: Any, part: _Part, centre: float, top: float) -> None:
    """Draw the nodes of a graph, with an arrow from each to those that take its output."""
    where: dict[int, tuple[float, float, int]] = {}
    for level, row in enumerate(part.rows):
        left = centre - (sum(part.inner[i].width + GAP for i in row) - GAP) / 2
        for i in row:
            where[i] = left + part.inner[i].width / 2, top, level
            left += part.inner[i].width + GAP
        top += max(part.inner[i].height for i in row) + 2 * GAP
    for i, (_, taken) in enumerate(part.links):
        x, begin, level = where[i]
        _draw(axes, part.inner[i], x, begin)
        for n, source in enumerate(taken):
            from_x, from_y, from_level = where[source]
            end = x + (n - (len(taken) - 1) / 2) * 0.5, begin  # arrows do not meet in one point
            start = from_x, from_y + part.inner[source].height
            bend = "arc3,rad=0.25" if level - from_level > 1 else "arc3"
            line = {"arrowstyle": "->", "color": "0.3", "lw": 0.9, "connectionstyle": bend}
            axes.annotate("", end, start, arrowprops=line, zorder=0.5)  # behind the boxes
    for i, (x, begin, _) in where.items():
        node = part.inner[i]
        text, corner = f"{part.links[i][0]} {node.output}", (x + node.width / 2, begin + node.height + 0.12)
        axes.text(*corner, text, ha="right", va="center", fontsize=7, color="0.3")


def _draw(axes: Any, part: _Part, centre: float, top: float) -> None:
    """Draw a part below a point."""
    if not part.inner:
        if part.height == HEIGHT:  # the input of a graph has no box
            _box(axes, part, centre, top)
        axes.text(centre, top + part.height / 2, _cut(part.text), ha="center", va="center", fontsize=8)
        return
    if part.text:
        _box(axes, part, centre, top)
        corner = {"ha": "left", "va": "top", "fontsize": 7, "style": "italic"}
        axes.text(centre - part.width / 2 + 0.08, top + 0.06, part.text, **corner)
        top += 2 * EDGE
    if part.rows:
        _draw_rows(axes, part, centre, top)
        return
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
