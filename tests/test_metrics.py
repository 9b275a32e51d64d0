import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from portanet import metrics
from portanet.kernels import distances

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


CLUSTERS = np.asarray([0, 0, 0, 0, 1, 1, 1, 3, 3, 3])
CLASSES = np.asarray([2, 2, 2, 0, 1, 1, 0, 0, 4, 0])


@pytest.mark.parametrize("form", ["indices", "one-hot"])
def test_majority_labels_and_purity(backend, form):
    labels, target = backend.asarray(CLUSTERS), backend.asarray(CLASSES if form == "indices" else np.eye(5)[CLASSES])
    majority = metrics.majority_labels(labels, target, n_clusters=4)
    assert backend.to_numpy(majority).tolist() == [2, 1, -1, 0]
    purity = metrics.cluster_purity(labels, target)
    assert purity.device == backend.device
    assert float(purity) == pytest.approx((3 + 2 + 2) / 10)


def test_majority_labels_with_more_clusters_than_classes_and_on_ties(backend):
    labels, target = (backend.asarray(np.asarray(v)) for v in ([0, 1, 2, 3, 3, 4], [1, 0, 1, 1, 0, 0]))
    assert backend.to_numpy(metrics.majority_labels(labels, target, 6)).tolist() == [1, 0, 1, 0, 0, -1]
    assert float(metrics.cluster_purity(labels, target)) == pytest.approx(5 / 6)


def test_purity_is_read_off_scikit_learns_contingency_table(backend):
    from sklearn.metrics.cluster import contingency_matrix

    expected = contingency_matrix(LABELS, PREDICTED).max(axis=0).sum() / len(LABELS)
    assert float(metrics.cluster_purity(backend.asarray(PREDICTED), backend.asarray(LABELS))) == pytest.approx(expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("k", [1, 6, 199])
def test_neighbourhood_hit(backend, monkeypatch, target, k, dtype):
    from sklearn.neighbors import NearestNeighbors

    monkeypatch.setattr(distances, "MIN_BLOCK_ROWS", 64)
    x = (SCORES + LABELS[:, np.newaxis] + 1000.0).astype(dtype)
    nearest = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(x.astype("float64")).kneighbors()[1]
    expected = np.mean(LABELS[nearest] == LABELS[:, np.newaxis])
    hit = metrics.neighbourhood_hit(backend.asarray(x), target, k)
    assert hit.device == backend.device
    assert float(hit) == pytest.approx(expected)


def test_an_example_is_not_its_own_neighbour_and_the_first_of_equals_count(backend):
    x, labels = backend.asarray(np.zeros((4, 2))), backend.asarray(np.asarray([0, 1, 1, 1]))
    assert float(metrics.neighbourhood_hit(x, labels, 1)) == 0.0  # 1 for the first; 0 for the others
    assert float(metrics.neighbourhood_hit(x, labels, 2)) == pytest.approx(3 / 8)


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(ValueError, match="target holds 199 examples and x 200: give as many"):
        metrics.neighbourhood_hit(SCORES, LABELS[1:], 1)
    with pytest.raises(ValueError, match=r"y must have the shape of x, \(200, 5\), got \(5,\)"):
        metrics.psnr(SCORES, SCORES[0])
    with pytest.raises(ValueError, match="do not fit together"):
        metrics.cluster_purity(PREDICTED, LABELS[1:])


@pytest.mark.parametrize("k", [0, 200])
def test_k_must_leave_the_example_out(k):
    with pytest.raises(ValueError, match=f"k must be from 1 to 199, one less than the examples, got {k}"):
        metrics.neighbourhood_hit(SCORES, LABELS, k)


def test_neighbours_are_not_read_back(no_host_reads):
    metrics.neighbourhood_hit(no_host_reads.asarray(SCORES), no_host_reads.asarray(LABELS), 3)
    metrics.psnr(no_host_reads.asarray(SCORES), no_host_reads.asarray(SCORES))


@pytest.mark.parametrize("peak", [1.0, 255.0])
def test_psnr(backend, peak):
    reference = pytest.importorskip("skimage.metrics", reason="scikit-image is the reference")
    x, y = (rng.random((3, 8, 8)) * peak for _ in range(2))
    expected = reference.peak_signal_noise_ratio(x, y, data_range=peak)
    assert float(metrics.psnr(backend.asarray(x), backend.asarray(y), peak)) == pytest.approx(expected)
    assert float(metrics.psnr(backend.asarray(x), backend.asarray(x), peak)) == float("inf")


def test_column_vectors_and_unequal_shapes_are_refused(backend):
    scores, labels = backend.asarray(SCORES), backend.asarray(LABELS)
    for target in (labels[:, None], labels[:-1]):
        with pytest.raises(ValueError, match=r"with C of 2 or more|do not fit together"):
            metrics.accuracy(scores, target)
    with pytest.raises(ValueError, match="target must have the shape of prediction"):
        metrics.binary_accuracy(scores[:, :1], backend.asarray(LABELS * 1.0))


def test_integer_one_hot_rows_are_rows(backend):
    rows = backend.asarray(np.eye(5, dtype="int64")[PREDICTED])
    assert float(metrics.accuracy(backend.asarray(SCORES), rows)) == 1


def test_failures_are_no_hits(backend):
    labels = backend.asarray(np.asarray([1, 1]))
    for row, hits in (([np.nan] * 3, 0), ([-np.inf, 0.0, 1.0], 0), ([0.0] * 3, 0), ([-np.inf, 1.0, -np.inf], 1)):
        scores = backend.asarray(np.asarray([row, row]))
        assert float(metrics.top_k_accuracy(scores, labels, k=1)) == hits


def test_labels_of_a_small_type_do_not_wrap(backend):
    from portanet import kernels

    rows = kernels.one_hot(backend.asarray(np.asarray([3], "uint8")), 300, backend.xp.float32)
    assert backend.to_numpy(rows).sum() == 1


@pytest.mark.parametrize("labels", [[0, -1, 1], [0, 5, 10**9]], ids=str)
def test_labels_that_count_no_clusters_are_refused(backend, labels):
    target = backend.asarray(np.asarray([0, 1, 1]))
    with pytest.raises(ValueError, match="labels must count the clusters of 3 examples from 0 on"):
        metrics.cluster_purity(backend.asarray(np.asarray(labels)), target)
