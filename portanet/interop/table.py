"""The table of builders, and what they know of the value that a layer takes."""

from collections.abc import Callable
from dataclasses import dataclass, field
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
    kept : Parameter or Buffer
    module : torch.nn.Module
    name : str
        Attribute of the module. ``module.to`` replaces the tensors of buffers, so that these are not kept.
    split : tuple of int
        Shape that the array is given before its axes are put in another order.
    axes : tuple of int
        The axes of the tensor before it gets its own shape.
    """

    kept: Parameter | Buffer
    module: Any
    name: str
    split: Shape
    axes: Shape

    @property
    def tensor(self) -> Any:
        """The tensor."""
        return getattr(self.module, self.name)

    @property
    def part(self) -> Any:
        """What the array is of the tensor: all of it."""
        return self.tensor

    def to_torch(self, values: np.ndarray) -> np.ndarray:
        """Return the array in PyTorch's order."""
        return values.reshape(self.split).transpose(self.axes).reshape(tuple(self.part.shape))

    def from_torch(self, values: np.ndarray) -> np.ndarray:
        """Return the tensor in PortaNet's order."""
        shape, inverse = [self.split[axis] for axis in self.axes], np.argsort(self.axes)
        return values.reshape(shape).transpose(inverse).reshape(self.kept.shape)


@dataclass(frozen=True)
class PaddedBinding(Binding):
    """The vectors of an Embedding: that of ``padding_idx`` is zero in PyTorch."""

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
    """A module, whether its input has positions and how it was flattened, and the context after it."""

    module: Any
    before: tuple[bool, int | None]
    after: tuple[int | None, int | None, int | None]


@dataclass
class Context:
    """
    What is known of a value while modules are built.

    Parameters
    ----------
    nn : module
        ``torch.nn``.
    ndim : int or None
        Number of its axes, with that of the batch; None if it is not known.
    channels : int or None
        Number of its channels.
    is_input : bool
        Whether it is the input of the network, up to activations.
    flattened : int or None
        Number of channels that the rows had before they were flattened in PyTorch's order.
    bindings : list of Binding
    modules : dict of int to Built
        What layers with parameters became, by their id: a layer that is used twice is one module.
    """

    nn: Any
    ndim: int | None = None
    channels: int | None = None
    flattened: int | None = None
    is_input: bool = False
    bindings: list[Binding] = field(default_factory=list)
    modules: dict[int, Built] = field(default_factory=dict)

    def bind(self, layer: Layer, module: Any, **axes: Shape) -> None:
        """Bind the arrays of a layer to the tensors of the same names; ``axes`` gives their orders."""
        names = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked", "mean", "std")
        for name in names:
            kept = getattr(layer, name, None)
            if isinstance(kept, (Parameter, Buffer)) and getattr(module, name, None) is not None:
                order = axes.get(name, tuple(range(len(kept.shape))))
                self.bindings.append(Binding(kept, module, name, kept.shape, order))

    def around(self, module: Any) -> Any:
        """Return a module that takes (N, ..., C) as one that takes (N, C, ...)."""
        from portanet.interop import torch_modules

        return torch_modules.ChannelsLast(module) if self.ndim is not None and self.ndim > 2 else module

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
    module = builder(context, layer)
    if layer.topology.parameter_list:
        after = context.ndim, context.channels, context.flattened
        context.modules[id(layer)] = Built(module, before, after)
    return module
