"""The table that ``net.summary(input_shape)`` prints."""

from collections.abc import Iterator
from typing import Any

from portanet.typing import Shape

MAX_WIDTH = 100
"""Columns of the table; a longer description of a layer is cut."""

HEAD = ("", "layer", "output shape", "parameters")


def table(net: Any, input_shape: Shape) -> str:
    """Return layers, output shapes and numbers of parameters, with their total; nested networks are unfolded."""
    try:
        shape = tuple(int(n) for n in input_shape)
    except TypeError:
        raise TypeError(f"input_shape must be a tuple such as (28, 28, 1), got {input_shape!r}") from None
    rows = [(name, repr(layer), str(out), f"{size:,}") for name, layer, out, size in _rows(net, "", shape)]
    body = [*rows, ("total", "", "", f"{net.n_parameters:,}")]
    widths = [max(len(row[i]) for row in (HEAD, *body)) for i in range(4)]
    widths[0] = max(len(row[0]) for row in rows) if rows else 0
    widths[1] = min(widths[1], max(len(HEAD[1]), MAX_WIDTH - widths[0] - widths[2] - widths[3] - 6))
    lines = [_line(row, widths) for row in (HEAD, *rows)]
    rule = "-" * max(map(len, lines))
    total = f"{body[-1][0]}{body[-1][3].rjust(len(rule) - len(body[-1][0]))}"
    return "\n".join([lines[0], rule, *lines[1:], rule, total])


def _rows(layer: Any, name: str, shape: Shape) -> Iterator[tuple[str, Any, Shape, int]]:
    output_shape = layer.output_shape(shape)
    inner = list(layer._trace(shape))
    if not inner:
        yield name or "0", layer, output_shape, layer.n_parameters
        return
    for key, child, child_shape in inner:
        yield from _rows(child, f"{name}.{key}" if name else key, child_shape)


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    name, layer, shape, size = row
    if len(layer) > widths[1]:
        layer = layer[: widths[1] - 3] + "..."
    return f"{name.ljust(widths[0])}  {layer.ljust(widths[1])}  {shape.ljust(widths[2])}  {size.rjust(widths[3])}"
