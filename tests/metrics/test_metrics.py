import math
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from portanet import CrossEntropyLoss, get_backend, metrics
from portanet.backends import Backend, backend_of
from portanet.kernels import distances

rng = np.random.default_rng(0)
SCORES, LABELS = rng.normal(size=(200, 5)), rng.integers(0, 5, size=200)
PREDICTED = SCORES.argmax(axis=1)
REGRESSION = rng.normal(size=(50, 3)), rng.normal(size=(50, 3))
IMAGES = rng.integers(0, 256, size=(2, 3, 8, 8), dtype="uint8")

NAMES_OF_PREDICTION: dict[Callable[..., Any], str] = {
    metrics.confusion_matrix: "y_pred",
    metrics.precision_recall_f1: "y_pred",
    metrics.r2_score: "y_pred",
    metrics.roc_auc_score: "y_score",
}
"""Metrics with keyword-only arguments."""


def call(metric: Callable[..., Any], prediction: Any, target: Any, **options: Any) -> Any:
    if metric in NAMES_OF_PREDICTION:
        return metric(y_true=target, **{NAMES_OF_PREDICTION[metric]: prediction}, **options)
    return metric(prediction, target, **options)


@pytest.fixture(params=["indices", "one-hot"])
def target(request: pytest.FixtureRequest, backend: Backend) -> Any:
    return backend.asarray(LABELS if request.param == "indices" else np.eye(5)[LABELS])


def test_accuracy(backend: Backend, target: Any) -> None:
    expected = sklearn_metrics.accuracy_score(LABELS, PREDICTED)
    for prediction in (SCORES, PREDICTED):
        assert float(metrics.accuracy(backend.asarray(prediction), target)) == pytest.approx(expected)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_top_k_accuracy(backend: Backend, target: Any, k: int) -> None:
    expected = sklearn_metrics.top_k_accuracy_score(LABELS, SCORES, k=k)
    assert float(metrics.top_k_accuracy(backend.asarray(SCORES), target, k=k)) == pytest.approx(expected)


def test_perplexity_is_exp_of_the_cross_entropy(backend: Backend) -> None:
    loss = CrossEntropyLoss()(backend.asarray(SCORES), backend.asarray(LABELS))
    found = metrics.perplexity(backend.asarray(SCORES), backend.asarray(LABELS))
    assert float(found) == pytest.approx(np.exp(float(loss)))


def test_perplexity_of_tokens_leaves_padding_out(backend: Backend) -> None:
    scores, labels = SCORES[:12].reshape(3, 4, -1), LABELS[:12].reshape(3, 4).copy()
    labels[:, 2:] = -100
    loss = CrossEntropyLoss(ignore_index=-100)(backend.asarray(scores), backend.asarray(labels))
    found = metrics.perplexity(backend.asarray(scores), backend.asarray(labels), ignore_index=-100)
    assert float(found) == pytest.approx(np.exp(float(loss)))
    nothing = metrics.perplexity(backend.asarray(scores), backend.asarray(labels * 0 - 100), ignore_index=-100)
    assert float(nothing) == 1.0
    assert float(metrics.perplexity(backend.asarray(scores), backend.asarray(labels))) == math.inf  # -100 is no class


@pytest.mark.parametrize("loss", [87.0, 88.0, 88.5])
def test_perplexity_is_right_up_to_the_largest_number(backend: Backend, loss: float) -> None:
    logits = backend.asarray(np.asarray([[0.0, loss]], dtype="float32"))
    found = float(metrics.perplexity(logits, backend.asarray(np.asarray([0]))))
    assert found == pytest.approx(math.exp(loss), rel=1e-4)


@pytest.mark.parametrize("scale", [1e3, 1e38])
def test_perplexity_of_large_logits(backend: Backend, scale: float) -> None:
    logits = backend.asarray(scale * np.eye(5, dtype="float32")[LABELS])
    assert float(metrics.perplexity(logits, backend.asarray(LABELS))) == 1.0
    assert float(metrics.perplexity(logits, backend.asarray((LABELS + 1) % 5))) == math.inf


