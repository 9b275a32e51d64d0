"""Convolution, pooling, padding and up-sampling."""

from typing import Any

import numpy as np

from portanet import layers
from portanet.graph.axes import positive_axes
from portanet.graph.flow import Flow, Node, single_number
from portanet.graph.padding import conv_window
from portanet.graph.table import imports

CONV = (layers.Conv1D, layers.Conv2D, layers.Conv3D)
CONV_TRANSPOSE = (layers.ConvTranspose1D, layers.ConvTranspose2D, layers.ConvTranspose3D)
MAX_POOL = (layers.MaxPool1D, layers.MaxPool2D, layers.MaxPool3D)
AVERAGE_POOL = (layers.AvgPool1D, layers.AvgPool2D, layers.AvgPool3D)
MAX_TO_ONE = (layers.AdaptiveMaxPool1D, layers.AdaptiveMaxPool2D, layers.AdaptiveMaxPool3D)
AVERAGE_TO_ONE = (layers.AdaptiveAvgPool1D, layers.AdaptiveAvgPool2D, layers.AdaptiveAvgPool3D)
"""The layer for each number of spatial axes, from 1 to 3."""

MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}

ROUNDING = (("round_prefer_floor", "round_prefer_ceil"), ("floor",))
"""Values of nearest_mode that repeat each position, for positions from the centres and from the corners of pixels."""


def _of_axes(kinds: tuple[Any, ...], flow: Flow, node: Node) -> Any:
    """Return the class for the spatial axes of a value."""
    flow.need_channels_first(node)
    if not 3 <= flow.ndim <= 5:
        raise node.error(f"its input has {flow.ndim} axes, not 3 to 5")
    return kinds[flow.ndim - 3]


def _compact(values: tuple[Any, ...]) -> Any:
    """Return one number if those of all axes are equal."""
    return values[0] if len(set(values)) == 1 and not isinstance(values[0], tuple) else values


def _padding(pads: tuple[tuple[int, int], ...]) -> Any:
    return _compact(tuple(low if low == high else (low, high) for low, high in pads))


def _window_arguments(flow: Flow, node: Node, size: tuple[int, ...]) -> dict[str, Any]:
    """Return stride, padding and dilation of a layer."""
    strides, dilations, pads = (node.get(name) for name in ("strides", "dilations", "pads"))
    window = conv_window(flow.shape[:-1], size, strides, dilations, pads, node.get("auto_pad", "NOTSET"))
    dilation = {} if set(window.dilation) == {1} else {"dilation": _compact(window.dilation)}
    padding = _padding(window.pads) if window.is_padded else "valid"
    return {"stride": _compact(window.stride), "padding": padding, **dilation}


def _pool_arguments(flow: Flow, node: Node, size: tuple[int, ...]) -> dict[str, Any]:
    """Return the arguments of a pooling layer, whose stride is its size by default."""
    arguments = _window_arguments(flow, node, size)
    if arguments["stride"] == _compact(size):
        del arguments["stride"]
    return arguments


@imports("Conv")
def import_conv(flow: Flow, node: Node) -> None:
    """Transpose the weight (O, C / groups, *size) to (*size, C / groups, O)."""
    kind, weight, bias, groups = _of_axes(CONV, flow, node), node.weight(1), node.constant(2), node.get("group", 1)
    n_out, n_in, *size = weight.shape
    arguments = _window_arguments(flow, node, tuple(size))
    layer = kind(n_in * groups, n_out, tuple(size), groups=groups, bias=bias is not None, **arguments)
    arrays = {"weight": weight.transpose((*range(2, weight.ndim), 1, 0))} | ({} if bias is None else {"bias": bias})
    flow.add(layer, **arrays)


@imports("ConvTranspose")
def import_conv_transpose(flow: Flow, node: Node) -> None:
    """Transpose the weight (C, O / groups, *size) to (*size, C, O / groups)."""
    kind, weight, bias = _of_axes(CONV_TRANSPOSE, flow, node), node.weight(1), node.constant(2)
    if node.get("output_shape") is not None or node.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise node.error("its padding follows from output_shape or auto_pad")
    groups, n_axes = node.get("group", 1), flow.ndim - 2
    n_in, n_out, *size = weight.shape
    pads = node.get("pads") or [0] * 2 * n_axes
    layer = kind(
        n_in,
        n_out * groups,
        tuple(size),
        stride=_compact(tuple(node.get("strides") or (1,) * n_axes)),
        dilation=_compact(tuple(node.get("dilations") or (1,) * n_axes)),
        padding=_padding(tuple(zip(pads[:n_axes], pads[n_axes:], strict=True))),
        output_padding=_compact(tuple(node.get("output_padding") or (0,) * n_axes)),
        groups=groups,
        bias=bias is not None,
    )
    arrays = {"weight": weight.transpose((*range(2, weight.ndim), 0, 1))} | ({} if bias is None else {"bias": bias})
    flow.add(layer, **arrays)


