"""The data of ``fit``: checked once before the first step, divided into batches, with a weight for each example."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from portanet.backends import (
    Backend,
    SparseRows,
    as_array,
    backend_of,
    cast,
    host_array,
    is_sparse,
    namespace,
    take_rows,
)
from portanet.checks import check_sample_weight
from portanet.kernels.slices import slices
from portanet.layers import Embedding, Layer
from portanet.layers.base import check_rows_of, one_or_several
from portanet.layers.graph import first_layers
from portanet.losses import (
    Loss,
)
from portanet.losses.classification import check_class_weight
from portanet.tree import (
    input_shape_of,
    is_shape,
    is_tree,
    map_shapes,
    n_examples,
    named_leaves,
    tree_leaves,
    tree_unflatten,
)
from portanet.typing import Array, Shapes

HOST = np.ndarray, SparseRows
"""Types of data that stay on the host."""

FINITE_CHUNK = 2**20
"""Numbers that are checked at a time, where data stay on the host."""


class Data(NamedTuple):
    """
    Inputs, targets, and weights of the examples if there are any.

    x and y are arrays, or trees of arrays, see :mod:`portanet.tree`.
    """

    x: Any
    y: Any
    sample_weight: Array | None = None

    @property
    def n_examples(self) -> int:
        """How many there are."""
        return n_examples(self.x)

    @property
    def input_shape(self) -> Shapes:
        """Shape of one input, without the batch axis."""
        return input_shape_of(self.x)

    @property
    def arrays(self) -> tuple[Array, ...]:
        """All arrays there are."""
        weights = [] if self.sample_weight is None else [self.sample_weight]
        return (*tree_leaves(self.x), *tree_leaves(self.y), *weights)

    def like(self, arrays: Sequence[Array]) -> "Data":
        """Return data of the same structure with other arrays."""
        if len(arrays) < 4 and not (is_tree(self.x) or is_tree(self.y)):
            return Data(*arrays)
        n_x, n = len(tree_leaves(self.x)), len(tree_leaves(self.x)) + len(tree_leaves(self.y))
        return Data(tree_unflatten(self.x, arrays[:n_x]), tree_unflatten(self.y, arrays[n_x:n]), *arrays[n:])

    def first_positions(self, length: int) -> "Data":
        """Return the beginnings of sequences."""
        n = len(tree_leaves(self.x)) + len(tree_leaves(self.y))
        return self.like([a[:, :length, ...] if i < n else a for i, a in enumerate(self.arrays)])

    def take(self, rows: slice | np.ndarray) -> "Data":
        """Return some of the examples."""
        return self.like([take_rows(array, rows) for array in self.arrays])

    def batches(self, net: Layer, batch_size: int) -> "Iterator[Data]":
        """Yield all examples in their order, some at a time, on the network's device."""
        return (self.batch(net, rows) for rows in slices(self.n_examples, batch_size))

    def batch(self, net: Layer, batch: slice) -> "Data":
        """Return some of the examples, on the network's device."""
        return self.like([net.asarray(array) for array in self.take(batch).arrays])