@pytest.mark.parametrize("dtype", ["int64", "uint8"])
def test_labels_to_ignore_do_not_count(backend: Backend, dtype: str) -> None:
    ignored = 255 if dtype == "uint8" else -100
    counted = np.arange(200) % 3 > 0
    labels = backend.asarray(np.where(counted, LABELS, ignored).astype(dtype))
    scores = backend.asarray(SCORES)
    for metric, options in ((metrics.accuracy, {}), (metrics.top_k_accuracy, {"k": 2})):
        expected = float(metric(backend.asarray(SCORES[counted]), backend.asarray(LABELS[counted]), **options))
        assert float(metric(scores, labels, ignore_index=ignored, **options)) == pytest.approx(expected)
        assert float(metric(scores, backend.asarray(LABELS), ignore_index=ignored, **options)) == pytest.approx(
            float(metric(scores, backend.asarray(LABELS), **options))
        )
        assert (
            float(metric(scores, backend.asarray(np.full(200, ignored, dtype)), ignore_index=ignored, **options)) == 0
        )


def test_confusion_matrix(backend: Backend, target: Any) -> None:
    expected = sklearn_metrics.confusion_matrix(LABELS, PREDICTED)
    for prediction in (SCORES, PREDICTED):
        counts = metrics.confusion_matrix(y_true=target, y_pred=backend.asarray(prediction))
        assert counts.device == backend.device
        np.testing.assert_array_equal(backend.to_numpy(counts), expected)


def test_precision_recall_and_f1(backend: Backend, target: Any) -> None:
    ours = metrics.precision_recall_f1(y_true=target, y_pred=backend.asarray(SCORES))
    expected = sklearn_metrics.precision_recall_fscore_support(LABELS, PREDICTED)[:3]
    np.testing.assert_allclose([backend.to_numpy(values) for values in ours], expected, rtol=1e-6)


def test_sequences_count_like_their_steps(backend: Backend) -> None:
    scores, labels = SCORES.reshape(40, 5, 5), LABELS.reshape(40, 5)
    s, y = backend.asarray(scores), backend.asarray(labels)
    expected = sklearn_metrics.accuracy_score(LABELS, PREDICTED)
    assert float(metrics.accuracy(s, y)) == pytest.approx(expected)
    expected = sklearn_metrics.top_k_accuracy_score(LABELS, SCORES, k=2)
    assert float(metrics.top_k_accuracy(s, y, k=2)) == pytest.approx(expected)
    counts = metrics.confusion_matrix(y_true=y, y_pred=s)
    np.testing.assert_array_equal(backend.to_numpy(counts), sklearn_metrics.confusion_matrix(LABELS, PREDICTED))


def test_a_class_that_never_occurs_has_zeros(backend: Backend) -> None:
    indices = backend.asarray(np.asarray([0, 1, 1]))
    for values in metrics.precision_recall_f1(y_true=indices, y_pred=indices, n_classes=3):
        np.testing.assert_array_equal(backend.to_numpy(values), [1, 1, 0])


@pytest.mark.parametrize(("y_true", "y_pred"), [([0, 3], [1, 0]), ([1, 0], [0, 3])])
def test_n_classes_is_by_default_the_largest_index_plus_one(
    backend: Backend, y_true: list[int], y_pred: list[int]
) -> None:
    y_true, y_pred = (backend.asarray(np.asarray(y)) for y in (y_true, y_pred))
    assert metrics.confusion_matrix(y_true=y_true, y_pred=y_pred).shape == (4, 4)


@pytest.mark.parametrize(
    ("labels", "n_classes", "value"), [([0, 7], 5, 7), ([-1, 0], 5, -1), ([-1, 0], None, -1), ([0, 5], None, 5)]
)
def test_labels_outside_of_the_classes_are_refused(
    backend: Backend, labels: list[int], n_classes: int | None, value: int
) -> None:
    labels = backend.asarray(np.asarray(labels))
    other = backend.asarray(np.zeros((2, 5)) if n_classes is None else np.asarray([0, 1]))
    for name, known in (("y_true", "y_pred"), ("y_pred", "y_true")):
        with pytest.raises(ValueError, match=rf"{name} must be in \[0, n_classes\) = \[0, 5\), got {value}"):
            metrics.confusion_matrix(**{name: labels, known: other}, n_classes=n_classes)


def test_confusion_matrix_without_examples(backend: Backend) -> None:
    none = backend.asarray(np.zeros(0, "int64"))
    counts = metrics.confusion_matrix(y_true=none, y_pred=none, n_classes=2)
    assert backend.to_numpy(counts).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("function", [metrics.confusion_matrix, metrics.precision_recall_f1])
