"""A value while its graph becomes layers: its shape in PortaNet, and its order of axes in the graph."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from portanet import layers
from portanet.graph.axes import channels_first_axes
from portanet.layers.base import Layer
from portanet.parameters import Buffer, Parameter
from portanet.tree import is_shape
from portanet.typing import Shape

Arrays = dict[Parameter | Buffer, np.ndarray]

Features = tuple[tuple[Shape, Shape], ...]
"""Shape and axes of each value that was flattened to rows; the rows stand side by side."""

KEEP_FEATURES = (layers.Activation, layers.Dropout)
"""Layers that compute each number by itself, so that they keep the order of features."""


def shortest(value: Any) -> float:
    """
    Return a float32 as the shortest number that rounds to it: the one that its author wrote.

    Examples
    --------
    >>> float(np.float32(0.3)), shortest(np.float32(0.3))
    (0.30000001192092896, 0.3)
    """
    return float(str(np.float32(value)))


def single_number(values: np.ndarray) -> float | None:
    """Return the number of an array of one; else None."""
    if values.size != 1:
        return None
    number = values.reshape(())
    return shortest(number) if values.dtype == np.float32 else float(number)


class NoLayer(ValueError):
    """
    A node of a graph cannot become a layer.

    Parameters
    ----------
    title : str
        Name and operator of the node.
    why : str
    """

    def __init__(self, title: str, why: str):
        super().__init__(f"{title} cannot become a layer of PortaNet: {why}")


class WrongOrder(NoLayer):
    """The input of a node has its axes in another order than the node needs."""


@dataclass(frozen=True)
class Node:
    """
    A node of the graph, with its constant inputs.

    Parameters
    ----------
    title : str
        Its name and operator, for messages.
    operator : str
        What it computes, by ONNX's name or another key of the table of importers.
    inputs, outputs : tuple of str
        Names of values.
    attributes : dict of str to object
    constants : list of arrays or None
        One for each input; None for one that depends on the input of the graph, or is left out.
    version : int
        Version of ONNX's operator set.
    """

    title: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    constants: list[np.ndarray | None]
    version: int = 21

    @property
    def varying(self) -> list[str]:
        """Names of the inputs that are not constant, in order."""
        return [name for i, name in enumerate(self.inputs) if name and self.constant(i) is None]

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute."""
        return self.attributes.get(name, default)

    def constant(self, i: int) -> np.ndarray | None:
        """Return a constant input; None if it is left out."""
        return self.constants[i] if i < len(self.constants) else None

    def given(self, name: str, i: int) -> np.ndarray | None:
        """Return an attribute of old versions that is an input of new ones."""
        value = self.attributes.get(name)
        return self.constant(i) if value is None else np.asarray(value)

    def weight(self, i: int) -> np.ndarray:
        """Return a constant input that must be there."""
        values = self.constant(i)
        if values is None:
            raise self.error(f"its input {i} is no constant")
        return values

    def error(self, why: str, kind: type[NoLayer] = NoLayer) -> NoLayer:
        """Return the error that this node cannot become a layer."""
        return kind(self.title, why)


