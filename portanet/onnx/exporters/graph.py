"""The ONNX graph that an export makes: values with a shape and an order of axes, nodes, and initializers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from portanet.graph.axes import channels_first_axes, channels_last_axes
from portanet.parameters import Buffer, Parameter
from portanet.typing import Shape


@dataclass(frozen=True)
class Value:
    """
    A value of the graph.

    Parameters
    ----------
    name : str
    shape : tuple of int
        Shape of one example, channels-last, as PortaNet has it.
    is_channels_first : bool
        Whether the value in the graph has the order (N, C, ...), instead of (N, ..., C).
    """

    name: str
    shape: Shape
    is_channels_first: bool = False

    @property
    def ndim(self) -> int:
        """Number of axes in the graph, with that of the batch."""
        return len(self.shape) + 1

    @property
    def channel_axis(self) -> int:
        """The axis of the channels in the graph."""
        return 1 if self.is_channels_first else self.ndim - 1


class GraphBuilder:
    """
    Nodes and initializers, named after the layers that they come from.

    Parameters
    ----------
    names : dict of Parameter or Buffer to str
        Names of the arrays of a network.
    to_numpy : callable
        Copies an array to the host.
    dtype : str
        Dtype of the network.
    """

    def __init__(self, names: dict[Parameter | Buffer, str], to_numpy: Any, dtype: str):
        self.nodes: list[NodeProto] = []
        self.initializers: dict[str, TensorProto] = {}
        self.scope = ""
        self.dtype = dtype
        self.mask: str | None = None
        """Name of the padding mask of the layer around, see :func:`portanet.layers.padding_mask.mask_as`."""
        self._names, self._to_numpy = names, to_numpy
        self._counts: dict[str, int] = {}
        self._written: dict[tuple[Parameter | Buffer, Any], str] = {}
        self._transposed: dict[tuple[str, bool], str] = {}

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        return self.node_with_outputs(operator, *inputs, n_outputs=1, **attributes)[0]

    def node_with_outputs(self, operator: str, *inputs: str, n_outputs: int, **attributes: Any) -> list[str]:
        """Add a node and return the names of its outputs."""
        name = self._unique(f"{self.scope}.{operator}" if self.scope else operator)
        outputs = [name] if n_outputs == 1 else [f"{name}.{i}" for i in range(n_outputs)]
        self.nodes.append(helper.make_node(operator, inputs, outputs, name=name, **attributes))
        return outputs

    def _unique(self, name: str) -> str:
        """Return a name, with a number if it was taken before."""
        count = self._counts[name] = self._counts.get(name, 0) + 1
        return name if count == 1 else f"{name}.{count}"

    def constant(self, values: Any, dtype: str | None = None) -> str:
        """Add numbers, by default in the dtype of the network, and return their name."""
        array = np.asarray(values, dtype or self.dtype)
        name = self._unique(f"{self.scope}.constant" if self.scope else "constant")
        self.initializers[name] = numpy_helper.from_array(array, name)
        return name

    def integers(self, values: Any) -> str:
        """Add whole numbers, such as axes, and return their name."""
        return self.constant(values, "int64")

    def weight(self, array: Parameter | Buffer, axes: tuple[int, ...] | None = None) -> str:
        """Add a parameter or buffer once, its axes in another order, and return its name."""
        return self.arranged(lambda values: values if axes is None else values.transpose(axes), array, form=axes)

    def arranged(self, arrange: Callable[..., np.ndarray], *arrays: Parameter | Buffer, form: Any) -> str:
        """
        Add what a function computes of parameters, and return its name.

        Parameters
        ----------
        arrange : callable
            Takes the values of the parameters, and returns those of the initializer.
        *arrays : Parameter or Buffer
            The initializer is named after the first one.
        form : object
            Tells functions apart: parameters in one form are written once.
        """
        first = arrays[0]
        name = self._written.get((first, form))
        if name is None:
            name = self._written[first, form] = self._unique(self._names[first])
            values = arrange(*(self._to_numpy(array.data) for array in arrays))
            self.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name

    def first(self, value: Value) -> str:
        """Return the name of a value in the order (N, C, ...)."""
        return self.in_order(value, channels_first=True)

    def last(self, value: Value) -> str:
        """Return the name of a value in the order (N, ..., C)."""
        return self.in_order(value, channels_first=False)

    def rename(self, old: str, new: str) -> None:
        """Give a value that a node returns another name."""
        for node in self.nodes:
            for names in (node.input, node.output):
                names[:] = [new if name == old else name for name in names]

    def in_order(self, value: Value, *, channels_first: bool) -> str:
        """Return the name of a value in one of both orders; a transposition is added once."""
        if value.ndim < 3 or value.is_channels_first == channels_first:
            return value.name
        if (value.name, channels_first) not in self._transposed:
            axes_in_order = channels_first_axes if channels_first else channels_last_axes
            name = self.node("Transpose", value.name, perm=axes_in_order(value.ndim))
            self._transposed[value.name, channels_first] = name
        return self._transposed[value.name, channels_first]
