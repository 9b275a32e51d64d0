"""The table of builders, which make the PyTorch module of a layer, and what they share."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from portanet.checks import shown
from portanet.layers.base import Layer
from portanet.parameters import Buffer, Parameter
from portanet.typing import Shape


@dataclass(frozen=True)
class Binding:
    """
    An array of a layer and the tensor of its module.

    Parameters
    ----------
    array : Parameter or Buffer
    module : torch.nn.Module
    name : str
        Attribute of the module. Stored instead of the tensor, because ``module.to()`` replaces buffers.
    split : tuple of int
        Shape to which the array is reshaped before it is transposed.
    axes : tuple of int
        Permutation of these axes; the result is reshaped to the shape of the tensor.
    """

    array: Parameter | Buffer
    module: Any
    name: str
    split: Shape
    axes: Shape

    @property
    def tensor(self) -> Any:
        """The tensor of the module."""
        return getattr(self.module, self.name)

    @property
    def part(self) -> Any:
        """The part of the tensor that the array is bound to; here, the whole tensor."""
        return self.tensor

    def to_torch(self, values: np.ndarray) -> np.ndarray:
        """Return the array in PyTorch's order."""
        return values.reshape(self.split).transpose(self.axes).reshape(tuple(self.part.shape))

    def from_torch(self, values: np.ndarray) -> np.ndarray:
        """Return the tensor in PortaNet's order."""
        shape, inverse = [self.split[axis] for axis in self.axes], np.argsort(self.axes)
        return values.reshape(shape).transpose(inverse).reshape(self.array.shape)

    def with_outputs(self, shape: Shape) -> "Binding":
        """Return the binding whose last axis, of a shape (..., C), has the order (C, ...) in PyTorch."""
        first = len(self.split) - 1
        last = first + len(shape) - 1
        axes = last, *range(first, last), *self.axes[1:]
        return replace(self, split=(*self.split[:-1], *shape), axes=axes)


@dataclass(frozen=True)
class PaddedBinding(Binding):
    """The vectors of an Embedding; the one of ``padding_idx`` is zero in PyTorch."""

    def from_torch(self, values: np.ndarray) -> np.ndarray:
        if np.any(values[self.module.padding_idx]):
            row = self.module.padding_idx
            raise ValueError(f"the vector of padding_idx={row} is not zero, but padding is zero here: set it to zero")
        return super().from_torch(values)

    def to_torch(self, values: np.ndarray) -> np.ndarray:
        is_padding = np.arange(len(values)) == self.module.padding_idx
        return np.where(is_padding[:, None], np.zeros_like(values), values)


@dataclass(frozen=True)
class RowsBinding(Binding):
    """An array that is some rows of a tensor."""

    rows: slice

    @property
    def part(self) -> Any:
        return self.tensor[self.rows]

    def from_torch(self, values: np.ndarray) -> np.ndarray:
        return super().from_torch(values[self.rows])


@dataclass(frozen=True)
class Built:
    """
    The module of a layer.

    Parameters
    ----------
    module : torch.nn.Module
    before : tuple
        Whether its input has positions, and the ``flattened`` of its context.
    after : tuple
        ``ndim``, ``channels`` and ``flattened`` of the context after it.
    """

    module: Any
    before: tuple[bool, int | None]
    after: tuple[int | None, int | None, int | None]


class UnknownAxesError(ValueError):
    """The module of a layer depends on the number of axes of its input, which is not known."""


