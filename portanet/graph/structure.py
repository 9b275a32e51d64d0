"""Products, arithmetic with constants, and operators that change the shape only."""

import math

import numpy as np

from portanet import layers
from portanet.graph.axes import aligned_shape, channels_first_axes, positive_axes
from portanet.graph.flow import Flow, Node, single_number
from portanet.graph.table import imports

FLOAT32, FLOAT64 = 1, 11
"""ONNX's numbers of dtypes."""


@imports("Gemm")
def import_gemm(flow: Flow, node: Node) -> None:
    """Make a Linear of a constant matrix, and its bias of a constant row."""
    if flow.ndim != 2 or node.get("transA", 0) or node.constant(0) is not None:
        raise node.error("its first input is no batch of rows")
    if len(node.inputs) > 2 and node.inputs[2] and node.constant(2) is None:
        raise node.error("its third input is no constant")
    weight = node.weight(1).T if node.get("transB", 0) else node.weight(1)
    _add_linear(flow, node, weight * _scale(weight, node.get("alpha", 1.0)))
    if (bias := node.constant(2)) is not None:
        _add_bias(flow, node, bias * _scale(bias, node.get("beta", 1.0)))


def _scale(values: np.ndarray, factor: float) -> np.ndarray:
    return np.asarray(factor, values.dtype)


@imports("MatMul")
def import_matmul(flow: Flow, node: Node) -> None:
    """Make a Linear of a constant matrix on the right."""
    if node.constant(0) is not None or node.weight(1).ndim != 2:
        raise node.error("its second input is no constant matrix")
    flow.need_channels(node, -1)
    _add_linear(flow, node, node.weight(1))


def _add_linear(flow: Flow, node: Node, weight: np.ndarray) -> None:
    if weight.ndim != 2 or weight.shape[0] != flow.shape[-1]:
        raise node.error(f"its matrix of shape {weight.shape} does not fit rows of {flow.shape[-1]} numbers")
    flow.add(layers.Linear(*weight.shape, bias=False), weight=flow.in_order(weight))
    flow.features = None


def _add_bias(flow: Flow, node: Node, bias: np.ndarray) -> None:
    """Give a bias to the last layer, a Linear without one."""
    last = flow.layers.pop()
    assert isinstance(last, layers.Linear)
    weight = flow.arrays.pop(last.weight)
    flow.shape = (*flow.shape[:-1], last.in_features)
    n = last.out_features
    if bias.shape not in ((), (1,), (n,), (1, n)):
        raise node.error(f"its bias of shape {bias.shape} is no row of {n} numbers")
    flow.add(layers.Linear(*weight.shape), weight=weight, bias=np.broadcast_to(bias.reshape(-1), (n,)))


def _operand(flow: Flow, node: Node) -> np.ndarray:
    """Return the constant of two inputs, with the shape in which it is broadcast."""
    values = node.constant(1) if node.constant(0) is None else node.constant(0)
    if values is None:
        raise node.error("none of its inputs is constant")
    if node.version >= 7:
        return values
    if node.constant(0) is not None or not node.get("broadcast", 0):
        raise node.error("before version 7 of the operator set, its second input must be constant and its broadcast 1")
    axis = node.get("axis")
    return values if axis is None else values.reshape(aligned_shape(values.shape, flow.ndim, axis))


@imports("Add")
def import_add(flow: Flow, node: Node) -> None:
    """Add the bias of a Linear, vectors of positions, one number, or the input itself."""
    if node.inputs[:1] == node.inputs[1:]:
        _add_rescale(flow, node, 2.0, 0.0)
        return
    values, last = _operand(flow, node), flow.layers[-1] if flow.layers else None
    if type(last) is layers.Linear and last.bias is None and flow.axes[-1] == flow.ndim - 1:
        _add_bias(flow, node, values)
    elif type(last) is layers.Rescale and last.offset == 0 and (number := single_number(values)) is not None:
        flow.layers[-1] = layers.Rescale(last.scale, number)
    elif values.size > 1 and flow.is_channels_last and flow.ndim == 3 and _row_shape(values) == flow.shape:
        flow.add(layers.PositionalEmbedding(*flow.shape), weight=values.reshape(flow.shape))
    else:
        _add_rescale(flow, node, 1.0, single_number(values))


def _row_shape(values: np.ndarray) -> tuple[int, ...]:
    """Return the shape of one example, of which a constant may have the axis of the batch."""
    return values.shape[1:] if values.ndim == 3 and len(values) == 1 else values.shape


@imports("Gather")
def import_gather(flow: Flow, node: Node) -> None:
    """Make an Embedding of a constant matrix, whose rows the ids choose."""
    if node.get("axis", 0) != 0 or node.weight(0).ndim != 2 or node.constant(1) is not None:
        raise node.error("it does not take rows of a constant matrix")
    if any(not isinstance(layer, layers.Reshape) for layer in flow.layers):
        raise node.error("its ids are not those that the network takes")
    flow.need_channels_last(node)
    flow.add(layers.Embedding(*node.weight(0).shape), weight=node.weight(0))
    flow.axes = tuple(range(len(flow.shape) + 1))


@imports("Sub")
def import_sub(flow: Flow, node: Node) -> None:
    """Subtract one number, or the mean of each channel before a division."""
    values = _operand(flow, node)
    if node.constant(0) is not None:
        _add_rescale(flow, node, -1.0, single_number(values))
    elif values.shape == (flow.shape[-1],) and flow.is_channels_last and values.size > 1:
        flow.add(layers.Normalize(values.size), mean=values, std=np.ones_like(values))
    else:
        number = single_number(values)
        _add_rescale(flow, node, 1.0, None if number is None else -number)