def prepare_data(
    net: Layer,
    loss: Loss,
    x: Any,
    y: Any,
    sample_weight: Any = None,
    *,
    name: str = "",
    keep_on_host: Literal["never", "if too large", "always"] = "never",
) -> Data:
    """
    Bring data to the device and check them, as a step must not: a check reads values back.

    Parameters
    ----------
    net : Layer
    loss : Loss
        The data must fit both.
    x, y : array_like, N of each
    sample_weight : array_like, shape (N,), optional
    name : str
        Precedes "x" and "y" in messages.
    keep_on_host : {"never", "if too large", "always"}
        Whether host data stay there, to be copied batch by batch.

    Raises
    ------
    ValueError
        If they are unfit; the message names which, and the fix.

    Examples
    --------
    >>> net = portanet.Linear(2, 1).initialize()
    >>> data = prepare_data(net, portanet.MSELoss(), [[1.0, 2.0]], [[0.5]])
    >>> data.x.dtype
    dtype('float32')
    >>> prepare_data(net, portanet.MSELoss(), [[1.0, np.nan]], [[0.5]])
    Traceback (most recent call last):
    ...
    ValueError: x holds NaN or infinity: remove or replace these values
    """
    x = in_order(one_or_several(f"{name}x", x, several=net._accepts_several()))
    y = in_order(one_or_several(f"{name}y", y, several=loss.takes_several))
    inputs = [(own, examples(own, values, net.backend)) for own, values in named_leaves(f"{name}x", x)]
    targets = [(own, _targets(own, values, net.backend)) for own, values in named_leaves(f"{name}y", y)]
    given, n = [array for _, array in (*inputs, *targets)], check_rows_of(f"{name}x", [array for _, array in inputs])
    sparse = isinstance(given[0], SparseRows)  # it stays on the host, since it may be too large as a dense array
    stays = all(isinstance(array, HOST) for array in given) and (sparse or keep_on_host != "never")
    if stays and keep_on_host == "if too large" and not sparse:
        stays = not net.backend.fits(sum(array.nbytes for array in given))
    arrays = given if stays else [net.asarray(array, name=own) for own, array in (*inputs, *targets)]
    for (own, before), array in zip((*inputs, *targets), arrays, strict=True):
        _check_values(own, before, array, net.flat.dtype)
    for (own, _), array, first in zip(inputs, arrays, first_layers(net, x), strict=False):
        _check_dtype(first, namespace(array), array, own)
    if n == 0:
        raise ValueError(f"{name}x holds no examples: its shape is {given[0].shape}")
    for own, array in targets:
        if array.shape[0] != n:
            raise ValueError(f"{own} holds {array.shape[0]} examples and {name}x {n}: give as many")
    data = Data(tree_unflatten(x, arrays[: len(inputs)]), tree_unflatten(y, arrays[len(inputs) :]))
    try:
        shape = map_shapes(lambda one: (n, *one), net.output_shape(data.input_shape))
        if not loss.takes_several and not is_shape(shape):
            raise ValueError(f"net has several outputs, but {loss!r} takes one: use portanet.MultiOutputLoss")
        loss.check_target(namespace(arrays[0]), data.y, shape)
    except ValueError as error:
        raise ValueError(f"{name}data do not fit: {error}") from None
    weights = None if sample_weight is None else _weights(f"{name}sample_weight", net, arrays[0], sample_weight)
    return Data(data.x, loss.fit_target(data.y, shape), weights)


def in_order(tree: Any) -> Any:
    """
    Return a dict with its keys in order, so that all batches hold their arrays in one order.

    Examples
    --------
    >>> in_order({"b": 1, "a": 2})
    {'a': 2, 'b': 1}
    """
    return {key: tree[key] for key in sorted(tree, key=str)} if isinstance(tree, dict) else tree


def _targets(name: str, y: Any, backend: Backend) -> Array:
    return examples(name, host_array(y, name=name) if is_sparse(y) else y, backend)


def _check_values(name: str, given: Array, array: Array, dtype: str) -> None:
    """Refuse values that are not finite in the network's dtype."""
    xp = namespace(array)
    if xp.isdtype(array.dtype, "real floating") and not _is_finite(xp, array, dtype):
        if _is_finite(namespace(given), given, "float64"):
            raise ValueError(f"{name} holds numbers too large for {dtype}: scale them, or use float64")
        raise ValueError(f"{name} holds NaN or infinity: remove or replace these values")


def _check_dtype(first: Layer, xp: Any, x: Array, name: str) -> None:
    """Refuse inputs that the first layer does not take."""
    integers = xp.isdtype(x.dtype, "integral")
    if isinstance(first, Embedding):
        if not integers:
            raise ValueError(f"{name} has dtype {x.dtype}, but {first!r} takes integers: give {name}.astype('int64')")
        first.check_ids(x)
    elif not (xp.isdtype(x.dtype, "real floating") or (first.takes_integers and integers)):
        raise ValueError(
            f"{name} has dtype {x.dtype}: begin the network with Rescale() or Normalize(), or give x.astype('float32')"
        )