@dataclass
class Flow:
    """
    A value on its way through the graph, and the layers that compute it.

    Parameters
    ----------
    shape : tuple of int
        Shape of one example in PortaNet.
    axes : tuple of int
        For each axis of the value in the graph, that of the value in PortaNet.
    features : tuple of pairs of tuples, optional
        Shape and axes of what was flattened to rows in another order than PortaNet's, one pair for each of several
        rows side by side; None if the orders are equal.
    n_examples : int
        Number of examples for which the graph was written; 0 for any number.
    arrays : dict of Parameter or Buffer to array
        Values of the layers, in PortaNet's order.
    layers : list of Layer
    depth : int
        Number of branches, one within the other, around the value.
    """

    shape: Shape
    axes: Shape
    features: Features | None = None
    n_examples: int = 0
    arrays: Arrays = field(default_factory=dict)
    layers: list[Layer] = field(default_factory=list)
    depth: int = 0

    def branch(self) -> "Flow":
        """Return the same value without the layers before it."""
        return replace(self, layers=[], depth=self.depth + 1)

    def add(self, layer: Layer, **arrays: np.ndarray) -> None:
        """Append a layer with its arrays, by attribute; the value is the first of several outputs."""
        shape = layer.output_shape(self.shape)
        for name, values in arrays.items():
            array = getattr(layer, name)
            if values.dtype.kind != "f":
                raise ValueError(f"{layer!r} has {name} of dtype {values.dtype}, not of floats")
            if array.shape != values.shape:
                raise ValueError(f"{layer!r} has {name} of shape {array.shape}, but the graph has {values.shape}")
            self.arrays[array] = values
        self.layers.append(layer)
        self.shape = shape if is_shape(shape) else shape[0]

    @property
    def ndim(self) -> int:
        """Number of axes of the value, with that of the batch."""
        return len(self.axes)

    @property
    def is_channels_first(self) -> bool:
        """Whether the graph has the order (N, C, ...)."""
        return self.axes == channels_first_axes(self.ndim)

    @property
    def is_channels_last(self) -> bool:
        """Whether the graph has PortaNet's order."""
        return self.axes == tuple(range(self.ndim)) and self.features is None

    def axis(self, node: Node, axis: int) -> int:
        """Return the axis in PortaNet of an axis in the graph."""
        if not -self.ndim <= axis < self.ndim:
            raise node.error(f"its axis {axis} is none of {self.ndim}")
        return self.axes[axis]

    def need_channels(self, node: Node, axis: int) -> None:
        """Refuse a node that works along another axis than that of the channels."""
        if self.axis(node, axis) != self.ndim - 1:
            raise node.error(f"axis {axis} of its input is not that of the channels")

    def need_channels_first(self, node: Node, *, n_axes: int | None = None) -> None:
        """Refuse a node whose input has not the order (N, C, ...) or has another number of spatial axes."""
        if self.ndim > 2 and self.is_channels_last:
            self._reorder_reshaped(node)
        if not self.is_channels_first or (n_axes is not None and self.ndim != n_axes + 2):
            why = f"its input is no array (N, C, ...), but has the axes {self.axes} of (N, ..., C)"
            raise node.error(why, WrongOrder)

    def need_channels_last(self, node: Node) -> None:
        """Refuse a node whose input has not the order (N, ..., C)."""
        self.need_plain_features(node)
        if not self.is_channels_last:
            raise node.error(f"its input is no array (N, ..., C), but has the axes {self.axes} of it", WrongOrder)

    def need_plain_features(self, node: Node) -> None:
        """Refuse a node that depends on the order of features, if the graph has another one than PortaNet."""
        if self.features is not None:
            raise node.error("its input was flattened in the order (C, ...), which only a Gemm or MatMul can take")

    def in_order(self, values: np.ndarray) -> np.ndarray:
        """Return numbers of the features of the graph in PortaNet's order, along the first axis."""
        if self.features is None:
            return values
        ordered, start = np.empty_like(values), 0
        for shape, axes in self.features:
            end = start + math.prod(shape)
            positions = np.arange(len(values))[start:end].reshape(shape).transpose([axis - 1 for axis in axes[1:]])
            ordered[positions.ravel()] = values[start:end]
            start = end
        return ordered

    def flatten(self) -> None:
        """Make a row of each example, in the order of the graph."""
        long = [axis for axis in self.axes if axis == 0 or self.shape[axis - 1] > 1]
        if long != sorted(long):
            self.features = ((self.shape, self.axes),)
        last = self.layers[-1] if self.layers else None
        if isinstance(last, POOLS_TO_ONE) and last.output_size == 1:
            self.layers[-1] = layers.GlobalMaxPool() if isinstance(last, MAX_POOLS) else layers.GlobalAvgPool()
            self.shape = self.shape[-1:]
        else:
            self.add(layers.Flatten())
        self.axes = (0, 1)

    def _reorder_reshaped(self, node: Node) -> None:
        """Read a Reshape to (C, ...) as one to (..., C), and put the outputs of the Linear before it in that order."""
        channels, *lengths = self.shape
        reshape, before = self._split_at_reshape(node)
        for layer in reversed(before):
            if isinstance(layer, (layers.Linear, layers.BatchNorm)):
                self._permute(layer)
            if isinstance(layer, layers.Linear):
                break
            if not isinstance(layer, (*KEEP_FEATURES, layers.BatchNorm)):
                raise node.error(f"its input comes from {layer!r}, whose outputs cannot be put in another order")
        else:
            raise node.error("its input is reshaped from the input of the graph")
        self.layers[reshape] = layers.Reshape(*lengths, channels)
        self.shape, self.axes = (*lengths, channels), channels_first_axes(self.ndim)

    def _split_at_reshape(self, node: Node) -> tuple[int, Sequence[Layer]]:
        """Return the position of the last Reshape, with activations only after it, and the layers before it."""
        for i in range(len(self.layers) - 1, -1, -1):
            if type(self.layers[i]) is layers.Reshape:
                return i, self.layers[:i]
            if not isinstance(self.layers[i], KEEP_FEATURES):
                break
        raise node.error("its input has the order (N, ..., C)")

    def _permute(self, layer: Layer) -> None:
        """Put the outputs of a layer, which are in the order (C, ...), in the order (..., C)."""
        own: list[Parameter | Buffer] = [*layer.topology.parameter_list, *layer.topology.buffers.values()]
        for array in own:
            if array.shape and array in self.arrays:
                values = self.arrays[array]
                blocks = np.moveaxis(values.reshape((*values.shape[:-1], *self.shape)), values.ndim - 1, -1)
                self.arrays[array] = blocks.reshape(values.shape)


MAX_POOLS = (layers.AdaptiveMaxPool1D, layers.AdaptiveMaxPool2D, layers.AdaptiveMaxPool3D)
AVERAGE_POOLS = (layers.AdaptiveAvgPool1D, layers.AdaptiveAvgPool2D, layers.AdaptiveAvgPool3D)
POOLS_TO_ONE = (*MAX_POOLS, *AVERAGE_POOLS)