@imports("MaxPool")
def import_max_pool(flow: Flow, node: Node) -> None:
    """Pool; positions of the maxima, a second output, are refused."""
    kind, size = _of_axes(MAX_POOL, flow, node), tuple(node.get("kernel_shape"))
    arguments = _pool_arguments(flow, node, size)
    flow.add(kind(_compact(size), ceil_mode=bool(node.get("ceil_mode", 0)), **arguments))


@imports("AveragePool")
def import_average_pool(flow: Flow, node: Node) -> None:
    """Pool; dilation is refused."""
    kind, size = _of_axes(AVERAGE_POOL, flow, node), tuple(node.get("kernel_shape"))
    if any(n != 1 for n in node.get("dilations") or ()):
        raise node.error(f"its dilations are {node.get('dilations')}, not 1")
    arguments = _pool_arguments(flow, node, size)
    flags = {name: bool(node.get(name, 0)) for name in ("ceil_mode", "count_include_pad")}
    flow.add(kind(_compact(size), **arguments, **flags))


@imports("GlobalAveragePool")
def import_global_average_pool(flow: Flow, node: Node) -> None:
    """Keep axes of length 1, as in the graph; before Flatten it becomes GlobalAvgPool."""
    flow.add(_of_axes(AVERAGE_TO_ONE, flow, node)(1))


@imports("GlobalMaxPool")
def import_global_max_pool(flow: Flow, node: Node) -> None:
    """Keep axes of length 1, as in the graph; before Flatten it becomes GlobalMaxPool."""
    flow.add(_of_axes(MAX_TO_ONE, flow, node)(1))


@imports("ReduceMean")
def import_reduce_mean(flow: Flow, node: Node) -> None:
    """Pool to the mean over all positions."""
    axes = node.given("axes", 1)
    kind = _of_axes(AVERAGE_TO_ONE, flow, node)
    if axes is None or sorted(positive_axes(axes.tolist(), flow.ndim)) != list(range(2, flow.ndim)):
        raise node.error("it is no mean over all positions")
    flow.add(kind(1))
    if not node.get("keepdims", 1):
        flow.flatten()


@imports("Pad")
def import_pad(flow: Flow, node: Node) -> None:
    """Pad the spatial axes."""
    pads, value = node.given("pads", 1), node.given("value", 2)
    if pads is None or node.constant(3) is not None:
        raise node.error("its pads are not those of all axes")
    flow.need_channels_first(node)
    pairs = tuple(zip(pads[: flow.ndim].tolist(), pads[flow.ndim :].tolist(), strict=True))
    if any(map(any, pairs[:2])):
        raise node.error("it pads the batch or the channels")
    fill = None if value is None else single_number(value)
    padding = pairs[2:] if len(set(pairs[2:])) > 1 or pairs[2][0] != pairs[2][1] else pairs[2][0]
    flow.add(layers.Pad(padding, mode=MODES[node.get("mode", "constant")], value=fill or 0.0))


@imports("Resize", "Upsample")
def import_resize(flow: Flow, node: Node) -> None:
    """Repeat or interpolate positions; the factors must be whole numbers."""
    flow.need_channels_first(node)
    is_resize = node.operator == "Resize" and node.version > 10
    scales, sizes = node.given("scales", 2 if is_resize else 1), node.constant(3)
    if scales is None or not scales.size:
        lengths = np.asarray([1, flow.shape[-1], *flow.shape[:-1]])
        scales = np.ones(flow.ndim) if sizes is None else np.where(np.arange(flow.ndim) < 2, 1, sizes / lengths)
    if not np.all((scales >= 1) & (scales < 2**31)):
        raise node.error(f"its scales {scales.tolist()} are no whole numbers for the spatial axes")
    factors = scales[2:].astype(int)
    if node.get("axes") is not None or not np.array_equal(scales, [1, 1, *factors]):
        raise node.error(f"its scales {scales.tolist()} are no whole numbers for the spatial axes")
    mode = node.get("mode", "nearest")
    positions = node.get("coordinate_transformation_mode", "half_pixel" if is_resize else "asymmetric")
    known = {"nearest": ("asymmetric", "half_pixel", "pytorch_half_pixel"), "linear": ("half_pixel",)}
    if positions not in known.get(mode, ()):
        raise node.error(f"its mode {mode} with {positions} is none of Upsample")
    rounding = node.get("nearest_mode", "round_prefer_floor") if is_resize else "floor"
    if mode == "nearest" and rounding not in ROUNDING[positions == "asymmetric"]:
        raise node.error(f"its nearest_mode {rounding} with {positions} is none of Upsample")
    if mode == "linear":
        mode = ("linear", "bilinear", "trilinear")[flow.ndim - 3]
    flow.add(layers.Upsample(_compact(tuple(factors.tolist())), mode=mode))
