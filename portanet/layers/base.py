"""What every layer is: a function with a pullback, and parameters by name."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial, wraps
from os import PathLike
from typing import Any, ClassVar, TypeAlias

import numpy as np

from portanet.backends import SparseRows, as_array, describe, is_sparse, like, namespace
from portanet.checks import check_count, isdtype, shown
from portanet.config import Configured
from portanet.files import write_tensors
from portanet.kernels.slices import slices
from portanet.layers.html import network_html
from portanet.layers.placement import DERIVED
from portanet.layers.sizes import LazyBuild
from portanet.layers.summary import table
from portanet.layers.topology import members
from portanet.saving import describe_network
from portanet.tree import (
    is_shape,
    is_tree,
    map_shapes,
    named_leaves,
    shape_of,
    tree_leaves,
    tree_map,
    tree_unflatten,
)
from portanet.typing import Array, Pullback, Shape, Shapes


def _layer_by_layer(layer: "Layer", x: Array) -> Array:
    with layer.backend.activate():
        return layer.forward(x)


Vjp: TypeAlias = Callable[..., tuple[Array, Pullback]]


def _with_checked_pullback(vjp: Vjp) -> Vjp:
    """Return a vjp whose pullbacks compare the shape of dy with that of y: a wrong one may broadcast silently."""

    @wraps(vjp)
    def checked_vjp(self: "Layer", x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        y, pullback = vjp(self, x, train=train)
        shape = getattr(y, "shape", None)

        def checked_pullback(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            if shape is None:
                _check_gradients(dy, y)
            elif getattr(dy, "shape", None) != shape:
                raise ValueError(f"dy must be an array of the output's shape {tuple(shape)}, got {shown(dy)}")
            return pullback(dy, need_dx=need_dx, need_grads=need_grads)

        return y, checked_pullback

    return checked_vjp


def _check_gradients(dy: Any, y: Any) -> None:
    """Refuse gradients that are not those of several outputs."""
    if type(dy) is not type(y) or not is_tree(dy) or shape_of(dy) != shape_of(y):
        raise ValueError(f"dy must have the structure and shapes of the outputs, {shape_of(y)}, got {shown(dy)}")


class Layer(LazyBuild, Configured):
    """
    Base of layers and networks.

    A layer writes :meth:`vjp`, and :meth:`output_shape` where it changes the shape. It keeps each argument of its
    constructor in an attribute of the same name; parameters, buffers and inner layers are found among its attributes
    and in lists, tuples and dicts of them.

    Examples
    --------
    A layer of one's own, ready to train, save and load:

    >>> class Scale(portanet.Layer):
    ...     def __init__(self, features):
    ...         self.features = features
    ...         self.weight = portanet.Parameter((features,), portanet.initializers.ones)
    ...
    ...     def vjp(self, x, *, train=True):
    ...         w = self.weight.data
    ...
    ...         def pullback(dy, *, need_dx=True, need_grads=True):
    ...             if need_grads:
    ...                 self.weight.accumulate(portanet.namespace(x).sum(x * dy, axis=0))
    ...             return dy * w if need_dx else None
    ...
    ...         return x * w, pullback
    >>> portanet.testing.check_gradients(Scale(3), np.ones((2, 3)))

    What every layer and network can do:

    >>> net = portanet.Sequential(portanet.Linear(3, 2), portanet.Softmax())
    >>> net.initialize(seed=1, dtype="float64")
    Sequential(Linear(3, 2), Softmax())
    >>> net.n_parameters, {name: values.shape for name, values in net.get_weights().items()}
    (8, {'0.weight': (3, 2), '0.bias': (2,)})
    >>> net.to("cpu", dtype="float32").predict(np.zeros((2, 3)))
    array([[0.5, 0.5],
           [0.5, 0.5]], dtype=float32)
    >>> net.summary((3,))
       layer         output shape  parameters
    -----------------------------------------
    0  Linear(3, 2)  (2,)                   8
    1  Softmax()     (2,)                   0
    -----------------------------------------
    total                                   8
    """

    min_batch: ClassVar[int] = 1
    """Fewest examples of a batch that it can be trained on."""

    takes_several: ClassVar[bool] = False
    """Whether it may take a tuple or dict of arrays, see :class:`portanet.Graph`."""

    takes_integers: ClassVar[bool] = False
    """Whether it converts integers to the network's dtype; as the first layer, it lets the network take integers."""

    _by_reference: ClassVar[bool] = True
    _infer: ClassVar[Callable[["Layer", Array], Array]] = staticmethod(_layer_by_layer)
    """How inference runs a network; the engine, which stands above the layers, puts its own in place."""

    def __init_subclass__(cls, **kwargs: Any):
        """Make the pullbacks of a class refuse gradients of another shape than the output's."""
        super().__init_subclass__(**kwargs)
        if "vjp" in vars(cls):
            cls.vjp = _with_checked_pullback(cls.vjp)  # type: ignore[method-assign]

    def arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments, by name, as they are now; an input size that is not known is None."""
        found = super().arguments()
        return {**found, str(self.input_size_argument): None} if self._unsized else found

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        """
        Return the output y for a batch x (N, ...), and the pullback of this call.

        ``pullback(dy, *, need_dx=True, need_grads=True)`` adds to the parameters' gradients and returns dx. Call it
        before parameters, x or y change; they may share memory with what it keeps. ``train=False`` differentiates
        inference: dropout and batch norm differ.
        ValueError if dy has not the shape of y.
        """
        raise NotImplementedError(
            f"{type(self).__name__} needs a method vjp(self, x, *, train=True): see portanet.Layer"
        )

    def forward(self, x: Array) -> Array:
        """Return the output of inference for a batch, keeping nothing."""
        return self.vjp(x, train=False)[0]

    def __call__(self, x: Any) -> Any:
        """
        Return the output of inference for a batch; weights that are missing are drawn from seed 0.

        Arrays must have the device and dtype of the weights. Other data, such as lists, are converted; for an array of
        another library, so is the output. A network of several inputs takes a dict or tuple of arrays.
        """
        x = one_or_several("x", x, several=self._accepts_several())
        if is_tree(x):
            self._build_for(x)
            return tree_map(partial(like, tree_leaves(x)[0]), Layer._infer(self, self.asarray(x, name="x")))
        array = as_array(x, name="x")
        if self._flat is None:
            self._build_for(array)
        if type(x) is np.ndarray or not self.topology.parameter_list or isinstance(x, self.backend.array_type):
            return Layer._infer(self, array)
        return tree_map(partial(like, x), Layer._infer(self, self.asarray(x, name="x")))

    def output_shape(self, shape: Shapes) -> Shapes:
        """
        Return the shape of one output for one input of a shape, both without the batch axis.

        For several inputs or outputs, it is a tuple or dict of shapes.
        """
        return shape

    def predict(self, x: Any, *, batch_size: int = 1000) -> Any:
        """
        Return the outputs for many inputs, ``batch_size`` at a time, in the library and on the device of the inputs.

        For data that are no array, such as lists, data frames or sparse matrices, they are a NumPy array. For several
        inputs, x is a dict or tuple of these; a network with several outputs returns a dict or tuple.
        """
        batch_size = check_count("batch_size", batch_size)
        if isinstance(x, np.ndarray) and x.ndim > 0 and x.shape[0] <= batch_size and self._is_placed(x):
            return tree_map(np.array, Layer._infer(self, x))  # a copy: the output of Flatten shares memory with x
        x = one_or_several("x", x, several=self._accepts_several())
        if self._flat is None:
            self._build_for(x)
        backend = self.backend
        inputs = [backend.check_rows(values, name=name) for name, values in named_leaves("x", x)]
        n, on_host = check_rows_of("x", inputs), isinstance(inputs[0], (np.ndarray, SparseRows))
        keep = backend.to_numpy if on_host else _unchanged

        def joined(*parts: Array) -> Any:
            # One batch is copied too: the output of Flatten, say, would share memory with x.
            return like(tree_leaves(x)[0], np.concatenate(parts) if on_host else backend.xp.concat(parts, axis=0))

        with backend.activate():
            # One batch may be empty: it gives an empty output of the right shape.
            batches = [slice(0, n)] if n <= batch_size else slices(n, batch_size)
            taken = (tree_unflatten(x, [values[rows, ...] for values in inputs]) for rows in batches)
            outputs = [tree_map(keep, Layer._infer(self, self.asarray(batch, name="x"))) for batch in taken]
            return tree_map(joined, *outputs)

    def summary(self, input_shape: Shapes) -> None:
        """
        Print layers, output shapes and numbers of parameters for one input of a shape without the batch axis.

        For several inputs, ``input_shape`` is a tuple or dict of shapes.
        """
        self.build(input_shape)
        print(table(self, input_shape))

    def _accepts_several(self) -> bool:
        """Whether x may be a tuple or dict of arrays: containers ask their first layer."""
        return self.takes_several

    def _build_for(self, x: Any) -> None:
        """Find the input sizes that are not known yet, for a batch."""
        if self.topology.unsized:
            arrays = [value if is_sparse(value) else as_array(value, name=name) for name, value in named_leaves("x", x)]
            shapes = [tuple(array.shape) for array in arrays]
            if all(shapes):
                self.build(tree_unflatten(x, [shape[1:] for shape in shapes]))

    def _repr_html_(self) -> str:
        """Return a table of the layers, for notebooks."""
        return network_html(self)

    def save(self, path: str | PathLike[str]) -> None:
        """Write architecture and weights to one safetensors file, complete or not at all; portanet.load reads it."""
        write_tensors(path, *describe_network(self))

    def _members(self) -> Iterator[tuple[str, Any]]:
        """Yield inner layers, parameters and buffers with their names."""
        for name, value in vars(self).items():
            if name not in DERIVED:
                yield from members(value, name)

    def named_children(self) -> Iterator[tuple[str, "Layer"]]:
        """Yield names and inner layers."""
        return ((name, value) for name, value in self._members() if isinstance(value, Layer))

    def _children_with_shapes(self, shape: Shape) -> Iterator[tuple[str, "Layer", Shape]]:
        """Yield inner layers with their names and the shapes of their inputs, for an input of a shape."""
        return iter(())


def _unchanged(y: Array) -> Array:
    return y


def one_or_several(name: str, values: Any, *, several: bool) -> Any:
    """
    Return several arrays where they are accepted; else a dict is refused, and a tuple of arrays is one array of rows.

    Examples
    --------
    >>> one_or_several("x", (np.zeros(2), np.ones(2)), several=False)
    array([[0., 0.],
           [1., 1.]])
    """
    if isinstance(values, dict) and not values:
        raise ValueError(f"{name} is an empty dict: give arrays by name, or one array")
    if several or not is_tree(values):
        return values
    if isinstance(values, dict):
        owner = "MultiOutputLoss" if name.endswith("y") else "Graph"
        raise ValueError(f"{name} is a dict: give an array or a list of numbers; portanet.{owner} takes several arrays")
    return as_array(values, name=name)


def check_rows_of(name: str, arrays: Sequence[Array]) -> int:
    """
    Return how many examples there are, the same number in each array.

    Examples
    --------
    >>> check_rows_of("x", [np.ones((3, 2)), np.ones(3)])
    3
    """
    if any(array.ndim == 0 for array in arrays):
        raise ValueError(f"{name} is a single number: give an array with one row an example")
    counts = [int(array.shape[0]) for array in arrays]
    if len({*counts}) > 1:
        raise ValueError(f"the arrays of {name} hold {counts} examples: give as many in each")
    return counts[0]


def input_pullback(dx: Callable[[Array], Array]) -> Pullback:
    """Return the pullback of a layer without parameters, from the function that takes dy to dx."""
    return lambda dy, *, need_dx=True, need_grads=True: dx(dy) if need_dx else None


def vjp_in_turn(
    x: Array, functions: Iterable[Callable[[Array], tuple[Array, Callable[[Array], Array]]]]
) -> tuple[Array, Pullback]:
    """Return the output of functions one after another, and the pullback; each returns y, and what takes dy to dx."""
    pullbacks = []
    for function in functions:
        x, pullback = function(x)
        pullbacks.append(pullback)

    def dx(dy: Array) -> Array:
        for pullback in reversed(pullbacks):
            dy = pullback(dy)
        return dy

    return x, input_pullback(dx)


def batch(shape: Shapes) -> str:
    """
    Write the shape of a batch of inputs, for messages.

    Examples
    --------
    >>> batch((28, 28)), batch(())
    ('(N, 28, 28)', '(N,)')
    """
    if not is_shape(shape):
        return str(map_shapes(batch, shape))
    return f"(N, {', '.join(map(str, shape))})" if shape else "(N,)"


def check_layer(name: str, layer: Any) -> Layer:
    """Refuse what is no layer, such as a class that was not called, or a list."""
    if not isinstance(layer, Layer):
        fix = "write Sequential(*layers)" if isinstance(layer, (list, tuple)) else "write Linear(3, 2) for instance"
        raise TypeError(f"{name} must be a layer, got {shown(layer)}: {fix}")
    return layer


def check_floating(layer: Layer, x: Array) -> None:
    """Refuse integers, whose sums and differences overflow silently."""
    if not isdtype(namespace(x), x.dtype, "real floating"):
        raise ValueError(f"{layer!r} needs floats, got x of dtype {x.dtype}: give x / 255 for instance")


def check_input(x: Array, weight: Array) -> None:
    """Refuse an input that is on another device than the weights, or of another dtype."""
    if type(x) is not type(weight) or x.device != weight.device:
        raise ValueError(
            f"x is on {describe(x)} but the weights are on {describe(weight)}: use net.asarray(x) or net.to(...)"
        )
    if x.dtype != weight.dtype:
        fix = "net.asarray(x)" if isdtype(namespace(x), x.dtype, "real floating") else "net.asarray(x / 255) for pixels"
        raise ValueError(f"x has dtype {x.dtype} but the weights have {weight.dtype}: use {fix}")


def check_channels(layer: Layer, shape: Shape, *channels: int) -> Shape:
    """Return the shape of an input, without the batch axis, if its last axes have these lengths."""
    if tuple(shape[-len(channels) :]) != channels:
        raise ValueError(f"{layer!r} needs x of shape (N, ..., {', '.join(map(str, channels))}), got {batch(shape)}")
    return shape


def check_spatial(layer: Layer, shape: Shape) -> None:
    """Refuse a shape, without the batch axis, that has no spatial axes, or one of length 0."""
    if len(shape) < 2:
        raise ValueError(f"{layer!r} needs x of shape (N, ..., C), got {batch(shape)}")
    if 0 in shape[:-1]:
        raise ValueError(f"{layer!r} needs x with at least one position, got {batch(shape)}: leave empty examples out")
