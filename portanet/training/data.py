"""The data of ``fit``: checked once before the first step, divided into batches, with a weight for each example."""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from portanet import layers
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
from portanet.layers import AutoEncoder, Layer, Sequential
from portanet.losses import (
    BCELoss,
    BCEWithLogitsLoss,
    ClassificationLoss,
    CrossEntropyLoss,
    GaussianNLLLoss,
    KLDivLoss,
    Loss,
    NLLLoss,
    SoftMarginLoss,
)
from portanet.losses.classification import check_class_weight
from portanet.losses.elementwise import ElementwiseLoss
from portanet.typing import Array

UNFIT = {
    (layers.Softmax, CrossEntropyLoss): "CrossEntropyLoss takes logits: leave out the last Softmax",
    (layers.Sigmoid, CrossEntropyLoss): "CrossEntropyLoss takes logits: leave out the last Sigmoid",
    (layers.Sigmoid, BCEWithLogitsLoss): "BCEWithLogitsLoss takes logits: leave out the last Sigmoid, or use BCELoss",
    (layers.Softmax, NLLLoss): "NLLLoss takes log-probabilities: use LogSoftmax, or CrossEntropyLoss without Softmax",
    (layers.Linear, BCELoss): "BCELoss takes probabilities: end with Sigmoid, or use BCEWithLogitsLoss",
    (layers.Linear, NLLLoss): "NLLLoss takes log-probabilities: end with LogSoftmax, or use CrossEntropyLoss",
    (layers.Softmax, KLDivLoss): "KLDivLoss takes log-probabilities: end with LogSoftmax",
    (layers.Linear, KLDivLoss): "KLDivLoss takes log-probabilities: end with LogSoftmax",
    (layers.Sigmoid, SoftMarginLoss): "SoftMarginLoss takes logits: leave out the last Sigmoid",
}
"""Last layers that do not fit a loss, and what to do."""


HOST = np.ndarray, SparseRows
"""Types of data that stay on the host."""

FINITE_CHUNK = 2**20
"""Numbers that are checked at a time, where data stay on the host."""

MERGE_ROWS, MERGE_NUMBERS = 2**12, 2**19
"""Most examples, and most numbers, in which :func:`warn_if_merged` looks for different ones that become equal."""


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
    given_x = _examples(f"{name}x", x, net.backend)
    given_y = _examples(f"{name}y", host_array(y, name=f"{name}y") if is_sparse(y) else y, net.backend)
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
    if not (xp.isdtype(x.dtype, "real floating") or (takes_integers(net) and xp.isdtype(x.dtype, "integral"))):
        raise ValueError(
            f"{name}x has dtype {x.dtype}: begin the network with Rescale() or Normalize(), or give x.astype('float32')"
        )
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


def takes_integers(net: Layer) -> bool:
    """Whether the first layer of a network converts integers."""
    return first_layer(net).takes_integers


def first_layer(net: Layer) -> Layer:
    """
    Return the layer that takes the input.

    Examples
    --------
    >>> first_layer(portanet.Sequential(portanet.Sequential(portanet.Normalize(4)), portanet.ReLU()))
    Normalize(4)
    """
    while isinstance(net, Sequential) and len(net):
        net = net[0]
    return net


