"""Loss and metrics: by name, of a batch, and averaged over batches."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from portanet import metrics as functions
from portanet.backends import backend_of, namespace
from portanet.checks import as_number, shown
from portanet.distributed import Communicator, Local
from portanet.layers.base import Layer
from portanet.layers.shard import Shard, current_shard
from portanet.losses import ClassificationLoss, Loss, MultiOutputLoss
from portanet.names import our_name
from portanet.training.callbacks import Logs
from portanet.training.data import Data
from portanet.tree import n_examples, tree_leaves, tree_map, tree_unflatten
from portanet.typing import Array

ALONE = Local()
"""The communicator of a process alone."""

Metric: TypeAlias = Callable[[Array, Array], Array | float]

NAMES: dict[str, Any] = {
    "accuracy": functions.accuracy,
    "binary_accuracy": functions.binary_accuracy,
    "top_k_accuracy": functions.top_k_accuracy,
    "perplexity": functions.perplexity,
    "mean_squared_error": functions.mean_squared_error,
    "mse": functions.mean_squared_error,
    "mean_absolute_error": functions.mean_absolute_error,
    "mae": functions.mean_absolute_error,
    "r2_score": functions.r2_score,
    "r2": functions.r2_score,
    "psnr": functions.psnr,
    "roc_auc_score": functions.roc_auc_score,
    "roc_auc": functions.roc_auc_score,
}
"""Metrics that can be given by name; "accuracy" is the one that fits the loss."""

NAMES_OF_PREDICTION: dict[Any, str] = {functions.r2_score: "y_pred", functions.roc_auc_score: "y_score"}
"""Metrics with keyword-only arguments, as scikit-learn names them, and the name of the prediction."""


def resolve(metrics: str | Metric | Sequence[str | Metric] | Mapping[Any, Any], loss: Loss) -> dict[str, Metric]:
    """
    Return metrics by name; each name differs from all others and from "loss".

    Under a :class:`portanet.MultiOutputLoss`, metrics are a dict with the names of outputs, and each has its own.

    Under a loss of yes-or-no outputs, accuracy and binary accuracy use the loss's threshold: 0 for logits, 0.5 for
    probabilities. Under a loss with an ``ignore_index``, accuracy, top-k accuracy and perplexity leave its labels out.

    Raises
    ------
    ValueError
        If a name is unknown, missing or used twice.
    """
    if isinstance(loss, MultiOutputLoss):
        return _resolve_outputs(metrics, loss)
    if isinstance(metrics, str) or callable(metrics):
        metrics = [metrics]
    if not isinstance(metrics, (Mapping, Sequence)):
        raise TypeError(f"metrics must be a list or mapping of names or functions, got {metrics!r}")
    pairs = list(metrics.items()) if isinstance(metrics, Mapping) else [(_name(m), m) for m in metrics]
    names = ["loss", *(name for name, _ in pairs)]
    for name, metric in pairs:
        if not isinstance(name, str) or not name.isidentifier() or names.count(name) > 1:
            raise ValueError(
                f"metric {metric!r} needs a name of its own, got {name!r}: give a mapping, {{'name': metric}}"
            )
        if name in ("epoch", "lr") or name.startswith("val_"):
            raise ValueError(f"metric {metric!r} is named {name!r}, which the history uses itself: give another name")
    return {name: _function(metric, loss) for name, metric in pairs}


def _resolve_outputs(metrics: Any, loss: MultiOutputLoss) -> dict[str, Metric]:
    """
    Return the metrics of each output, such as ``label_accuracy``; "loss" is the output's own loss.

    Examples
    --------
    >>> loss = MultiOutputLoss({"copy": portanet.MSELoss(), "label": portanet.CrossEntropyLoss()})
    >>> [*_resolve_outputs({"copy": "loss", "label": ["loss", "accuracy"]}, loss)]
    ['copy_loss', 'label_loss', 'label_accuracy']
    """
    found: dict[str, Metric] = {}
    if not isinstance(metrics, Mapping):
        if metrics:
            raise ValueError(f"metrics must be a dict with the names of outputs, got {shown(metrics)}")
        return found
    losses = loss.of_output
    for output, own in metrics.items():
        if output not in losses:
            outputs = ", ".join(map(str, losses))
            raise ValueError(f"metrics names {shown(output)}, which is no output of the loss: choose among {outputs}")
        listed = [own] if isinstance(own, str) or callable(own) else own
        if not isinstance(listed, (Mapping, Sequence)):
            raise TypeError(f"metrics[{output!r}] must be names or functions, got {shown(own)}")
        named = {"loss": losses[output]} if not isinstance(listed, Mapping) and "loss" in listed else {}
        rest = listed if isinstance(listed, Mapping) else [metric for metric in listed if metric != "loss"]
        for name, metric in {**named, **resolve(rest, losses[output])}.items():
            of_output: Any = partial(_of_output, metric, output)
            summed = isinstance(metric, Loss) and (metric.weighs_terms or metric.reduction == "sum")
            of_output.needs_all = summed or (not isinstance(metric, Loss) and needs_all(metric))
            full_name = f"{output}_{name}" if isinstance(output, str) else f"output{output}_{name}"
            if full_name in found or full_name.startswith("val_"):
                raise ValueError(f"metric {name!r} of output {output!r} has the name {full_name!r}, which is taken")
            found[full_name] = of_output
    return found


def _of_output(metric: Metric, output: Any, prediction: Any, target: Any) -> Any:
    return metric(prediction[output], target[output])


def _name(metric: Any) -> str:
    return metric if isinstance(metric, str) else str(getattr(metric, "__name__", ""))


def _function(metric: Any, loss: Loss) -> Any:
    if isinstance(metric, str):
        if metric not in NAMES:
            known = our_name(metric, NAMES)
            advice = f"it is called {known} here" if known else f"choose one of {', '.join(NAMES)}, or give a function"
            raise ValueError(f"metric {metric!r} is unknown: {advice}")
        metric = _accuracy(loss) if metric == "accuracy" else NAMES[metric]
    if not callable(metric):
        raise TypeError(f"metric must be a name or a function, got {metric!r}")
    if metric is functions.binary_accuracy and loss.threshold is not None:
        return partial(functions.binary_accuracy, threshold=loss.threshold)
    ignored = getattr(loss, "ignore_index", None)
    if ignored is not None and metric in (functions.accuracy, functions.top_k_accuracy, functions.perplexity):
        counted: Any = partial(metric, ignore_index=ignored)
        counted.needs_all = True  # batches of equal size may differ in the number of labels that count
        return counted
    if metric in tuple(NAMES_OF_PREDICTION):  # a metric may not be hashable
        by_keyword: Any = partial(_call_by_keyword, metric)
        by_keyword.needs_all = metric.needs_all
        return by_keyword
    return metric


def _call_by_keyword(metric: Any, prediction: Array, target: Array) -> Any:
    return metric(y_true=target, **{NAMES_OF_PREDICTION[metric]: prediction})


def _accuracy(loss: Loss) -> Metric:
    if loss.threshold is not None:
        return functions.binary_accuracy
    if isinstance(loss, ClassificationLoss):
        return functions.accuracy
    raise ValueError(f"'accuracy' does not fit {loss!r}: name accuracy or binary_accuracy of portanet as a function")


def needs_all(metric: Metric) -> bool:
    """Whether a metric is no mean over the examples, as functions of the user's own may be."""
    function = getattr(metric, "func", metric)
    ours = getattr(function, "__module__", "").startswith("portanet.")
    return bool(getattr(metric, "needs_all", getattr(function, "needs_all", not ours)))


