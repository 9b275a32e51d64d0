"""Adaptive pooling: in a graph, a slice and a reduction for each output along an axis."""

from collections.abc import Sequence

from portanet import layers
from portanet.graph.flow import Flow, Node

REDUCTIONS = {
    "ReduceMean": (layers.AdaptiveAvgPool1D, layers.AdaptiveAvgPool2D, layers.AdaptiveAvgPool3D),
    "ReduceMax": (layers.AdaptiveMaxPool1D, layers.AdaptiveMaxPool2D, layers.AdaptiveMaxPool3D),
}
"""Layers for 1 to 3 spatial axes, by the operator that reduces a window."""


def is_adaptive_pool(nodes: Sequence[Node]) -> bool:
    """Whether nodes are pairs of a slice and a reduction, and a concatenation."""
    *inner, _ = nodes
    reductions = [node.operator for node in inner if node.operator != "Slice"]
    return len(reductions) * 2 == len(inner) and len({*reductions}) == 1 and reductions[0] in REDUCTIONS


def import_adaptive_pool(flow: Flow, start: str, nodes: Sequence[Node]) -> None:
    """Append the layer that pools one axis and keeps the others, if the windows are its windows."""
    *inner, join = nodes
    flow.need_channels_first(join)
    axis, producers = join.get("axis"), {name: node for node in inner for name in node.outputs}
    windows, kinds = [], set()
    for name in join.inputs:
        reduction = producers.get(name)
        cut = None if reduction is None else producers.get(reduction.inputs[0])
        if reduction is None or cut is None or cut.inputs[0] != start or not _is_along(reduction, axis):
            raise join.error("its inputs are no reductions of slices along its axis")
        starts, ends = cut.given("starts", 1), cut.given("ends", 2)
        if starts is None or ends is None or _axes(cut, 3) != [axis] or cut.constant(4) is not None:
            raise cut.error("it takes no window along one axis")
        windows.append((int(starts[0]), int(ends[0])))
        kinds.add(reduction.operator)
    n, m = flow.shape[flow.axis(join, axis) - 1], len(windows)
    if axis < 2 or windows != [(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]:
        raise join.error("its windows are not those of adaptive pooling")
    size = tuple(m if i == axis else None for i in range(2, flow.ndim))
    flow.add(REDUCTIONS[kinds.pop()][flow.ndim - 3](size if len(size) > 1 else m))


def _is_along(reduction: Node, axis: int) -> bool:
    """Whether a node reduces one axis to length 1."""
    return _axes(reduction, 1) == [axis] and bool(reduction.get("keepdims", 1))


def _axes(node: Node, i: int) -> list[int] | None:
    axes = node.given("axes", i)
    return None if axes is None else [int(axis) for axis in axes.ravel()]
