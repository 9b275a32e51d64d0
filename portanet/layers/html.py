"""What a notebook shows of a network: a table of its layers, in which nested networks can be unfolded."""

from html import escape
from typing import Any

from portanet.typing import Shape

HEAD = "<tr><th></th><th style='text-align:left'>layer</th><th>output shape</th><th>parameters</th></tr>"


def network_html(net: Any) -> str:
    """
    Return the table as HTML.

    Output shapes are those for one input; where the first layer does not tell the shape of an input, they are left out.

    Examples
    --------
    >>> "<td>(2,)</td>" in network_html(portanet.Sequential(portanet.Linear(3, 2), portanet.ReLU()))
    True
    """
    frozen = sum(parameter.size for parameter in net.parameters() if parameter.frozen)
    note = f", {frozen:,} of them frozen" if frozen else ""
    size = "parameters not known yet" if net.topology.unsized else f"{_size(net)} parameters{note}"
    return f"<div><p>{_kind(net)}: {size}</p>{_table(net, _input_shape(net))}</div>"


def _table(net: Any, shape: Shape | None) -> str:
    children = list(net.named_children()) or [("0", net)]
    shapes: dict[str, Shape] = {}
    if shape is not None:
        try:
            shapes = {name: inner for name, _, inner in net._children_with_shapes(shape)} or {"0": shape}
        except ValueError:  # the layers do not fit together
            shapes = {}
    rows = [_row(name, layer, shapes.get(name)) for name, layer in children]
    return f"<table>{HEAD}{''.join(rows)}</table>"


def _row(name: str, layer: Any, shape: Shape | None) -> str:
    try:
        output = "" if shape is None else str(layer.output_shape(shape))
    except ValueError:
        output = "does not fit"
    text = escape(repr(layer))
    if any(layer.named_children()):
        text = f"<details><summary>{_kind(layer)}</summary>{_table(layer, shape)}</details>"
    size = f"{_size(layer)}{' frozen' if layer.frozen and layer.parameters() else ''}"
    cells = f"<td>{escape(name)}</td><td style='text-align:left'>{text}</td><td>{output}</td><td>{size}</td>"
    return f"<tr>{cells}</tr>"


def _size(layer: Any) -> str:
    return "not known yet" if layer.topology.unsized else f"{layer.n_parameters:,}"


def _kind(layer: Any) -> str:
    return escape(type(layer).__name__)


def _input_shape(net: Any) -> Shape | None:
    """Return the shape of one input if the first layer that has an input size takes a vector of it, else None."""
    sized = (layer for layer in (net, *net.topology.layers.values()) if layer.input_size_argument is not None)
    first = next(sized, None)
    if first is None or net.topology.unsized:
        return None
    shape = (first.arguments()[first.input_size_argument],)
    try:
        net.output_shape(shape)
    except ValueError:  # a convolution, say, takes more axes
        return None
    return shape