class Scorer:
    """
    The numbers of each batch, in a row of a table, and their averages.

    A row holds the loss, the sum of the weights if batches of equal size may differ in it, and the metrics. For metrics
    that are no means over batches (``needs_all``), the predictions and targets of the epoch are kept instead.

    Parameters
    ----------
    loss : Loss
    metrics : dict of str to callable
    has_weights : bool
        Whether examples have weights.
    communicator : Communicator, optional
        Processes that share out each batch.

    Attributes
    ----------
    kept : list of tuple
        Predictions and targets of the batches of this epoch so far, for metrics that need all of them.
    """

    def __init__(
        self,
        loss: Loss,
        metrics: Mapping[str, Metric],
        *,
        has_weights: bool,
        communicator: Communicator = ALONE,
    ):
        self.communicator = communicator
        self.loss, self.names = loss, ("loss", *metrics)
        self.of_all = {name: metric for name, metric in metrics.items() if needs_all(metric)}
        self.metrics = {name: metric for name, metric in metrics.items() if name not in self.of_all}
        self.kept: list[tuple[Any, Any]] = []
        self.weighted = loss.reduction != "sum" and (has_weights or loss.weighs_terms)
        # Of several outputs whose losses weigh their terms, each has an average of its own.
        several = isinstance(loss, MultiOutputLoss) and loss.weighs_terms and loss.reduction != "sum"
        self.of_output: dict[Any, Loss] = loss.of_output if several else {}  # type: ignore[attr-defined]
        self.n_columns = 1 + self.weighted + len(self.metrics) + 2 * len(self.of_output)

    def row(self, value: Array, prediction: Array, y: Array, sample_weight: Array | None = None) -> list[Array | float]:
        """Return the numbers of a batch."""
        if self.of_all:
            pair = tree_map(_copy, prediction), tree_map(_copy, y)  # buffers are used again
            self.kept.append(pair if (shard := current_shard()) is None else self._whole(pair, shard))
        numbers: list[Any] = []
        if self.weighted:
            numbers.append(self.loss.weight_of_batch(prediction, y, sample_weight))
        numbers += [_measure(name, metric, prediction, y) for name, metric in self.metrics.items()]
        for key, loss in self.of_output.items():
            p, t = prediction[key], y[key]
            numbers += [loss.vjp(p, t, sample_weight)[0], loss.weight_of_batch(p, t, sample_weight)]
        return [value, *numbers]

    def _whole(self, pair: tuple[Any, Any], shard: Shard) -> tuple[Any, Any]:
        """Return predictions and targets of a whole batch, of which this rank has a part."""
        backend, own = (
            backend_of(tree_leaves(pair[0])[0]),
            [[backend_of(a).to_numpy(a) for a in tree_leaves(t)] for t in pair],
        )
        parts = self.communicator.all_gather(own if shard.has_examples else None, "the predictions of a batch")
        parts = [part for part in parts if part is not None]
        prediction, y = (
            tree_unflatten(
                pair[i],
                [backend.asarray(np.concatenate(arrays)) for arrays in zip(*(p[i] for p in parts), strict=True)],
            )
            for i in range(2)
        )
        return prediction, y

    def named(self, row: np.ndarray) -> Logs:
        """Return the loss and the metrics of a row by name."""
        numbers = map(float, row[1 + self.weighted : 1 + self.weighted + len(self.metrics)])
        return {"loss": float(row[0]), **dict(zip(self.metrics, numbers, strict=True))}

    def averages(self, table: np.ndarray, sizes: Sequence[int]) -> Logs:
        """Average the rows of an epoch: metrics by the sizes of the batches, the loss by its weights."""
        share = np.asarray(sizes) / sum(sizes)
        n_metrics = 1 + self.weighted + len(self.metrics)
        losses, metrics, of_output = table[:, 0], table[:, 1 + self.weighted : n_metrics], table[:, n_metrics:]
        if self.loss.reduction == "sum":
            loss = float(np.sum(losses))
        else:
            weights = table[:, 1] if self.weighted else share
            loss = _average(losses, weights)
        if self.of_output:
            columns = zip(of_output[:, 0::2].T, of_output[:, 1::2].T, strict=True)
            loss = self.loss.weighted_sum([_average(values, weights) for values, weights in columns])  # type: ignore[attr-defined]
        logs = {
            "loss": loss,
            **dict(zip(self.metrics, (share @ metrics).tolist(), strict=True)),
            **self._scores_of_all(),
        }
        return {name: logs[name] for name in self.names}

    def state_dict(self) -> list[list[Array]]:
        """Return the arrays of the predictions and targets that are kept of this epoch."""
        return [[*tree_leaves(prediction), *tree_leaves(y)] for prediction, y in self.kept]

    def _scores_of_all(self) -> Logs:
        if not self.of_all:
            return {}
        prediction, y = (tree_map(_joined, *trees) for trees in zip(*self.kept, strict=True))
        return {name: float(_measure(name, metric, prediction, y)) for name, metric in self.of_all.items()}


