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
from portanet.losses import ClassificationLoss, Loss
from portanet.training.callbacks import Logs
from portanet.training.data import Data
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


def resolve(
    metrics: str | Metric | Sequence[str | Metric] | Mapping[str, str | Metric], loss: Loss
) -> dict[str, Metric]:
    """
    Return metrics by name; each name differs from all others and from "loss".

    Under a loss of yes-or-no outputs, accuracy and binary accuracy use the loss's threshold: 0 for logits, 0.5 for
    probabilities. Under a loss with an ``ignore_index``, accuracy, top-k accuracy and perplexity leave its labels out.

    Raises
    ------
    ValueError
        If a name is unknown, missing or used twice.
    """
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


def _name(metric: Any) -> str:
    return metric if isinstance(metric, str) else str(getattr(metric, "__name__", ""))


def _function(metric: Any, loss: Loss) -> Any:
    if isinstance(metric, str):
        if metric not in NAMES:
            raise ValueError(f"metric {metric!r} is unknown: choose one of {', '.join(NAMES)}, or give a function")
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


def _needs_all(metric: Metric) -> bool:
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
        self.of_all = {name: metric for name, metric in metrics.items() if _needs_all(metric)}
        self.metrics = {name: metric for name, metric in metrics.items() if name not in self.of_all}
        self._kept: list[tuple[Array, Array]] = []
        self.weighted = loss.reduction != "sum" and (has_weights or loss.weighs_terms)
        self.n_columns = 1 + self.weighted + len(self.metrics)

    def row(self, value: Array, prediction: Array, y: Array, sample_weight: Array | None = None) -> list[Array | float]:
        """Return the numbers of a batch."""
        xp = namespace(prediction)
        if self.of_all:
            pair = (xp.asarray(prediction, copy=True), xp.asarray(y, copy=True))  # buffers are used again
            self._kept.append(pair if (shard := current_shard()) is None else self._whole(pair, shard))
        numbers: list[Any] = []
        if self.weighted:
            # Only the number of terms counts here, one for each example: a constant factor cancels in the average.
            terms = prediction[..., 0] if prediction.ndim > 1 else prediction
            numbers.append(self.loss.normalizer(xp, terms, y, sample_weight))
        numbers += [_measure(name, metric, prediction, y) for name, metric in self.metrics.items()]
        return [value, *numbers]

    def _whole(self, pair: tuple[Array, Array], shard: Shard) -> tuple[Array, Array]:
        """Return predictions and targets of a whole batch, of which this rank has a part."""
        backend = backend_of(pair[0])
        parts = self.communicator.all_gather(
            [backend.to_numpy(array) for array in pair] if shard.has_examples else None, "the predictions of a batch"
        )
        whole = [np.concatenate(arrays) for arrays in zip(*(part for part in parts if part is not None), strict=True)]
        return backend.asarray(whole[0]), backend.asarray(whole[1])

    def named(self, row: np.ndarray) -> Logs:
        """Return the loss and the metrics of a row by name."""
        return {"loss": float(row[0]), **dict(zip(self.metrics, map(float, row[1 + self.weighted :]), strict=True))}

    def averages(self, table: np.ndarray, sizes: Sequence[int]) -> Logs:
        """Average the rows of an epoch: metrics by the sizes of the batches, the loss by its weights."""
        share = np.asarray(sizes) / sum(sizes)
        losses, metrics = table[:, 0], table[:, 1 + self.weighted :]
        if self.loss.reduction == "sum":
            loss = float(np.sum(losses))
        else:
            weights = table[:, 1] if self.weighted else share
            loss = float(weights @ losses) / (float(np.sum(weights)) or 1.0)
        logs = {
            "loss": loss,
            **dict(zip(self.metrics, (share @ metrics).tolist(), strict=True)),
            **self._scores_of_all(),
        }
        return {name: logs[name] for name in self.names}

    def state_dict(self) -> list[list[Array]]:
        """Return the predictions and targets that are kept of this epoch."""
        return [list(pair) for pair in self._kept]

    def load_state_dict(self, state: Sequence[Sequence[Array]]) -> None:
        """Go on from what :meth:`state_dict` returned, or from nothing, with an empty list, in a new epoch."""
        self._kept = [(prediction, y) for prediction, y in state]

    def _scores_of_all(self) -> Logs:
        if not self.of_all:
            return {}
        prediction, y = (namespace(arrays[0]).concat(arrays, axis=0) for arrays in zip(*self._kept, strict=True))
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
        sizes.append(x.shape[0])
    if communicator.size > 1:
        kept = [tuple(backend_of(array).to_numpy(array) for array in pair) for pair in scorer.state_dict()]
        of_ranks = communicator.all_gather((rows, sizes, kept), "the scores of evaluate")
        rows, sizes, kept = ([one for of_rank in of_ranks for one in of_rank[i]] for i in range(3))
        scorer.load_state_dict(kept)
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
    x, y, *_ = data.batch(net, slice(0, min(batch_size, data.x.shape[0]))).arrays
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