def test_true_and_predicted_labels_are_keyword_only(function: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="takes 0 positional arguments"):
        function(LABELS, PREDICTED)


@pytest.mark.parametrize("no", [0, -1])
@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_binary_accuracy(backend: Backend, no: int, dtype: str) -> None:
    scores, yes = SCORES[:, :1], LABELS[:, np.newaxis] > 2
    target = backend.asarray(np.where(yes, 1, no).astype(dtype))
    for threshold in (0.0, 0.5):
        found = metrics.binary_accuracy(backend.asarray(scores), target, threshold=threshold)
        assert float(found) == pytest.approx(np.mean((scores > threshold) == yes))


@pytest.mark.parametrize("no", [0, -1])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("shape", [(200,), (200, 1), (20, 10, 1)])
def test_the_area_under_the_roc_curve(backend: Backend, no: int, ties: bool, shape: tuple[int, ...]) -> None:
    scores, yes = np.round(SCORES[:, 0]) if ties else SCORES[:, 0], LABELS > 2
    found = metrics.roc_auc_score(
        y_true=backend.asarray(np.where(yes, 1, no).reshape(shape)), y_score=backend.asarray(scores.reshape(shape))
    )
    assert backend_of(found).device == backend.device
    assert float(found) == pytest.approx(sklearn_metrics.roc_auc_score(yes, scores), rel=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_area_of_classes_is_the_mean_of_each_against_the_rest(backend: Backend, target: Any, dtype: str) -> None:
    scores = np.round(np.exp(SCORES), 1)
    scores = (scores / scores.sum(axis=1, keepdims=True)).astype(dtype)
    expected = np.mean([sklearn_metrics.roc_auc_score(i == LABELS, scores[:, i]) for i in range(5)])
    found = metrics.roc_auc_score(y_true=target, y_score=backend.asarray(scores))
    assert float(found) == pytest.approx(expected, rel=1e-14)
    steps = backend.asarray(LABELS.reshape(40, 5)), backend.asarray(scores.reshape(40, 5, 5))
    found = metrics.roc_auc_score(y_true=steps[0], y_score=steps[1])
    assert float(found) == pytest.approx(expected, rel=1e-14)


def test_a_class_without_examples_has_no_area(backend: Backend) -> None:
    labels = np.where(LABELS == 3, 0, LABELS)
    expected = np.mean([sklearn_metrics.roc_auc_score(labels == i, SCORES[:, i]) for i in (0, 1, 2, 4)])
    found = metrics.roc_auc_score(y_true=backend.asarray(labels), y_score=backend.asarray(SCORES))
    assert float(found) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(
    ("scores", "labels"), [([0.1, 0.2], [1, 1]), ([0.1, 0.2], [0, 0]), ([0.1, math.nan, 0.3], [0, 1, 1])]
)
def test_an_area_that_is_not_defined_is_nan(backend: Backend, scores: list[float], labels: list[int]) -> None:
    y_true, y_score = (backend.asarray(np.asarray(values)) for values in (labels, scores))
    found = metrics.roc_auc_score(y_true=y_true, y_score=y_score)
    assert math.isnan(float(found))


def test_the_area_of_equal_scores_is_a_half(backend: Backend) -> None:
    scores, labels = (backend.asarray(np.asarray(v)) for v in ([0.5] * 7, [0, 1, 1, 0, 1, 1, 1]))
    assert float(metrics.roc_auc_score(y_true=labels, y_score=scores)) == 0.5


def test_binary_accuracy_of_booleans(backend: Backend) -> None:
    prediction, target = (backend.asarray(np.asarray(v)) for v in ([True, False, True], [True, True, False]))
    assert float(metrics.binary_accuracy(prediction, target)) == pytest.approx(1 / 3)


def test_metrics_do_not_copy_to_the_host(no_host_reads: Backend) -> None:
    scores, labels = no_host_reads.asarray(SCORES), no_host_reads.asarray(LABELS)
    metrics.accuracy(scores, labels)
    metrics.top_k_accuracy(scores, labels, k=2)
    metrics.neighbourhood_hit(scores, labels, 3)
    for metric in (metrics.binary_accuracy, *REFERENCES):
        call(metric, scores, scores)


def test_k_may_be_the_number_of_classes() -> None:
    assert metrics.top_k_accuracy(SCORES, LABELS, k=5) == 1


@pytest.mark.parametrize("k", [0, 6])
def test_k_must_be_a_number_of_classes(k: int) -> None:
    with pytest.raises(ValueError, match=f"k must be .*, got {k}"):
        metrics.top_k_accuracy(SCORES, LABELS, k=k)


def test_accuracy_of_single_outputs_points_to_binary_accuracy() -> None:
    with pytest.raises(ValueError, match=r"got \(200, 1\): use binary_accuracy for single outputs"):
        metrics.accuracy(SCORES[:, :1], LABELS)


REFERENCES: dict[Callable[..., Any], Callable[..., Any]] = {
    metrics.mean_squared_error: sklearn_metrics.mean_squared_error,
    metrics.mean_absolute_error: sklearn_metrics.mean_absolute_error,
    metrics.r2_score: sklearn_metrics.r2_score,
    metrics.psnr: lambda t, p: -10 * np.log10(np.mean((t.astype("float64") - p) ** 2)),
}


@pytest.mark.parametrize("metric", REFERENCES, ids=lambda metric: metric.__name__)
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int8"])
def test_regression_metrics(backend: Backend, metric: Callable[..., Any], dtype: str) -> None:
    pair = IMAGES.reshape(2, 24, 8) if dtype.endswith("int8") else REGRESSION
    prediction, target = (values.astype(dtype) for values in pair)
    expected = REFERENCES[metric](target.astype("float64"), prediction.astype("float64"))
    found = call(metric, backend.asarray(prediction), backend.asarray(target))
    assert found.shape == ()
    assert backend_of(found).device == backend.device
    assert float(found) == pytest.approx(expected, rel=1e-6 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize("metric", REFERENCES, ids=lambda metric: metric.__name__)
def test_regression_metrics_take_float_predictions_of_integer_targets(
    backend: Backend, metric: Callable[..., Any]
) -> None:
    prediction, target = IMAGES[0] + 0.25, IMAGES[0].astype("int64")
    found = call(metric, backend.asarray(prediction, "float32"), backend.asarray(target))
    assert float(found) == pytest.approx(float(call(metric, prediction, target.astype("float64"))))


@pytest.mark.parametrize("value", [3.0, 0.1])
def test_r2_score_of_a_constant_output_is_one_if_exact_else_zero(backend: Backend, value: float) -> None:
    target = np.stack([np.full(7, value), np.arange(7.0)], axis=1)
    for error, expected in ((0.0, 1.0), (0.5, 0.5)):
        prediction = target + np.asarray([error, 0.0])
        found = float(metrics.r2_score(y_true=backend.asarray(target), y_pred=backend.asarray(prediction)))
        assert found == expected
        if value == 3.0:  # of 0.1, scikit-learn's mean is not 0.1, and its score -6e32
            assert found == sklearn_metrics.r2_score(target, prediction)


def test_r2_score_far_from_zero_is_exact(backend: Backend) -> None:
    prediction, target = (values + 1e6 for values in REGRESSION)
    found = metrics.r2_score(y_true=backend.asarray(target), y_pred=backend.asarray(prediction))
    assert float(found) == pytest.approx(sklearn_metrics.r2_score(*REGRESSION[::-1]), rel=1e-8)


def test_r2_score_of_one_example_is_nan(backend: Backend) -> None:
    one = backend.asarray(np.ones((1, 2)))
    assert np.isnan(float(metrics.r2_score(y_true=one, y_pred=one)))


def test_metrics_that_are_no_mean_over_batches_need_all_predictions() -> None:
    functions: list[Any] = [metrics.r2_score, metrics.psnr, metrics.roc_auc_score]
    assert all(metric.needs_all for metric in functions)
    for metric in (metrics.accuracy, metrics.mean_squared_error, metrics.mean_absolute_error):
        assert not getattr(metric, "needs_all", False)


PAIRS = {
    "accuracy": metrics.accuracy,
    "binary_accuracy": metrics.binary_accuracy,
    "top_k_accuracy": partial(metrics.top_k_accuracy, k=1),
    "perplexity": metrics.perplexity,
    "confusion_matrix": lambda a, b: metrics.confusion_matrix(y_true=a, y_pred=b),
    "mean_squared_error": metrics.mean_squared_error,
    "r2_score": lambda a, b: metrics.r2_score(y_pred=a, y_true=b),
    "roc_auc_score": lambda a, b: metrics.roc_auc_score(y_score=a, y_true=b),
    "psnr": metrics.psnr,
    "neighbourhood_hit": lambda a, b: metrics.neighbourhood_hit(a, b, 1),
    "majority_labels": lambda a, b: metrics.majority_labels(a, b, 5),
    "cluster_purity": metrics.cluster_purity,
}


@pytest.mark.parametrize("metric", PAIRS.values(), ids=PAIRS)
def test_arrays_of_different_devices_are_refused(metric: Callable[..., Any]) -> None:
    strict = get_backend("strict")
    for a, b in ((SCORES, strict.asarray(SCORES)), (strict.asarray(SCORES), SCORES)):
        with pytest.raises(ValueError, match=r"is on .*\(.*\) but .* is on .*\(.*\)"):
            metric(a, b)


CLUSTERS = np.asarray([0, 0, 0, 0, 1, 1, 1, 3, 3, 3])
CLASSES = np.asarray([2, 2, 2, 0, 1, 1, 0, 0, 4, 0])


@pytest.mark.parametrize("form", ["indices", "one-hot"])
def test_majority_labels_and_purity(backend: Backend, form: str) -> None:
    labels, target = backend.asarray(CLUSTERS), backend.asarray(CLASSES if form == "indices" else np.eye(5)[CLASSES])
    majority = metrics.majority_labels(labels, target, n_clusters=4)
    assert backend.to_numpy(majority).tolist() == [2, 1, -1, 0]
    purity = metrics.cluster_purity(labels, target)
    assert backend_of(purity).device == backend.device
    assert float(purity) == pytest.approx((3 + 2 + 2) / 10)


def test_majority_labels_with_more_clusters_than_classes_and_on_ties(backend: Backend) -> None:
    labels, target = (backend.asarray(np.asarray(v)) for v in ([0, 1, 2, 3, 3, 4], [1, 0, 1, 1, 0, 0]))
    assert backend.to_numpy(metrics.majority_labels(labels, target, 6)).tolist() == [1, 0, 1, 0, 0, -1]
    assert float(metrics.cluster_purity(labels, target)) == pytest.approx(5 / 6)


def test_purity_agrees_with_the_contingency_matrix_of_scikit_learn(backend: Backend) -> None:
    from sklearn.metrics.cluster import contingency_matrix

    expected = contingency_matrix(LABELS, PREDICTED).max(axis=0).sum() / len(LABELS)
    assert float(metrics.cluster_purity(backend.asarray(PREDICTED), backend.asarray(LABELS))) == pytest.approx(expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("k", [1, 6, 199])
def test_neighbourhood_hit(backend: Backend, monkeypatch: pytest.MonkeyPatch, target: Any, k: int, dtype: str) -> None:
    from sklearn.neighbors import NearestNeighbors

    monkeypatch.setattr(distances, "MIN_BLOCK_ROWS", 64)
    x = (SCORES + LABELS[:, np.newaxis] + 1000.0).astype(dtype)
    nearest = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(x.astype("float64")).kneighbors()[1]
    expected = np.mean(LABELS[nearest] == LABELS[:, np.newaxis])
    hit = metrics.neighbourhood_hit(backend.asarray(x), target, k)
    assert backend_of(hit).device == backend.device
    assert float(hit) == pytest.approx(expected)


def test_an_example_is_not_its_own_neighbour_and_ties_go_to_the_first(backend: Backend) -> None:
    x, labels = backend.asarray(np.zeros((4, 2))), backend.asarray(np.asarray([0, 1, 1, 1]))
    assert float(metrics.neighbourhood_hit(x, labels, 1)) == 0.0  # example 1 is the neighbour of 0, and 0 of the others
    assert float(metrics.neighbourhood_hit(x, labels, 2)) == pytest.approx(3 / 8)


def test_unfit_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"target must have a class for each of the 200 examples of x, got \(199,\)"):
        metrics.neighbourhood_hit(SCORES, LABELS[1:], 1)
    with pytest.raises(ValueError, match=r"target must have the shape of prediction, \(200, 5\), got \(5,\)"):
        metrics.psnr(SCORES, SCORES[0])
    with pytest.raises(
        ValueError, match=r"labels must hold a cluster for each of 199 examples of target, got shape \(200,\)"
    ):
        metrics.cluster_purity(PREDICTED, LABELS[1:])
    with pytest.raises(ValueError, match=r"shapes of y_true \(199,\) and y_pred \(200, 5\) do not fit together"):
        metrics.confusion_matrix(y_true=LABELS[1:], y_pred=SCORES)


def test_top_k_accuracy_needs_scores() -> None:
    with pytest.raises(ValueError, match=r"prediction must be scores of shape \(N, C\), got \(200,\)"):
        metrics.top_k_accuracy(PREDICTED, LABELS, k=1)


def test_class_indices_must_be_integers() -> None:
    with pytest.raises(ValueError, match="target must be integers where it holds class indices, got dtype float64"):
        metrics.accuracy(SCORES, LABELS * 1.0)


@pytest.mark.parametrize("k", [0, 200])
def test_k_must_be_at_most_the_number_of_other_examples(k: int) -> None:
    with pytest.raises(ValueError, match=f"k must be .*, got {k}"):
        metrics.neighbourhood_hit(SCORES, LABELS, k)


@pytest.mark.parametrize("data_range", [1.0, 255.0])
def test_psnr(backend: Backend, data_range: float) -> None:
    reference = pytest.importorskip("skimage.metrics", reason="scikit-image is the reference")
    x, y = (rng.random((3, 8, 8)) * data_range for _ in range(2))
    expected = reference.peak_signal_noise_ratio(x, y, data_range=data_range)
    x, y = backend.asarray(x), backend.asarray(y)
    assert float(metrics.psnr(x, y, data_range=data_range)) == pytest.approx(expected)
    assert float(metrics.psnr(x, x, data_range=data_range)) == float("inf")


def test_column_vectors_and_unequal_shapes_are_refused(backend: Backend) -> None:
    scores, labels = backend.asarray(SCORES), backend.asarray(LABELS)
    for target in (labels[:, None], labels[:-1]):
        with pytest.raises(ValueError, match=r"with C of 2 or more|do not fit together"):
            metrics.accuracy(scores, target)
    with pytest.raises(ValueError, match="target must have the shape of prediction"):
        metrics.binary_accuracy(scores[:, :1], backend.asarray(LABELS * 1.0))


def test_integer_one_hot_rows_are_not_indices(backend: Backend) -> None:
    rows = backend.asarray(np.eye(5, dtype="int64")[PREDICTED])
    assert float(metrics.accuracy(backend.asarray(SCORES), rows)) == 1


def test_nan_and_ties_are_no_hits(backend: Backend) -> None:
    labels = backend.asarray(np.asarray([1, 1]))
    for row, hits in (([np.nan] * 3, 0), ([-np.inf, 0.0, 1.0], 0), ([0.0] * 3, 0), ([-np.inf, 1.0, -np.inf], 1)):
        scores = backend.asarray(np.asarray([row, row]))
        assert float(metrics.top_k_accuracy(scores, labels, k=1)) == hits


def test_labels_of_a_small_dtype_do_not_wrap(backend: Backend) -> None:
    from portanet import kernels

    rows = kernels.one_hot(backend.asarray(np.asarray([3], "uint8")), 300, backend.xp.float32)
    assert backend.to_numpy(rows).sum() == 1


@pytest.mark.parametrize(("labels", "value"), [([0, -1, 1], -1), ([0, 5, 10**9], 10**9)], ids=str)
def test_cluster_labels_out_of_range_are_refused(backend: Backend, labels: list[int], value: int) -> None:
    labels, target = (backend.asarray(np.asarray(v)) for v in (labels, [0, 1, 1]))
    with pytest.raises(ValueError, match=rf"labels must be in \[0, 3\) for 3 examples, got {value}"):
        metrics.cluster_purity(labels, target)
    with pytest.raises(ValueError, match=rf"labels must be in \[0, n_clusters\) = \[0, 2\), got {value}"):
        metrics.majority_labels(labels, target, 2)


def test_a_class_beyond_the_scores_is_a_miss() -> None:
    scores = -np.ones((2, 2))
    assert metrics.top_k_accuracy(scores, np.asarray([0, 2]), k=2) == 0.5


def test_nan_is_no_class() -> None:
    scores = np.asarray([[np.nan, 0.9], [0.9, 0.1]])
    assert metrics.accuracy(scores, np.asarray([0, 0])) == 0.5
    assert metrics.binary_accuracy(scores[:, :1], np.asarray([[0.0], [1.0]])) == 0.5


@pytest.mark.parametrize("metric", [metrics.cluster_purity, partial(metrics.majority_labels, n_clusters=3)])
@pytest.mark.parametrize(
    ("labels", "target", "message"),
    [
        ([0.0, 1.0], [0, 1], "labels must be integers, got dtype float64"),
        ([np.nan, 1.0], [0, 1], "labels must be integers, got dtype float64"),
        ([[0, 1]], [[0, 1]], r"labels must hold a cluster for each of 1 examples of target, got shape \(1, 2\)"),
        (0, [0, 1], r"labels must hold a cluster for each of 2 examples of target, got shape \(\)"),
        ([0, 1], [0, -1], "target must hold classes of at least 0, got -1: number the classes from"),
        ([0, 1], [[np.nan, 0.0], [1.0, 0.0]], "target must hold classes of at least 0, got -1: NaN is no class"),
    ],
)
def test_unfit_clusters_are_refused(metric: Callable[..., Any], labels: Any, target: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metric(labels, target)


@pytest.mark.parametrize("metric", NAMES_OF_PREDICTION, ids=lambda metric: metric.__name__)
def test_metrics_named_as_those_of_scikit_learn_take_no_positional_arguments(metric: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="positional argument"):
        metric(LABELS, LABELS)


def test_r2_needs_examples() -> None:
    with pytest.raises(ValueError, match=r"y_pred must hold one row an example, .*, got a single number"):
        metrics.r2_score(y_true=1.0, y_pred=2.0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_have_no_neighbours(backend: Backend, value: float) -> None:
    x, target = backend.asarray(np.asarray([[0.0], [1.0], [value]])), backend.asarray(np.asarray([0, 1, 1]))
    assert np.isnan(float(metrics.neighbourhood_hit(x, target, k=1)))


@pytest.mark.parametrize("metric", PAIRS.values(), ids=PAIRS)
def test_complex_numbers_on_a_device_are_refused(backend: Backend, metric: Callable[..., Any]) -> None:
    values = backend.xp.asarray([[1j, 2.0], [3.0, 1j]], device=backend.device)
    with pytest.raises(ValueError, match=r"has dtype .*complex.*: give real numbers"):
        metric(values, values)


@pytest.mark.parametrize("largest", [10**6, 2**62])
def test_a_label_that_is_no_class_index_does_not_fill_the_memory(largest: int) -> None:
    with pytest.raises(ValueError, match=f"n_classes must be at most 32768, got {largest + 1}: number the classes"):
        metrics.confusion_matrix(y_true=[0, largest], y_pred=[0, 1])
    with pytest.raises(
        ValueError, match=f"n_clusters and the number of classes must be at most 32768, got {largest} cl"
    ):
        metrics.majority_labels([0, 1], [0, 1], n_clusters=largest)
    with pytest.raises(ValueError, match=f"n_clusters and .* got 2 clusters and {largest + 1} classes"):
        metrics.cluster_purity([0, 1], [0, largest])


def exact_mean(values: list[Fraction]) -> Fraction:
    return sum(values, Fraction(0)) / len(values)


def exact_r2(p: list[Fraction], t: list[Fraction]) -> Fraction:
    mean = exact_mean(t)
    residual = sum(((a - b) ** 2 for a, b in zip(p, t, strict=True)), Fraction(0))
    return 1 - residual / sum(((b - mean) ** 2 for b in t), Fraction(0))


def exact_psnr(p: list[Fraction], t: list[Fraction]) -> float:
    error = exact_mean([(a - b) ** 2 for a, b in zip(p, t, strict=True)])
    return 10 * (math.log10(error.denominator) - math.log10(error.numerator))


def as_float(exact: Fraction | float) -> float:
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


EXACT: dict[Callable[..., Any], Callable[..., Any]] = {
    metrics.mean_squared_error: lambda p, t: exact_mean([(a - b) ** 2 for a, b in zip(p, t, strict=True)]),
    metrics.mean_absolute_error: lambda p, t: exact_mean([abs(a - b) for a, b in zip(p, t, strict=True)]),
    metrics.r2_score: exact_r2,
    metrics.psnr: exact_psnr,
}
"""Metrics of numbers, computed from fractions without rounding."""

SAME_AT_ALL_SCALES: dict[Callable[..., Any], tuple[np.ndarray, dict[str, Any]]] = {
    metrics.accuracy: (LABELS, {}),
    metrics.top_k_accuracy: (LABELS, {"k": 2}),
    metrics.roc_auc_score: (LABELS, {}),
    metrics.binary_accuracy: (np.eye(5)[LABELS], {"threshold": 0.0}),
    metrics.neighbourhood_hit: (LABELS, {"k": 3}),
    metrics.confusion_matrix: (LABELS, {}),
    metrics.precision_recall_f1: (LABELS, {}),
}
"""Metrics of scores or points, with targets and options, that do not change when all scores are multiplied."""

OF_INDICES = {metrics.cluster_purity, metrics.majority_labels}
OF_LOGITS = {metrics.perplexity}
"""Metrics of class indices and cluster indices alone, which hold no numbers that could overflow."""


def test_every_metric_is_tried_at_extremes() -> None:
    assert {*EXACT, *SAME_AT_ALL_SCALES, *OF_INDICES, *OF_LOGITS} == {
        getattr(metrics, name) for name in metrics.__all__
    }


@pytest.mark.parametrize("metric", EXACT, ids=lambda metric: metric.__name__)
@pytest.mark.parametrize("scale", [1e-200, 1e-160, 1e-38, 1e38, 1e150, 1e160, 1e300], ids="{:g}".format)
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_metrics_of_numbers_at_extremes_are_exact(
    backend: Backend, metric: Callable[..., Any], scale: float, offset: float
) -> None:
    target = scale * (offset + np.asarray([1.0, -2.0, 0.5, 0.0, -0.0, 3.0]))
    prediction = target + scale * np.asarray([0.5, 0.25, 0.0, -1.0, 0.125, 2.0])
    expected = as_float(EXACT[metric](*([Fraction(v) for v in values.tolist()] for values in (prediction, target))))
    with backend.activate():
        found = float(call(metric, backend.asarray(prediction), backend.asarray(target)))
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("metric", SAME_AT_ALL_SCALES, ids=lambda metric: metric.__name__)
@pytest.mark.parametrize("scale", [2.0**-600, 2.0**-100, 2.0**100, 2.0**600, 2.0**1020], ids="{:g}".format)
def test_metrics_of_scores_do_not_depend_on_their_scale(
    backend: Backend, metric: Callable[..., Any], scale: float
) -> None:
    target, options = SAME_AT_ALL_SCALES[metric]

    def values(scores: np.ndarray) -> list[Any]:
        given = backend.asarray(scores), backend.asarray(target)
        result = call(metric, *given, **options)
        return [backend.to_numpy(a) for a in (result if isinstance(result, tuple) else (result,))]

    for a, b in zip(values(scale * SCORES), values(SCORES), strict=True):
        np.testing.assert_array_equal(a, b)


def test_differences_of_the_largest_numbers_do_not_overflow(backend: Backend) -> None:
    most = np.finfo("float64").max
    x = backend.asarray(np.asarray([[most], [-most], [0.9 * most], [-0.9 * most]]))
    assert float(metrics.r2_score(y_true=x, y_pred=x)) == 1
    assert float(metrics.neighbourhood_hit(x, backend.asarray(np.asarray([0, 1, 0, 1])), 1)) == 1


@pytest.mark.parametrize("metric", EXACT, ids=lambda metric: metric.__name__)
def test_integers_above_2_to_the_53_are_not_rounded(backend: Backend, metric: Callable[..., Any]) -> None:
    target = 2**60 + np.asarray([0, 1, 2, 3, 7])
    prediction = target + np.asarray([1, 0, -1, 2, 0])
    expected = float(EXACT[metric](*([Fraction(v) for v in values.tolist()] for values in (prediction, target))))
    found = float(call(metric, backend.asarray(prediction), backend.asarray(target)))
    assert found == pytest.approx(expected, rel=1e-12)


def test_neighbours_of_large_integers_are_told_apart(backend: Backend) -> None:
    x = 2**60 + np.asarray([[0], [1], [10], [11]])
    assert float(metrics.neighbourhood_hit(backend.asarray(x), backend.asarray(np.asarray([0, 0, 1, 1])), 1)) == 1


def test_psnr_of_nan_is_nan() -> None:
    assert math.isnan(metrics.psnr(np.asarray([math.nan, 0.0]), np.zeros(2)))