def _is_finite(xp: Any, values: Array, dtype: str) -> bool:
    """Whether all values are finite in a dtype, seen in parts, so that host data need no array of their size."""
    rows = max(1, FINITE_CHUNK // max(1, math.prod(values.shape[1:]))) if isinstance(values, HOST) else None
    parts, most = slices(values.shape[0], rows or max(1, values.shape[0])), float(np.finfo(dtype).max)
    wider = values.dtype == xp.float64 and dtype == "float32"
    return all(
        bool(xp.all(xp.abs(values[part, ...]) <= most if wider else xp.isfinite(values[part, ...]))) for part in parts
    )


def _weights(name: str, net: Layer, x: Array, sample_weight: Any) -> Array:
    weights = _examples(name, sample_weight, net.backend)
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
        None if a is None and name != "x" else a.tocsr() if is_sparse(a) else _examples(name, a)
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


def _examples(name: str, values: Any, backend: Backend | None = None) -> Array:
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


def warn_if_unfit(net: Layer, loss: Loss, data: Data) -> None:
    """Warn where nothing is trained, the last layer does not fit the loss, or probabilities do not sum to 1."""
    if not net.topology.trainable and net.n_parameters:
        warnings.warn("all parameters are frozen: training changes none of them", UserWarning, stacklevel=4)
    fix = UNFIT.get((type(_last_layer(net)), type(loss))) or _unfit_values(net, loss, data)
    if fix is not None:
        warnings.warn(fix, UserWarning, stacklevel=4)
    if isinstance(loss, ClassificationLoss) and data.y.ndim == 1 + len(net.output_shape(data.x.shape[1:])):
        xp = namespace(data.y)
        off = float(xp.max(xp.abs(xp.sum(data.y, axis=-1) - 1.0)))
        if off > 1e-3:
            warnings.warn(
                f"the rows of y are probabilities of classes, but their sums differ from 1 by up to {off:.3g}",
                UserWarning,
                stacklevel=4,
            )


def warn_if_merged(net: Layer, loss: Loss, x: Any, y: Any) -> None:
    """Warn where different numbers of the first examples, such as times in seconds, become one in the net's dtype."""
    for name, given in (("x", x), ("y", y)):
        values, dtype = _examples(name, given, net.backend), net.flat.dtype
        xp = namespace(values)
        if values.dtype == getattr(xp, dtype) or (name == "y" and isinstance(loss, ClassificationLoss)):
            continue
        rows = values[: min(MERGE_ROWS, max(2, MERGE_NUMBERS // max(1, math.prod(values.shape[1:])))), ...]
        pair = _merged(xp, xp.reshape(rows, (rows.shape[0], -1)), getattr(xp, dtype))
        if pair is not None:
            fix = "subtract an offset and scale them" + (", or use float64" if dtype == "float32" else "")
            warnings.warn(
                f"{name} holds different numbers that are equal in {dtype}, such as {pair[0]} and {pair[1]}: {fix}",
                UserWarning,
                stacklevel=4,
            )


def _merged(xp: Any, columns: Array, dtype: Any) -> tuple[float, float] | None:
    """
    Return two numbers of a column that become equal in a dtype, if more than 1 % of its different numbers do.

    Single random numbers may do so without harm.

    Examples
    --------
    >>> _merged(np, np.asarray([[16777216], [16777217], [16777218]]), np.float32)
    (16777216, 16777217)
    """
    if 0 in columns.shape or xp.isdtype(columns.dtype, "bool"):
        return None
    low, high = xp.min(columns, axis=0), xp.max(columns, axis=0)
    first, last = xp.astype(low, xp.float64), xp.astype(high, xp.float64)
    largest = xp.maximum(xp.abs(first), xp.abs(last))
    narrow = (last - first < 0.02 * largest) | (largest < xp.finfo(dtype).smallest_normal)
    for i in np.flatnonzero(backend_of(narrow).to_numpy(narrow & (low != high))):
        values = xp.sort(xp.unique_values(columns[:, int(i)]))
        rounded = xp.astype(values, dtype)
        equal = xp.astype(rounded[1:] == rounded[:-1], xp.int32)
        if int(xp.sum(equal)) > 0.01 * equal.shape[0]:
            at, number = int(xp.argmax(equal)), int if xp.isdtype(columns.dtype, "integral") else float
            return number(values[at]), number(values[at + 1])
    return None


def _unfit_values(net: Layer, loss: Loss, data: Data) -> str | None:
    """Say what is wrong with predictions that are no probabilities or variances where the loss takes them."""
    if not isinstance(loss, (BCELoss, NLLLoss, KLDivLoss, GaussianNLLLoss)):
        return None
    prediction = net.forward(data.batch(net, slice(0, min(2, data.x.shape[0]))).x)
    xp = namespace(prediction)
    low, high = float(xp.min(prediction)), float(xp.max(prediction))
    if isinstance(loss, BCELoss) and not 0 <= low <= high <= 1:
        return f"BCELoss takes probabilities, but predictions reach from {low:.3g} to {high:.3g}: end with Sigmoid"
    if isinstance(loss, (NLLLoss, KLDivLoss)) and high > 0:
        name = type(loss).__name__
        return f"{name} takes log-probabilities, but predictions reach {high:.3g}: end with LogSoftmax"
    if isinstance(loss, GaussianNLLLoss):
        lowest = float(xp.min(prediction[..., prediction.shape[-1] // 2 :]))
        if lowest < 0:
            return f"GaussianNLLLoss takes variances, but those predicted reach {lowest:.3g}: let Softplus compute them"
    return None


def _last_layer(net: Layer) -> Layer:
    while isinstance(net, (Sequential, AutoEncoder)):
        if isinstance(net, AutoEncoder):
            net = net.decoder
        elif rest := [layer for layer in net if not isinstance(layer, layers.Dropout)]:  # inference drops nothing
            net = rest[-1]
        else:
            break
    return net