def evaluate(
    net: Layer,
    loss: Loss,
    metrics: Mapping[str, Metric],
    batches: Iterable[Data],
    *,
    has_weights: bool,
    communicator: Communicator = ALONE,
) -> Logs:
    """Return loss and metrics of inference, accumulated batch by batch over the batches of all ranks."""
    scorer = Scorer(loss, metrics, has_weights=has_weights, communicator=communicator)
    rows: list[list[float]] = []
    sizes: list[int] = []
    for x, y, sample_weight in batches:
        prediction = Layer._infer(net, x)
        row = scorer.row(loss(prediction, y, sample_weight), prediction, y, sample_weight)
        rows.append([float(number) for number in row])
        sizes.append(n_examples(x))
    if communicator.size > 1:
        kept = [tuple(tree_map(_on_host, tree) for tree in pair) for pair in scorer.kept]
        of_ranks = communicator.all_gather((rows, sizes, kept), "the scores of evaluate")
        rows, sizes, kept = ([one for of_rank in of_ranks for one in of_rank[i]] for i in range(3))
        scorer.kept = kept
    return scorer.averages(np.asarray(rows), sizes)


def check_metrics(net: Layer, metrics: Mapping[str, Metric], data: Data, batch_size: int) -> None:
    """
    Try metrics on the first batch, so that one that does not fit fails before training.

    Raises
    ------
    TypeError
        If a metric returns something else than a number.
    """
    if not metrics:
        return
    x, y, _ = data.batch(net, slice(0, min(batch_size, data.n_examples)))
    prediction = net.forward(x)
    for name, metric in metrics.items():
        _measure(name, metric, prediction, y)


def _measure(name: str, metric: Metric, prediction: Array, y: Array) -> Any:
    """Return an array of shape () or a number; an error names the metric."""
    try:
        value = metric(prediction, y)
    except Exception as error:
        error.add_note(f"raised by metric {name!r}")
        raise
    if getattr(value, "shape", None) == ():
        return value
    if (number := int(value) if isinstance(value, bool) else as_number(value)) is None:
        raise TypeError(f"metric {name!r} must return a number or an array of shape (), got {shown(value)}")
    return float(number)


def _average(values: np.ndarray, weights: np.ndarray) -> float:
    """Return the weighted average; 0 where all weights are 0."""
    return float(weights @ values) / (float(np.sum(weights)) or 1.0)


def _copy(array: Array) -> Array:
    return namespace(array).asarray(array, copy=True)


def _joined(*arrays: Array) -> Array:
    return namespace(arrays[0]).concat(arrays, axis=0)


def _on_host(array: Array) -> np.ndarray:
    return backend_of(array).to_numpy(array)