def _is_finite(xp: Any, values: Array, dtype: str) -> bool:
    """Whether all values are finite in a dtype, seen in parts, so that host data need no array of their size."""
    rows = max(1, FINITE_CHUNK // max(1, math.prod(values.shape[1:]))) if isinstance(values, HOST) else None
    parts, most = slices(values.shape[0], rows or max(1, values.shape[0])), float(np.finfo(dtype).max)
    wider = values.dtype == xp.float64 and dtype == "float32"
    return all(
        bool(xp.all(xp.abs(values[part, ...]) <= most if wider else xp.isfinite(values[part, ...]))) for part in parts
    )


def _weights(name: str, net: Layer, x: Array, sample_weight: Any) -> Array:
    weights = examples(name, sample_weight, net.backend)
    flat = net.flat
    if isinstance(x, HOST) and not isinstance(flat.data, np.ndarray):  # the data stay on the host
        weights = cast(np.asarray(backend_of(weights).to_numpy(weights)), flat.dtype, name=name)
    else:
        weights = flat.backend.asarray(weights, flat.dtype, name=name)
    check_sample_weight(namespace(weights), name, weights, x.shape[0])
    return weights


def apply_class_weight(
    net: Layer,
    data: Data,
    class_weight: Mapping[int, float] | Sequence[float] | None,
) -> Data:
    """
    Multiply the weight of each example with that of its class.

    Raises
    ------
    ValueError
        If the targets are not classes, or a class is not known.
    """
    if class_weight is None:
        return data
    if is_tree(data.y):
        raise ValueError("class_weight needs one target, but y has several: give their losses a weight for each class")
    shape = net.output_shape(data.input_shape)
    xp, y = namespace(data.y), data.y
    n_classes, fits = shape[-1], len(shape) == 1
    if fits and (n_classes == 1 or y.ndim == 2):
        p = xp.reshape(xp.astype(y, xp.float64), (y.shape[0], n_classes))
        fits = bool(xp.all((p == 0) | (p == 1))) and (n_classes == 1 or bool(xp.all(xp.sum(p, axis=-1) == 1)))
        y = xp.argmax(p, axis=-1) if n_classes > 1 else xp.astype(p[:, 0] > 0.5, xp.int64)
        n_classes = max(2, n_classes)
    if not fits:
        raise ValueError(
            "class_weight needs one class for each example: class indices (N,), one-hot rows (N, C), or 0 and 1"
        )
    values = check_class_weight("class_weight", class_weight, n_classes)
    y = xp.where((y >= 0) & (y < n_classes), y, 0)  # the weight of a label that the loss ignores has no influence
    dtype = net.flat.dtype
    host = cast(np.asarray(values), dtype, name="class_weight")[np.asarray(backend_of(y).to_numpy(y))]
    if not host.any():
        raise ValueError("class_weight leaves no example with a weight above 0")
    weights = host if isinstance(y, np.ndarray) else net.asarray(host)
    if data.sample_weight is not None:
        weights = data.sample_weight * weights
    check_sample_weight(namespace(weights), "class_weight times sample_weight", weights, weights.shape[0])
    return data._replace(sample_weight=weights)


def hold_out(data: tuple[Any, ...], validation_split: float) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """
    Divide arrays into their first part for training and their last part for validation, as Keras does.

    Examples
    --------
    >>> hold_out((np.arange(5), None), 0.4)
    ((array([0, 1, 2]), None), (array([3, 4]), None))
    """
    given = [
        None if values is None and name != "x" else [_rows(*leaf) for leaf in named_leaves(name, values)]
        for name, values in zip(("x", "y", "sample_weight"), data, strict=False)
    ]
    n = check_rows_of("x, y and sample_weight", [array for own in given for array in own or []])
    end = n - round(n * validation_split)
    if not 0 < end < n:
        raise ValueError(f"validation_split must leave examples in both parts, got {validation_split} of {n} examples")

    def part(rows: slice) -> tuple[Any, ...]:
        pairs = zip(data, given, strict=False)
        return tuple(None if own is None else tree_unflatten(tree, [a[rows, ...] for a in own]) for tree, own in pairs)

    return part(slice(0, end)), part(slice(end, n))


def _rows(name: str, values: Any) -> Any:
    return values.tocsr() if is_sparse(values) else examples(name, values)


def examples(name: str, values: Any, backend: Backend | None = None) -> Array:
    """Return host data as a NumPy array and a device array unchanged; ``backend`` refuses arrays of other devices."""
    values = as_array(values, name=name) if backend is None else backend.check_rows(values, name=name)
    if values.ndim == 0:
        raise ValueError(f"{name} is a single number: give an array with one row an example")
    return values


def batch_slices(net: Layer, n: int, batch_size: int) -> list[slice]:
    """
    Return the slice of each batch; examples that are left over join the batch before where a layer needs more of them.

    Examples
    --------
    >>> batch_slices(portanet.Linear(2, 2), 7, 3)
    [slice(0, 3, None), slice(3, 6, None), slice(6, 7, None)]
    >>> batch_slices(portanet.BatchNorm(2), 7, 3)
    [slice(0, 3, None), slice(3, 7, None)]
    """
    batches = list(slices(n, batch_size))
    least = max((layer.min_batch for layer in (net, *net.topology.layers.values()) if not layer.frozen), default=1)
    if batch_size >= least and len(batches) > 1 and batches[-1].stop - batches[-1].start < least:
        batches.pop()
        batches[-1] = slice(batches[-1].start, n)
    return batches
