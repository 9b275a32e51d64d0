"""The table that ``net.summary(input_shape)`` prints."""

from collections.abc import Iterator

from portanet.layers.base import Layer
from portanet.layers.sequential import Sequential
from portanet.typing import Shape


def table(net: Layer, input_shape: Shape) -> str:
    """Layers, output shapes and numbers of parameters, with their total."""
    rows = _rows(net, "", tuple(input_shape))
    body = [(name, repr(layer), str(shape), f"{layer.n_parameters:,}") for name, layer, shape in rows]
    head, total = ("", "layer", "output shape", "parameters"), ("total", "", "", f"{net.n_parameters:,}")
    widths = [max(len(row[i]) for row in (head, *body, total)) for i in range(4)]
    lines = [_line(row, widths) for row in (head, *body, total)]
    rule = "-" * max(map(len, lines))
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def _rows(layer: Layer, name: str, shape: Shape) -> Iterator[tuple[str, Layer, Shape]]:
    if not isinstance(layer, Sequential):
        yield name or "0", layer, layer.output_shape(shape)
        return
    for index, inner in layer.children():
        yield from _rows(inner, f"{name}.{index}" if name else index, shape)
        shape = inner.output_shape(shape)


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    name, layer, shape, size = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
    return f"{name}  {layer}  {shape}  {size.strip().rjust(widths[3])}"
