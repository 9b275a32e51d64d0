"""Normalization layers."""

from typing import Any

import numpy as np

from portanet import layers
from portanet.graph.flow import Flow, Node
from portanet.graph.table import imports

MAX_CHANNELS = 2**16
"""Most channels of GroupNorm: a hostile file of few bytes could ask for many."""


def _affine(flow: Flow, node: Node) -> dict[str, np.ndarray]:
    """Return the scale and the shift of the channels."""
    return {"weight": flow.in_order(node.weight(1)), "bias": flow.in_order(node.weight(2))}


@imports("BatchNormalization")
def import_batch_norm(flow: Flow, node: Node) -> None:
    """Take one minus ONNX's momentum, which is the part that is kept."""
    flow.need_channels_first(node)
    if node.get("training_mode", 0):
        raise node.error("it is in training mode")
    statistics = {"running_mean": flow.in_order(node.weight(3)), "running_var": flow.in_order(node.weight(4))}
    momentum = min(max(1 - node.get("momentum", 0.9), 1e-6), 1.0)
    layer = layers.BatchNorm(flow.shape[-1], eps=node.get("epsilon", 1e-5), momentum=round(momentum, 7))
    flow.add(layer, **_affine(flow, node), **statistics)


@imports("LayerNormalization")
def import_layer_norm(flow: Flow, node: Node) -> None:
    """Normalize over the last axes of (N, ..., C)."""
    flow.need_channels_last(node)
    lengths, bias = _normalized_shape(flow, node), node.constant(2)
    scale = node.weight(1)
    shift = np.zeros_like(scale) if bias is None else bias
    _check_lengths(node, lengths, scale, shift)
    shape = lengths if len(lengths) > 1 else lengths[0]
    flow.add(layers.LayerNorm(shape, eps=node.get("epsilon", 1e-5)), weight=scale, bias=shift)


@imports("RMSNormalization")
def import_rms_norm(flow: Flow, node: Node) -> None:
    """Normalize over the last axes of (N, ..., C)."""
    flow.need_channels_last(node)
    lengths, scale = _normalized_shape(flow, node), node.weight(1)
    _check_lengths(node, lengths, scale)
    shape = lengths if len(lengths) > 1 else lengths[0]
    flow.add(layers.RMSNorm(shape, eps=node.get("epsilon", 1e-5)), weight=scale)


def _check_lengths(node: Node, lengths: tuple[int, ...], *arrays: np.ndarray) -> None:
    """Refuse a scale or a shift that is broadcast to the normalized axes."""
    for values in arrays:
        if values.shape != lengths:
            raise node.error(f"its scale or shift has shape {values.shape}, not {lengths}")


def _normalized_shape(flow: Flow, node: Node) -> tuple[int, ...]:
    """Return the lengths of the axes from ``axis`` on."""
    axis = node.get("axis", -1)
    lengths = flow.shape[axis if axis < 0 else axis - 1 :]
    if axis == 0 or len(lengths) > len(flow.shape):
        raise node.error("it normalizes over the batch")
    return lengths


@imports("GroupNormalization")
def import_group_norm(flow: Flow, node: Node) -> None:
    """Repeat the scale and the shift of a group for its channels: before version 21, a group has one of each."""
    flow.need_channels_first(node)
    flow.need_plain_features(node)
    n_groups, n_channels = node.get("num_groups"), flow.shape[-1]
    arrays: dict[str, Any] = {"weight": node.weight(1), "bias": node.weight(2)}
    if n_channels > MAX_CHANNELS:
        raise node.error(f"its input has {n_channels} channels")
    if node.version < 21:
        arrays = {name: np.repeat(values, n_channels // n_groups) for name, values in arrays.items()}
    flow.add(layers.GroupNorm(n_groups, n_channels, eps=node.get("epsilon", 1e-5)), **arrays)


@imports("InstanceNormalization")
def import_instance_norm(flow: Flow, node: Node) -> None:
    """Normalize each channel over the positions."""
    flow.need_channels_first(node)
    flow.add(layers.InstanceNorm(flow.shape[-1], eps=node.get("epsilon", 1e-5), affine=True), **_affine(flow, node))
