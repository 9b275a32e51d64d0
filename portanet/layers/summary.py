"""The table that ``net.summary(input_shape)`` prints."""

from collections.abc import Iterator
from typing import Any

from portanet.checks import check_input_shape
from portanet.typing import Shape

MAX_WIDTH = 100
"""Columns of the table; a longer description of a layer is cut."""

MAX_NAME = 30
"""Characters of the name of a layer; a longer one is cut."""

HEAD = ("", "layer", "output shape", "parameters")


def table(net: Any, input_shape: Shape) -> str:
    """Return layers, output shapes and numbers of parameters, with their totals; nested networks are unfolded."""
    shape = check_input_shape("input_shape", input_shape)
    rows = [(_cut(name, MAX_NAME), repr(layer), str(out), _size(layer)) for name, layer, out in _rows(net, "", shape)]
    totals = [("total", net.n_parameters)]
    if frozen := sum(parameter.size for parameter in net.parameters() if parameter.frozen):
        totals.append(("of which frozen", frozen))
    body = [*rows, *((name, "", "", f"{size:,}") for name, size in totals)]
    widths = [max(len(row[i]) for row in (HEAD, *body)) for i in range(4)]
    widths[0] = max(len(row[0]) for row in rows) if rows else 0
    widths[1] = min(widths[1], max(len(HEAD[1]), MAX_WIDTH - widths[0] - widths[2] - widths[3] - 6))
    lines = [_line(row, widths) for row in (HEAD, *rows)]
    rule = "-" * max(map(len, lines))
    ends = [f"{name}{f'{size:,}'.rjust(len(rule) - len(name))}" for name, size in totals]
    return "\n".join([lines[0], rule, *lines[1:], rule, *ends])


def _rows(layer: Any, name: str, shape: Shape) -> Iterator[tuple[str, Any, Shape]]:
    output_shape = layer.output_shape(shape)
    inner = list(layer._children_with_shapes(shape))
    if not inner:
        yield name or "0", layer, output_shape
        return
    for key, child, child_shape in inner:
        yield from _rows(child, f"{name}.{key}" if name else key, child_shape)


def _size(layer: Any) -> str:
    """Write the number of a layer's parameters, and whether they are frozen."""
    return f"{layer.n_parameters:,}{' frozen' if layer.frozen and layer.n_parameters else ''}"


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    name, layer, shape, size = row
    layer = _cut(layer, widths[1])
    return f"{name.ljust(widths[0])}  {layer.ljust(widths[1])}  {shape.ljust(widths[2])}  {size.rjust(widths[3])}"


def _cut(text: str, width: int) -> str:
    """Shorten a text to a width."""
    return text if len(text) <= width else f"{text[: width - 3]}..."
