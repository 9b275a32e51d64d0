import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from portanet import metrics

rng = np.random.default_rng(0)
SCORES, LABELS = rng.normal(size=(200, 5)), rng.integers(0, 5, size=200)
PREDICTED = SCORES.argmax(axis=1)


@pytest.fixture(params=["indices", "one-hot"])
def target(request, backend):
    return backend.asarray(LABELS if request.param == "indices" else np.eye(5)[LABELS])


def test_accuracy(backend, target):
    expected = sklearn_metrics.accuracy_score(LABELS, PREDICTED)
    for prediction in (SCORES, PREDICTED):
        assert float(metrics.accuracy(backend.asarray(prediction), target)) == pytest.approx(expected)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_top_k_accuracy(backend, target, k):
    expected = sklearn_metrics.top_k_accuracy_score(LABELS, SCORES, k=k)
    assert float(metrics.top_k_accuracy(backend.asarray(SCORES), target, k)) == pytest.approx(expected)


def test_confusion_matrix(backend, target):
    counts = metrics.confusion_matrix(backend.asarray(SCORES), target)
    expected = sklearn_metrics.confusion_matrix(LABELS, PREDICTED)
    np.testing.assert_array_equal(backend.to_numpy(counts), expected)
    counts = metrics.confusion_matrix(backend.asarray(PREDICTED), target, n_classes=5)
    np.testing.assert_array_equal(backend.to_numpy(counts), expected)


def test_precision_recall_and_f1(backend, target):
    ours = metrics.precision_recall_f1(backend.asarray(SCORES), target)
    expected = sklearn_metrics.precision_recall_fscore_support(LABELS, PREDICTED)[:3]
    np.testing.assert_allclose([backend.to_numpy(values) for values in ours], expected, rtol=1e-6)


def test_a_class_that_never_occurs_has_zeros(backend):
    indices = backend.asarray(np.asarray([0, 1, 1]))
    for values in metrics.precision_recall_f1(indices, indices, n_classes=3):
        np.testing.assert_array_equal(backend.to_numpy(values), [1, 1, 0])


def test_metrics_are_not_read_back(no_host_reads):
    scores, labels = no_host_reads.asarray(SCORES), no_host_reads.asarray(LABELS)
    metrics.accuracy(scores, labels)
    metrics.binary_accuracy(scores, scores)
    metrics.top_k_accuracy(scores, labels, 2)
    metrics.precision_recall_f1(scores, labels)


def test_all_classes_hold_the_right_one():
    assert metrics.top_k_accuracy(SCORES, LABELS, k=5) == 1


@pytest.mark.parametrize("k", [0, 6])
def test_k_must_be_a_number_of_classes(k):
    with pytest.raises(ValueError, match=f"k must be from 1 to the number of classes, 5, got {k}"):
        metrics.top_k_accuracy(SCORES, LABELS, k)


def test_two_lists_of_indices_need_the_number_of_classes():
    with pytest.raises(ValueError, match="n_classes must be given"):
        metrics.confusion_matrix(PREDICTED, LABELS)


def test_a_single_score_is_no_choice_of_a_class():
    with pytest.raises(ValueError, match="binary_accuracy"):
        metrics.accuracy(SCORES[:, :1], LABELS)
