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
from portanet.layers.sequential import first_layer
from portanet.losses import (
    Loss,
)
from portanet.losses.classification import check_class_weight
from portanet.losses.elementwise import ElementwiseLoss
from portanet.typing import Array

HOST = np.ndarray, SparseRows
"""Types of data that stay on the host."""

FINITE_CHUNK = 2**20
"""Numbers that are checked at a time, where data stay on the host."""


class Data(NamedTuple):
    """Inputs, targets, and weights of the examples if there are any."""

    x: Array
    y: Array
    sample_weight: Array | None = None

    @property
    def arrays(self) -> tuple[Array, ...]:
        """All arrays there are."""
        return (self.x, self.y) if self.sample_weight is None else (self.x, self.y, self.sample_weight)

    def take(self, rows: slice | np.ndarray) -> "Data":
        """Return some of the examples."""
        return Data(*(take_rows(array, rows) for array in self.arrays))

    def batches(self, net: Layer, batch_size: int) -> "Iterator[Data]":
        """Yield all examples in their order, some at a time, on the network's device."""
        return (self.batch(net, rows) for rows in slices(self.x.shape[0], batch_size))

    def batch(self, net: Layer, batch: slice) -> "Data":
        """Return some of the examples, on the network's device."""
        return Data(*map(net.asarray, self.take(batch).arrays))


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
    given_x = examples(f"{name}x", x, net.backend)
    given_y = examples(f"{name}y", host_array(y, name=f"{name}y") if is_sparse(y) else y, net.backend)
    x, y = given_x, given_y
    on_host = isinstance(x, HOST) and isinstance(y, np.ndarray)
    sparse = isinstance(x, SparseRows)  # it stays on the host, since it may be too large as a dense array
    stays = on_host and (sparse or keep_on_host != "never")
    if not stays or (keep_on_host == "if too large" and not sparse and net.backend.fits(x.nbytes + y.nbytes)):
        x, y = net.asarray(x, name=f"{name}x"), net.asarray(y, name=f"{name}y")
    xp = namespace(x)
    for kind, values, given in (("x", x, given_x), ("y", y, given_y)):
        if xp.isdtype(values.dtype, "real floating") and not _is_finite(xp, values, net.flat.dtype):
            if _is_finite(namespace(given), given, "float64"):
                fix = "scale them, or use float64"
                raise ValueError(f"{name}{kind} holds numbers too large for {net.flat.dtype}: {fix}")
            raise ValueError(f"{name}{kind} holds NaN or infinity: remove or replace these values")
    _check_dtype(first_layer(net), xp, x, f"{name}x")
    if x.shape[0] == 0:
        raise ValueError(f"{name}x holds no examples: its shape is {x.shape}")
    if y.shape[0] != x.shape[0]:
        raise ValueError(f"{name}y holds {y.shape[0]} examples and {name}x {x.shape[0]}: give as many")
    try:
        shape = net.output_shape(x.shape[1:])
        loss.check_target(xp, y, (x.shape[0], *shape))
    except ValueError as error:
        raise ValueError(f"{name}data do not fit: {error}") from None
    if isinstance(loss, ElementwiseLoss) and y.ndim == len(shape):
        y = y[..., None]  # the losses take (N,) for outputs (N, 1); metrics do not
    return Data(x, y, None if sample_weight is None else _weights(f"{name}sample_weight", net, x, sample_weight))


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
    shape = net.output_shape(tuple(data.x.shape[1:]))
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
    arrays: list[Any] = [
        None if a is None and name != "x" else a.tocsr() if is_sparse(a) else examples(name, a)
        for name, a in zip(("x", "y", "sample_weight"), data, strict=False)
    ]
    n = arrays[0].shape[0]
    end = n - round(n * validation_split)
    if not 0 < end < n:
        raise ValueError(f"validation_split must leave examples in both parts, got {validation_split} of {n} examples")
    return (
        tuple(None if a is None else a[:end, ...] for a in arrays),
        tuple(None if a is None else a[end:, ...] for a in arrays),
    )


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