@dataclass
class Context:
    """
    The value that the next layer takes, and the modules that were built so far.

    Parameters
    ----------
    torch_modules : module
        :mod:`portanet.interop.torch_modules`, which imports PyTorch.
    weights_only : bool
        Whether only the tensors of the modules matter, so that the number of axes need not be known.
    ndim : int or None
        Number of its axes, with that of the batch; None if it is not known.
    channels : int or None
        Number of its channels.
    is_input : bool
        Whether it is the input of the network, up to activations.
    flattened : int or None
        Number of channels that the rows had before they were flattened in PyTorch's order.
    shared : set of Parameter or Buffer
        Arrays of layers that are used more than once.
    bindings : list of Binding
    modules : dict of int to Built
        Modules of layers with parameters, by id of the layer: a layer that is used twice is one module.
    """

    torch_modules: Any
    weights_only: bool = False
    ndim: int | None = None
    channels: int | None = None
    flattened: int | None = None
    is_input: bool = False
    shared: set[Parameter | Buffer] = field(default_factory=set)
    bindings: list[Binding] = field(default_factory=list)
    modules: dict[int, Built] = field(default_factory=dict)

    @property
    def nn(self) -> Any:
        """``torch.nn``."""
        return self.torch_modules.nn

    @property
    def has_unknown_order(self) -> bool:
        """Whether PyTorch may flatten it in another order, which weights of the next Linear would have."""
        return self.weights_only and not self.is_input and self.ndim != 2

    def ndim_at(self, layer: Layer) -> int:
        """Return the number of axes; refuse a layer whose module depends on it, if it is not known."""
        if self.ndim is None:
            raise UnknownAxesError(f"the number of axes at {layer!r} is not known: give input_shape")
        return self.ndim

    def bind(self, layer: Layer, module: Any, **axes: Shape) -> None:
        """Bind the arrays of a layer to the tensors of the same names; ``axes`` gives their orders."""
        names = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked", "mean", "std")
        for name in names:
            array = getattr(layer, name, None)
            if isinstance(array, (Parameter, Buffer)) and getattr(module, name, None) is not None:
                order = axes.get(name, tuple(range(len(array.shape))))
                self.bindings.append(Binding(array, module, name, array.shape, order))

    def flatten(self) -> None:
        """Make it rows, in PyTorch's order."""
        self.flattened = None if self.ndim == 2 else self.channels
        self.ndim, self.channels, self.is_input = 2, None, False

    def reorder_outputs(self, arrays: set[Parameter | Buffer], shape: Shape) -> None:
        """Put the last axes of some arrays, which are reshaped to (..., C), in PyTorch's order, (C, ...)."""
        for i, binding in enumerate(self.bindings):
            if binding.array in arrays and binding.array.shape:
                self.bindings[i] = binding.with_outputs(shape)

    def around(self, module: Any) -> Any:
        """Return a module that takes (N, ..., C) as one that takes (N, C, ...)."""
        return self.torch_modules.ChannelsLast(module) if self.ndim is not None and self.ndim > 2 else module

    def of_axes(self, name: str, ndim: int) -> Any:
        """Return a class of ``torch.nn`` for the spatial axes of a value of ``ndim`` axes."""
        return getattr(self.nn, f"{name}{max(1, ndim - 2)}d")


Builder: TypeAlias = Callable[[Context, Any], Any]
"""``builder(context, layer)`` returns the module, and changes the context to that of its output."""

BUILDERS: dict[type[Layer], Builder] = {}


def builds(*kinds: type[Layer]) -> Callable[[Builder], Builder]:
    """Add a function to the table, for some classes of layers."""

    def add(builder: Builder) -> Builder:
        BUILDERS.update(dict.fromkeys(kinds, builder))
        return builder

    return add


def build(context: Context, layer: Layer) -> Any:
    """
    Return the module of a layer.

    Raises
    ------
    ValueError
        If PyTorch has none.
    """
    builder = BUILDERS.get(type(layer))
    if builder is None:
        raise ValueError(f"net cannot become a module of PyTorch: there is none for the layer {shown(layer)}")
    before = context.ndim is not None and context.ndim > 2, context.flattened
    if (known := context.modules.get(id(layer))) is not None:
        if known.before != before:
            raise ValueError(f"net uses {shown(layer)} twice, on inputs of different orders: make it two layers")
        context.ndim, context.channels, context.flattened = known.after
        return known.module
    try:
        module = builder(context, layer)
    except UnknownAxesError:
        if not context.weights_only or layer.topology.parameter_list:
            raise
        module = context.nn.Identity()
    if layer.topology.parameter_list:
        after = context.ndim, context.channels, context.flattened
        context.modules[id(layer)] = Built(module, before, after)
    return module