@imports("Mul")
def import_mul(flow: Flow, node: Node) -> None:
    """Multiply by one number, or by the scale of RMSNorm."""
    values, last = _operand(flow, node), flow.layers[-1] if flow.layers else None
    aligned = flow.is_channels_last
    if aligned and type(last) is layers.RMSNorm and last.weight is None and values.shape == last._lengths:
        flow.layers[-1] = layer = layers.RMSNorm(last.normalized_shape, eps=last.eps)
        assert layer.weight is not None
        flow.arrays[layer.weight] = values
    else:
        _add_rescale(flow, node, single_number(values), 0.0)


@imports("Div")
def import_div(flow: Flow, node: Node) -> None:
    """Divide by one number, or by the standard deviation of each channel after the mean was subtracted."""
    values, last = _operand(flow, node), flow.layers[-1] if flow.layers else None
    if node.constant(0) is not None:
        raise node.error("it divides a constant")
    aligned = flow.is_channels_last and type(last) is layers.Normalize and values.shape == last.std.shape
    if aligned and isinstance(last, layers.Normalize) and np.all(flow.arrays[last.std] == 1):
        flow.arrays[last.std] = values
        return
    number = single_number(values)
    _add_rescale(flow, node, None if not number else 1.0 / number, 0.0)


@imports("Neg")
def import_neg(flow: Flow, node: Node) -> None:
    """Multiply by -1."""
    _add_rescale(flow, node, -1.0, 0.0)


def _add_rescale(flow: Flow, node: Node, scale: float | None, offset: float | None) -> None:
    if scale is None or offset is None:
        raise node.error("its constant is neither one number nor what a layer holds")
    flow.add(layers.Rescale(scale, offset))


@imports("Identity")
def import_identity(flow: Flow, node: Node) -> None:
    """Leave the value as it is."""


@imports("Cast")
def import_cast(flow: Flow, node: Node) -> None:
    """Leave the value as it is: a network has one dtype."""
    if node.get("to") not in (FLOAT32, FLOAT64):
        raise node.error("it converts to another dtype than float32 and float64")


@imports("Dropout")
def import_dropout(flow: Flow, node: Node) -> None:
    """Add a Dropout, which is active in training only."""
    ratio = node.given("ratio", 1)
    p = 0.5 if ratio is None else single_number(ratio)
    if p is None:
        raise node.error("its ratio is no number")
    flow.add(layers.Dropout(p))


@imports("Transpose")
def import_transpose(flow: Flow, node: Node) -> None:
    """Change the axes of the graph; those of PortaNet stay."""
    perm = node.get("perm") or list(reversed(range(flow.ndim)))
    axes = tuple(flow.axes[axis] for axis in perm)
    if sorted(axes) != list(range(flow.ndim)) or axes[0] != 0:
        raise node.error("it moves the axis of the batch")
    flow.axes = axes


@imports("Flatten")
def import_flatten(flow: Flow, node: Node) -> None:
    """Make a row of each example."""
    if node.get("axis", 1) not in (1, 1 - flow.ndim):
        raise node.error(f"its axis is {node.get('axis')}, not 1")
    if flow.ndim > 2 or not flow.layers:
        flow.flatten()


@imports("Squeeze")
def import_squeeze(flow: Flow, node: Node) -> None:
    """Make a row of each example, after pooling to one position."""
    axes = node.given("axes", 1)
    flow.need_channels_first(node)
    if math.prod(flow.shape[:-1]) != 1 or flow.ndim < 3:
        raise node.error("its input has more than one position")
    if axes is not None and sorted(positive_axes(axes.tolist(), flow.ndim)) != list(range(2, flow.ndim)):
        raise node.error("its axes are not those of all positions")
    flow.flatten()


@imports("Unsqueeze")
def import_unsqueeze(flow: Flow, node: Node) -> None:
    """Give rows one channel."""
    axes = node.given("axes", 1)
    if axes is None or flow.ndim != 2 or flow.features is not None or axes.tolist() not in ([1], [2], [-1]):
        raise node.error("it gives no channel to rows")
    flow.add(layers.Reshape(*flow.shape, 1))
    flow.axes = channels_first_axes(3) if axes.tolist() == [1] else (0, 1, 2)


@imports("Reshape")
def import_reshape(flow: Flow, node: Node) -> None:
    """Flatten, or give a new shape, which is taken as channels-last unless a layer needs channels-first."""
    target = node.given("shape", 1)
    if target is None:
        raise node.error("its shape is no constant")
    n_rows, *lengths = target.ravel().tolist()
    old = [flow.shape[axis - 1] for axis in flow.axes[1:]]
    if not node.get("allowzero", 0):
        lengths = [old[i] if n == 0 and i < len(old) else n for i, n in enumerate(lengths)]
    size = math.prod(old)
    if lengths.count(-1) == 1 and n_rows != -1:
        lengths[lengths.index(-1)] = size // max(1, math.prod(n for n in lengths if n != -1))
    if n_rows not in (-1, 0, flow.n_examples) or math.prod(lengths) != size:
        raise node.error(f"its shape {target.tolist()} does not keep the examples apart")
    if len(lengths) == 1:
        if flow.ndim > 2:
            flow.flatten()
        return
    if not flow.is_channels_last:
        raise node.error("its input has not the order (N, ..., C)")
    flow.add(layers.Reshape(*lengths))
    flow.axes = tuple(range(len(lengths) + 1))
