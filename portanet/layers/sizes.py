"""
Layers that may be made without their input size, such as ``Linear(100)``.

``net.build(shape)`` or the first data set it. Until then the layer holds a placeholder of the smallest valid size,
which checks its other arguments, and the network has no weights.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, Self

from portanet.checks import check_input_shape
from portanet.layers.placement import Placement
from portanet.layers.topology import changed
from portanet.typing import Shape, Shapes


class LazyBuild(Placement):
    """The part of :class:`portanet.Layer` that finds input sizes."""

    input_size_argument: ClassVar[str | None] = None
    """The argument of the constructor that is the length of the last axis of the input, for layers that have one."""

    input_size_multiple_of: ClassVar[str | None] = None
    """Another argument, of which the input size must be a multiple."""

    if TYPE_CHECKING:  # what Layer has

        def arguments(self) -> dict[str, Any]: ...
        def output_shape(self, shape: Shape) -> Shape: ...
        def _children_with_shapes(self, shape: Shape) -> Iterator[tuple[str, "LazyBuild", Shape]]: ...

    def __init_subclass__(cls, **kwargs: Any):
        """Let a class that names its input size be called without it."""
        super().__init_subclass__(**kwargs)
        if cls.input_size_argument is not None and "__init__" in vars(cls):
            cls.__init__ = _optional_size(cls.__init__, cls.input_size_argument)  # type: ignore[method-assign]
        if cls.input_size_argument is not None and "output_shape" in vars(cls):
            cls.output_shape = _of_any_size(cls.output_shape)  # type: ignore[method-assign]

    def build(self, input_shape: Shapes) -> Self:
        """
        Give the layers that were made without an input size theirs.

        Parameters
        ----------
        input_shape : tuple of int
            Shape of one input, without the batch axis; for several inputs, a tuple or dict of shapes.

        Raises
        ------
        ValueError
            If the layers do not fit inputs of this shape; the network is as before.

        Examples
        --------
        >>> net = portanet.Sequential(portanet.Conv2D(8, 3), portanet.Flatten(), portanet.Linear(10))
        >>> net
        Sequential(Conv2D(8, 3), Flatten(), Linear(10))
        >>> net.build((28, 28, 1))
        Sequential(Conv2D(1, 8, 3), Flatten(), Linear(5408, 10))
        """
        shape = check_input_shape("input_shape", input_shape)
        with unchanged_on_error(self):
            self._infer_sizes(shape)
            self.output_shape(shape)
            if left := self.topology.unsized:
                raise ValueError(f"{left[0]!r} lies in a layer that does not say the shape of its input: give its size")
        return self

    def _arguments_for(self, shape: Shapes) -> dict[str, Any]:
        """Return the arguments of the constructor, with the input size for an input of a shape, or the first input."""
        while shape and isinstance(shape[0], tuple):
            shape = shape[0]
        if not shape:
            raise ValueError(f"{self!r} takes its input size from x of shape (N, ..., C), got (N,)")
        return self.arguments() | {str(self.input_size_argument): shape[-1]}

    def _infer_sizes(self, shape: Shape) -> None:
        if self._unsized:
            arguments = self._arguments_for(shape)
            _reset(self, {"_frozen": self._frozen})
            type(self).__init__(self, **arguments)
        for _, child, inner_shape in self._children_with_shapes(shape):
            child._infer_sizes(inner_shape)


class UnbuiltLayers:
    """
    Remembers which layers of a network have no input size yet, so that a failed build or fit can be undone.

    Examples
    --------
    >>> net = portanet.Sequential(portanet.Linear(2))
    >>> before = UnbuiltLayers(net)
    >>> net.build((3,))
    Sequential(Linear(3, 2))
    >>> before.restore()
    >>> net
    Sequential(Linear(2))
    """

    def __init__(self, net: LazyBuild):
        self.net = net
        self.unsized = [(layer, dict(vars(layer))) for layer in net.topology.unsized]

    def restore(self) -> None:
        """Take the sizes away again, and the weights of the layers that have got them."""
        for layer, attributes in self.unsized:
            _reset(layer, attributes)
        if self.unsized:
            object.__setattr__(self.net, "_flat", None)


@contextmanager
def unchanged_on_error(net: LazyBuild) -> Iterator[None]:
    """
    If there is an error within, take away the input sizes and weights that a network got there.

    Examples
    --------
    >>> net = portanet.Sequential(portanet.Linear(2))
    >>> try:
    ...     with unchanged_on_error(net):
    ...         _ = net.build((3,)).initialize()
    ...         raise OSError
    ... except OSError:
    ...     print(net)
    Sequential(Linear(2))
    """
    before, topology = UnbuiltLayers(net), net.topology
    parameters = [parameter for parameter in topology.parameter_list if parameter.flat is None]
    buffers = [buffer for buffer in topology.buffers.values() if buffer.backend is None]
    try:
        yield
    except BaseException:
        for parameter in parameters:
            parameter.unbind()
        for buffer in buffers:
            buffer.backend = None
        before.restore()
        raise


def _reset(layer: LazyBuild, attributes: dict[str, Any]) -> None:
    """Replace all attributes of a layer."""
    vars(layer).clear()
    vars(layer).update(attributes)
    changed()


def _of_any_size(output_shape: Callable[..., Shape]) -> Callable[..., Shape]:
    """Return the method for a layer that may have no input size yet: it answers for the size of the input."""

    @wraps(output_shape)
    def for_input(self: LazyBuild, shape: Shape) -> Shape:
        if not self._unsized:
            return output_shape(self, shape)
        return type(self)(**self._arguments_for(shape)).output_shape(shape)

    return for_input


def _optional_size(init: Callable[..., None], size: str) -> Callable[..., None]:
    """Return a constructor that may be called without one of its positional arguments, the input size."""
    _, *parameters = inspect.signature(init).parameters.values()
    names = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    others = [name for name in names if name != size]
    if size not in names:  # a subclass with other arguments
        return init

    @wraps(init)
    def optional(self: LazyBuild, *args: Any, **kwargs: Any) -> None:
        left_out = size not in kwargs and len(args) + len(kwargs.keys() & set(names)) == len(others)
        given = dict(zip(others if left_out else names, args, strict=False))
        if len(given) < len(args) or given.keys() & kwargs.keys():
            init(self, *args, **kwargs)  # Python says what is wrong
        arguments = {**given, **kwargs}
        if not left_out and arguments.get(size, 0) is not None:
            init(self, **arguments)
            return
        if size not in inspect.signature(type(self)).parameters:
            raise TypeError(f"{type(self).__name__} must pass on {size}: its own arguments do not name it")
        least = arguments.get(str(self.input_size_multiple_of), 1)
        init(self, **{**arguments, size: least if isinstance(least, int) and least > 0 else 1})
        self._unsized = True

    return optional
