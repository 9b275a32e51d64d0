"""Activations."""

import math
from collections.abc import Callable

import numpy as np

from portanet import layers
from portanet.graph.flow import Flow, Node, single_number
from portanet.graph.table import Importer, imports

ACTIVATIONS: dict[str, Callable[[Node], layers.Layer]] = {
    "Relu": lambda node: layers.ReLU(),
    "LeakyRelu": lambda node: layers.LeakyReLU(node.get("alpha", 0.01)),
    "Elu": lambda node: layers.ELU(node.get("alpha", 1.0)),
    "Celu": lambda node: layers.CELU(node.get("alpha", 1.0)),
    "Gelu": lambda node: layers.GELU(approximate=node.get("approximate", "none") == "tanh"),
    "HardSwish": lambda node: layers.Hardswish(),
    "Mish": lambda node: layers.Mish(),
    "Sigmoid": lambda node: layers.Sigmoid(),
    "Softplus": lambda node: layers.Softplus(),
    "Tanh": lambda node: layers.TanH(),
}
"""The layer of each operator that works on each number by itself."""


def _elementwise(make: Callable[[Node], layers.Layer]) -> Importer:
    return lambda flow, node: flow.add(make(node))


for _operator, _make in ACTIVATIONS.items():
    imports(_operator)(_elementwise(_make))


@imports("Selu")
def import_selu(flow: Flow, node: Node) -> None:
    """Refuse other constants than those of the paper."""
    if not math.isclose(node.get("alpha", 1.67326), 1.67326, rel_tol=1e-4):
        raise node.error(f"its alpha is {node.get('alpha')}, not 1.67326")
    if not math.isclose(node.get("gamma", 1.0507), 1.0507, rel_tol=1e-4):
        raise node.error(f"its gamma is {node.get('gamma')}, not 1.0507")
    flow.add(layers.SELU())


@imports("Swish")
def import_swish(flow: Flow, node: Node) -> None:
    """Refuse another alpha than 1."""
    if node.get("alpha", 1.0) != 1.0:
        raise node.error(f"its alpha is {node.get('alpha')}, not 1")
    flow.add(layers.SiLU())


@imports("Clip")
def import_clip(flow: Flow, node: Node) -> None:
    """Clip to a range, or to numbers from 0 on."""
    limits = [node.given("min", 1), node.given("max", 2)]
    low, high = (None if limit is None else single_number(limit) for limit in limits)
    if (low, high) == (0.0, 6.0):
        flow.add(layers.ReLU6())
    elif low is not None and high is not None:
        flow.add(layers.Hardtanh(low, high))
    elif (low, high) == (0.0, None):
        flow.add(layers.ReLU())
    else:
        raise node.error(f"its range, from {low} to {high}, is open")


@imports("PRelu")
def import_prelu(flow: Flow, node: Node) -> None:
    """Take one slope, or one for each channel."""
    slope = node.weight(1)
    if node.version < 7 and slope.ndim == 1:
        slope = slope.reshape(-1, *(1,) * (flow.ndim - 2))
    if slope.size > 1:  # it broadcasts from the last axis on
        lengths = (1,) * (flow.ndim - slope.ndim) + slope.shape
        axis = int(np.argmax(lengths))
        flow.need_channels(node, axis)
        if slope.size != lengths[axis]:
            raise node.error(f"its slopes have shape {slope.shape}")
    flow.add(layers.PReLU(slope.size), weight=flow.in_order(slope.reshape(-1)) if slope.size > 1 else slope.reshape(1))


def _check_softmax_axis(flow: Flow, node: Node) -> None:
    if node.version < 13 and flow.ndim > 2:
        raise node.error("before version 13 of the operator set, it takes several axes as one")
    flow.need_channels(node, node.get("axis", -1))


@imports("Softmax")
def import_softmax(flow: Flow, node: Node) -> None:
    """Normalize over the channels."""
    _check_softmax_axis(flow, node)
    flow.add(layers.Softmax())


@imports("LogSoftmax")
def import_log_softmax(flow: Flow, node: Node) -> None:
    """Normalize over the channels."""
    _check_softmax_axis(flow, node)
    flow.add(layers.LogSoftmax())
