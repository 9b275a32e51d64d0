"""What is allowed but hardly meant: warnings about data, the first and the last layer, and the loss."""

import math
import warnings
from typing import Any

import numpy as np

from portanet import layers
from portanet.backends import backend_of, namespace
from portanet.layers import AutoEncoder, Graph, Layer, Normalize, Rescale, Sequential
from portanet.layers.sequential import first_layer
from portanet.losses import (
    BCELoss,
    BCEWithLogitsLoss,
    ClassificationLoss,
    CrossEntropyLoss,
    GaussianNLLLoss,
    KLDivLoss,
    Loss,
    MultiOutputLoss,
    NLLLoss,
    SoftMarginLoss,
)
from portanet.training.data import Data, examples
from portanet.tree import is_tree, named_leaves
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

MERGE_ROWS, MERGE_NUMBERS = 2**12, 2**19
"""Most examples, and most numbers, in which :func:`warn_if_merged` looks for different ones that become equal."""


def warn_if_unfit(net: Layer, loss: Loss, data: Data) -> None:
    """Warn where nothing is trained, the last layer does not fit the loss, or probabilities do not sum to 1."""
    if not net.topology.trainable and net.n_parameters:
        warnings.warn("all parameters are frozen: training changes none of them", UserWarning, stacklevel=4)
    texts = [UNFIT.get((type(layer), type(own))) for layer, own in _ends(net, loss)]
    if not (loss.takes_several or is_tree(data.x)):
        texts = [_unfit_inputs(net, data), *(texts if any(texts) else [_unfit_values(net, loss, data)])]
    for text in texts:
        if text is not None:
            warnings.warn(text, UserWarning, stacklevel=4)
    if loss.takes_several or is_tree(data.x):
        return
    if isinstance(loss, ClassificationLoss) and data.y.ndim == 1 + len(net.output_shape(data.input_shape)):
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
    inputs = named_leaves("x", x) if net._accepts_several() else [("x", x)]
    for name, given in inputs if loss.takes_several else (*inputs, ("y", y)):
        values, dtype = examples(name, given, net.backend), net.flat.dtype
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


def _unfit_inputs(net: Layer, data: Data) -> str | None:
    """Say what is wrong with inputs that are scaled twice, or not at all."""
    first = first_layer(net)
    if not isinstance(first, (Normalize, Rescale)):
        return None
    x = data.batch(net, slice(0, min(32, data.n_examples))).x
    xp = namespace(x)
    largest = float(xp.max(xp.abs(x))) if math.prod(x.shape) else 0.0
    if isinstance(first, Rescale):
        twice = xp.isdtype(x.dtype, "real floating") and 0 < largest <= 1 and first.scale == 1 / 255
        return f"inputs reach {largest:.3g}, but Rescale takes pixels from 0 to 255: leave it out" if twice else None
    adapted = bool(xp.any(first.mean.data != 0)) or bool(xp.any(first.std.data != 1))
    fix = "call its adapt(x) before fit"
    return None if adapted or largest < 10 else f"Normalize knows no mean, but inputs reach {largest:.3g}: {fix}"


def _unfit_values(net: Layer, loss: Loss, data: Data) -> str | None:
    """Say what is wrong with predictions that are no probabilities or variances where the loss takes them."""
    if not isinstance(loss, (BCELoss, NLLLoss, KLDivLoss, GaussianNLLLoss)):
        return None
    prediction = net.forward(data.batch(net, slice(0, min(2, data.n_examples))).x)
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


def _ends(net: Layer, loss: Loss) -> list[tuple[Layer, Loss]]:
    """Return the last layer before each output, with the loss of this output."""
    last = _last_layer(net)
    if not isinstance(last, Graph):
        return [(last, loss)]
    losses = loss.of_output if isinstance(loss, MultiOutputLoss) else {last.outputs: loss}
    given = {gives: layer for layer, _, gives in last.nodes}
    return [(_last_layer(given[name]), own) for name, own in losses.items() if name in given]


def _last_layer(net: Layer) -> Layer:
    while isinstance(net, (Sequential, AutoEncoder)):
        if isinstance(net, AutoEncoder):
            net = net.decoder
        elif rest := [layer for layer in net if not isinstance(layer, layers.Dropout)]:  # inference drops nothing
            net = rest[-1]
        else:
            break
    return net
