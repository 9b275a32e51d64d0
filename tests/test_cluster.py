import copy
import os
import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from portanet import PCA, KMeans, cluster_purity, datasets, get_backend
from portanet.backends import Backend
from portanet.kernels import distances

sklearn_cluster = pytest.importorskip("sklearn.cluster", reason="scikit-learn is the reference")

rng = np.random.default_rng(0)
GRID = 10.0 * np.stack(np.meshgrid(range(5), range(5)), axis=-1).reshape(-1, 2)
SEPARATE = (GRID[:, np.newaxis] + rng.normal(size=(25, 40, 2))).reshape(-1, 2)
OVERLAPPING = rng.normal(size=(900, 6)) + 2.0 * rng.normal(size=(6, 6)).repeat(150, axis=0)


def reference(x: Any, init: Any, **settings: float) -> Any:
    return sklearn_cluster.KMeans(len(init), init=init, n_init=1, algorithm="lloyd", **settings).fit(x)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute distances in blocks of 64 rows."""
    monkeypatch.setattr(distances, "MAX_BLOCK_ELEMENTS", 1)
    monkeypatch.setattr(distances, "MIN_BLOCK_ROWS", 64)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("settings", [{}, {"tol": 0.0}, {"tol": 0.03}, {"max_iter": 3}], ids=str)
def test_lloyd_agrees_with_scikit_learn(backend: Backend, dtype: str, settings: dict[str, Any]) -> None:
    x = OVERLAPPING.astype(dtype)
    expected = reference(x, x[:6], **settings)
    ours = KMeans(6, init=x[:6], device=backend, **settings).fit(x)
    np.testing.assert_array_equal(ours.labels_, expected.labels_)
    assert ours.inertia_ == pytest.approx(expected.inertia_, rel=1e-5)
    assert ours.n_iter_ == expected.n_iter_
    centres = backend.to_numpy(ours.cluster_centers_)
    assert centres.dtype == dtype
    np.testing.assert_allclose(centres, expected.cluster_centers_, rtol=1e-5, atol=1e-5)


def test_results_far_from_zero_are_as_exact(backend: Backend) -> None:
    x = (OVERLAPPING + 1000.0).astype("float32")
    expected = reference(x.astype("float64"), x[:6].astype("float64"))
    ours = KMeans(6, init=x[:6], device=backend).fit(x)
    np.testing.assert_array_equal(ours.labels_, expected.labels_)
    assert ours.inertia_ == pytest.approx(expected.inertia_, rel=1e-5)


@pytest.mark.usefixtures("small_blocks")
def test_results_do_not_depend_on_the_block_size(backend: Backend) -> None:
    expected = reference(OVERLAPPING, OVERLAPPING[:6])
    ours = KMeans(6, init=OVERLAPPING[:6], device=backend).fit(OVERLAPPING)
    np.testing.assert_array_equal(ours.labels_, expected.labels_)
    np.testing.assert_array_equal(ours.predict(OVERLAPPING), expected.labels_)
    assert ours.transform(OVERLAPPING).shape == (900, 6)


@pytest.mark.parametrize("seed", range(3))
def test_a_random_state_gives_the_same_clusters_on_every_backend(backend: Backend, seed: int) -> None:
    x = OVERLAPPING.astype("float32")
    ours = KMeans(8, random_state=seed, n_init=2, device=backend).fit(x)
    on_cpu = KMeans(8, random_state=seed, n_init=2, device="cpu").fit(x)
    np.testing.assert_array_equal(ours.labels_, on_cpu.labels_)
    assert ours.inertia_ == pytest.approx(on_cpu.inertia_, rel=1e-5)


def test_random_states_differ_and_none_is_random() -> None:
    fits = [KMeans(8, random_state=seed, max_iter=1).fit(OVERLAPPING) for seed in (0, 1, None, None)]
    assert len({kmeans.cost_history_[0] for kmeans in fits}) == 4


def test_initial_centres_are_as_good_as_those_of_scikit_learn(backend: Backend) -> None:
    """Mean cost of 30 draws; uniform draws cost 15 times as much."""
    ours = np.mean(
        [KMeans(25, random_state=s, max_iter=1, device=backend).fit(SEPARATE).cost_history_[0] for s in range(30)]
    )

    def cost(centres: Any) -> Any:
        return np.sum(np.min(np.sum((SEPARATE[:, np.newaxis] - centres) ** 2, axis=-1), axis=1))

    theirs = np.mean([cost(sklearn_cluster.kmeans_plusplus(SEPARATE, 25, random_state=s)[0]) for s in range(30)])
    assert ours < 1.1 * theirs


def test_initial_centres_are_different(backend: Backend) -> None:
    x = np.repeat(np.eye(7), 50, axis=0)
    kmeans = KMeans(7, max_iter=1, device=backend).fit(x)
    assert kmeans.cost_history_[0] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("far", [1, 2])
def test_empty_clusters_take_the_farthest_examples_as_in_scikit_learn(backend: Backend, far: int) -> None:
    init = np.concatenate([OVERLAPPING[: 6 - far], np.full((far, 6), 1e3)])
    expected = reference(OVERLAPPING, init)
    ours = KMeans(6, init=init, device=backend).fit(OVERLAPPING)
    assert np.all(np.bincount(ours.labels_, minlength=6) > 0)
    assert ours.inertia_ == pytest.approx(expected.inertia_, rel=1e-9)
    assert ours.n_iter_ == expected.n_iter_
    if far == 1:  # scikit-learn does not sort several
        np.testing.assert_array_equal(ours.labels_, expected.labels_)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fewer_different_examples_than_clusters(backend: Backend, dtype: str) -> None:
    x = np.repeat(SEPARATE[::400], [5, 6, 7], axis=0).astype(dtype)
    with pytest.warns(UserWarning, match="distinct clusters, 3, is smaller than n_clusters=5"):
        kmeans = KMeans(5, device=backend).fit(x)
    assert kmeans.inertia_ == pytest.approx(0.0, abs=1e-8)
    assert kmeans.n_iter_ < 5
    assert len(np.unique(kmeans.labels_)) == 3


def test_as_many_clusters_as_examples(backend: Backend) -> None:
    kmeans = KMeans(20, device=backend).fit(OVERLAPPING[:20])
    assert sorted(kmeans.labels_) == list(range(20))
    assert kmeans.inertia_ == pytest.approx(0.0, abs=1e-12)


def test_more_runs_are_never_worse(backend: Backend) -> None:
    for seed in range(3):
        one, several = (KMeans(10, n_init=n, random_state=seed, device=backend).fit(OVERLAPPING) for n in (1, 4))
        assert several.inertia_ <= one.inertia_
    assert several.inertia_ < one.inertia_


def test_cost_history(backend: Backend) -> None:
    kmeans = KMeans(6, init=OVERLAPPING[:6], device=backend).fit(OVERLAPPING)
    costs = kmeans.cost_history_
    assert costs.shape == (kmeans.n_iter_ + 1,)
    assert np.all(np.diff(costs) <= 1e-9 * costs[0])
    assert costs[-1] == kmeans.inertia_
    squares = np.sum((OVERLAPPING[:, np.newaxis] - OVERLAPPING[:6]) ** 2, axis=-1)
    assert costs[0] == pytest.approx(np.sum(np.min(squares, axis=1)))


def test_ties_go_to_the_first_centre(backend: Backend) -> None:
    x = np.asarray([[-1.0], [0.0], [1.0]])
    assert KMeans(2, init=[[1.0], [-1.0]], max_iter=1, device=backend).fit(x).predict([[0.0]]).tolist() == [0]
    twice = np.asarray([[0.0], [2.0], [2.0]])
    with pytest.warns(UserWarning, match="distinct clusters, 2, is smaller"):
        kmeans = KMeans(3, init=twice, device=backend).fit(twice)
    assert kmeans.predict([[9.0]]).tolist() == [1]


@pytest.mark.parametrize("dtype", ["int64", "uint32", "int16", "uint8"])
def test_integers_lose_no_digits(backend: Backend, dtype: str) -> None:
    start = {"int64": 1_600_000_000, "uint32": 4_000_000_000}.get(dtype, 0)
    x = (start + np.asarray([[0], [1], [2], [60], [61], [62]])).astype(dtype)
    labels = KMeans(2, device=backend).fit(x).labels_
    assert len(set(labels[:3])) == len(set(labels[3:])) == 1
    assert labels[0] != labels[3]


def test_a_weight_counts_as_examples(backend: Backend) -> None:
    weights = np.random.default_rng(0).integers(0, 4, size=len(OVERLAPPING))
    init = OVERLAPPING[:4]
    weighted = KMeans(4, init=init, tol=0, device=backend).fit(OVERLAPPING, sample_weight=weights)
    repeated = KMeans(4, init=init, tol=0, device=backend).fit(np.repeat(OVERLAPPING, weights, axis=0))
    ours, expected = (backend.to_numpy(kmeans.cluster_centers_) for kmeans in (weighted, repeated))
    np.testing.assert_allclose(ours, expected, rtol=1e-9)
    assert weighted.inertia_ == pytest.approx(repeated.inertia_, rel=1e-9)
    assert KMeans(4, device=backend).fit(OVERLAPPING, sample_weight=weights).inertia_ < 1.2 * weighted.inertia_


@pytest.mark.parametrize("weights", [[1.0], [-1.0, 1, 1], [np.nan, 1, 1], [0.0, 0, 0]], ids=str)
def test_unfit_weights_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match=r"sample_weight (must have shape|holds)"):
        KMeans(2).fit(np.eye(3), sample_weight=weights)


def test_transform_gives_distances(backend: Backend) -> None:
    distance = pytest.importorskip("scipy.spatial.distance", reason="SciPy is the reference")
    x = (OVERLAPPING + 100.0).astype("float32")
    kmeans = KMeans(6, device=backend).fit(x)
    centres = backend.to_numpy(kmeans.cluster_centers_)
    ours = kmeans.transform(x)
    assert ours.dtype == "float32"
    np.testing.assert_allclose(ours, distance.cdist(x, centres), rtol=1e-6)
    np.testing.assert_allclose(np.diag(kmeans.transform(centres)), 0.0, atol=1e-4)


def test_predict_and_fit_predict(backend: Backend) -> None:
    kmeans = KMeans(6, device=backend)
    labels = kmeans.fit_predict(OVERLAPPING)
    np.testing.assert_array_equal(labels, kmeans.labels_)
    np.testing.assert_array_equal(labels, kmeans.predict(OVERLAPPING))
    np.testing.assert_array_equal(kmeans.fit_transform(OVERLAPPING), kmeans.transform(OVERLAPPING))


@pytest.mark.parametrize("y", [None, np.zeros(900)], ids=["no y", "y"])
def test_works_in_pipelines_of_scikit_learn(y: Any) -> None:
    pipeline = pytest.importorskip("sklearn.pipeline", reason="scikit-learn has the pipelines").make_pipeline
    expected = KMeans(6).fit_predict(PCA(3).fit_transform(OVERLAPPING))
    steps = pipeline(PCA(3), KMeans(6))
    np.testing.assert_array_equal(steps.fit_predict(OVERLAPPING, y), expected)
    np.testing.assert_array_equal(steps.fit(OVERLAPPING, y).predict(OVERLAPPING), expected)
    assert steps.fit_transform(OVERLAPPING, y).shape == (900, 6)


def test_arguments_are_attributes() -> None:
    centres = np.zeros((3, 2))
    arguments: dict[str, Any] = {
        "n_clusters": 3,
        "init": centres,
        "n_init": 1,
        "max_iter": 7,
        "tol": 0.5,
        "random_state": 4,
        "device": "cpu",
    }
    assert {name: getattr(KMeans(**arguments), name) for name in arguments} == arguments


def test_results_per_example_are_on_the_device_of_the_data(backend: Backend) -> None:
    x = backend.asarray(OVERLAPPING)
    kmeans = KMeans(6).fit(x)
    for result in (kmeans.labels_, kmeans.predict(x), kmeans.transform(x), kmeans.cluster_centers_):
        assert isinstance(result, backend.array_type)
        assert result.device == backend.device
    for result in (kmeans.predict(OVERLAPPING), kmeans.transform(OVERLAPPING.tolist())):
        assert isinstance(result, np.ndarray)
    on_host = KMeans(6, device=backend).fit(OVERLAPPING)
    assert isinstance(on_host.labels_, np.ndarray)
    assert isinstance(on_host.cluster_centers_, backend.array_type)


def test_host_data_are_fitted_on_the_default_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTANET_DEVICE", "strict")
    kmeans = KMeans(6).fit(OVERLAPPING)
    assert isinstance(kmeans.cluster_centers_, get_backend("strict").array_type)
    assert isinstance(kmeans.labels_, np.ndarray)


def test_integers_are_computed_in_float32(backend: Backend) -> None:
    x = np.random.default_rng(1).integers(0, 256, size=(200, 5), dtype="uint8")
    kmeans = KMeans(4, init=x[:4], device=backend).fit(x)
    assert kmeans.cluster_centers_.dtype == backend.xp.float32
    assert kmeans.inertia_ == pytest.approx(reference(x.astype("float64"), x[:4].astype("float64")).inertia_, rel=1e-5)
    np.testing.assert_array_equal(kmeans.predict(x.astype("float64")), kmeans.labels_)


def test_memory_is_bounded() -> None:
    """The data have 61 MB; centred data, all distances to 100 centres and one-hot labels would have 109 MB."""
    x = rng.random((60_000, 256), dtype="float32")
    for kmeans in (KMeans(100, init=x[:100], max_iter=2, device="cpu"), KMeans(5, max_iter=2, device="cpu")):
        tracemalloc.start()
        try:
            kmeans.fit(x)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 30e6


@pytest.mark.parametrize("init", ["k-means++", "given"])
def test_one_copy_to_the_host_per_iteration(monkeypatch: pytest.MonkeyPatch, init: str) -> None:
    strict = get_backend("strict")
    x = strict.asarray(OVERLAPPING)
    copies = []

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def read(*args: Any) -> Any:
            copies.append(function.__name__)
            return function(*args)

        return read

    for name in ("__bool__", "__float__", "__int__", "__index__", "to_device"):
        monkeypatch.setattr(strict.array_type, name, counted(getattr(strict.array_type, name)))

    def fit(iterations: int) -> int:
        copies.clear()
        kmeans = KMeans(6, init=init if init != "given" else OVERLAPPING[:6], max_iter=iterations, tol=0.0).fit(x)
        assert kmeans.n_iter_ == iterations
        return len(copies)

    few = fit(3)
    assert fit(8) == few + 5
    monkeypatch.setattr(distances, "MAX_BLOCK_ELEMENTS", 1)
    monkeypatch.setattr(distances, "MIN_BLOCK_ROWS", 64)
    assert fit(3) == few


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_clusters": 0}, "n_clusters must be a whole number of at least 1, got 0"),
        ({"n_clusters": 2.5}, "n_clusters must be a whole number of at least 1, got 2.5"),
        ({"n_init": 0}, "n_init must be a whole number"),
        ({"max_iter": 0}, "max_iter must be a whole number"),
        ({"tol": -1.0}, "tol must be a number of at least 0, got -1.0"),
        ({"tol": np.nan}, "tol must be a number of at least 0, got nan"),
        ({"init": "random"}, r"init must be 'k-means\+\+' or an array of centres \(n_clusters, D\), got 'random'"),
        (
            {"init": np.zeros((3, 2)), "n_init": 2},
            "n_init must be 1 where init gives the centres, got 2: all runs are equal",
        ),
        ({"device": "abacus"}, "device 'abacus' is unknown"),
    ],
)
def test_unfit_arguments_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KMeans(**{"n_clusters": 3, **settings})


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((0, 6)), r"x must have shape \(N, D\), N examples of D numbers, got \(0, 6\)"),
        (np.zeros((5, 0)), r"x must have shape \(N, D\)"),
        (np.zeros((5, 28, 28)), r"got \(5, 28, 28\): reshape images"),
        (np.zeros(6), r"x must have shape"),
        (np.full((9, 6), np.nan), "x holds NaN"),
        (np.full((9, 6), np.inf), "x holds NaN, infinity"),
        (2**60 + np.arange(54).reshape(9, 6), r"x holds 1152921504606846977, an integer that float64 rounds: subtract"),
        (np.zeros((9, 6), dtype="complex128"), "x has dtype .*complex128"),
        (np.zeros((2, 6)), "n_clusters is 3, but x holds only 2 examples"),
        (np.zeros((9, 5)), r"init must have shape \(n_clusters, D\), \(3, 5\), got \(3, 6\)"),
    ],
)
def test_unfit_data_are_refused_and_keep_the_earlier_fit(backend: Backend, x: Any, message: str) -> None:
    kmeans = KMeans(3, init=OVERLAPPING[:3], device=backend).fit(OVERLAPPING)
    before = dict(vars(kmeans))
    with pytest.raises(ValueError, match=message):
        kmeans.fit(x)
    assert vars(kmeans) == before


def test_unfit_centres_are_refused(backend: Backend) -> None:
    with pytest.raises(ValueError, match="init holds NaN or infinity"):
        KMeans(2, init=[[0.0], [np.nan]], device=backend).fit([[1.0], [2.0]])


@pytest.mark.parametrize("method", ["predict", "transform"])
def test_data_unlike_the_fitted_ones_are_refused(backend: Backend, method: str) -> None:
    kmeans = KMeans(3, device=backend)
    with pytest.raises(
        AttributeError, match=r"KMeans has no attribute cluster_centers_: it is not fitted, call fit\(x\) first"
    ):
        getattr(kmeans, method)(OVERLAPPING)
    kmeans.fit(OVERLAPPING)
    with pytest.raises(ValueError, match=r"x must have shape \(N, 6\), as in the fit, got \(900, 5\)"):
        getattr(kmeans, method)(OVERLAPPING[:, :5])
    with pytest.raises(ValueError, match="x holds NaN"):
        getattr(kmeans, method)(np.full((1, 6), np.nan))


def test_data_of_another_device_are_refused() -> None:
    kmeans = KMeans(3, device="cpu").fit(OVERLAPPING)
    with pytest.raises(ValueError, match=r"x is on .*device1.* but is needed on cpu"):
        kmeans.predict(get_backend("strict").asarray(OVERLAPPING))


def test_repr_copy_and_pickle() -> None:
    assert repr(KMeans(3, random_state=1)) == "KMeans(3, random_state=1)"
    assert repr(KMeans(3, init=OVERLAPPING[:3])) == "KMeans(3, init=<array of shape (3, 6)>)"
    assert not hasattr(KMeans(3), "labels_")
    with pytest.raises(AttributeError, match=r"KMeans has no attribute centers$"):
        KMeans(3).centers  # noqa: B018
    kmeans = KMeans(3).fit(OVERLAPPING)
    for duplicate in (copy.deepcopy(kmeans), pickle.loads(pickle.dumps(kmeans))):
        np.testing.assert_array_equal(duplicate.predict(OVERLAPPING), kmeans.labels_)


def test_clusters_of_usps_digits_are_pure(backend: Backend) -> None:
    """Random states 0 to 5 give purities from 0.685 to 0.714."""
    if not Path(os.environ.get("PORTANET_DATA", ""), "usps", "zip.train.gz").is_file():
        pytest.skip("PORTANET_DATA has no files of usps")
    data = datasets.load("usps")
    labels = KMeans(10, device=backend).fit_predict(data.x_train.reshape(-1, 256))
    assert float(cluster_purity(labels, data.y_train)) > 0.66


@pytest.mark.parametrize("weights", [None, np.ones(2000)], ids=["plain", "weighted"])
def test_clusters_far_from_the_mean_are_told_apart(backend: Backend, weights: np.ndarray | None) -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(centre, 0.1, (500, 8)) for centre in (0, 1, 1e6, 1e6 + 2)]).astype("float32")
    kmeans = KMeans(4, init=x[[0, 600, 1200, 1800]], device=backend).fit(x, sample_weight=weights)
    np.testing.assert_array_equal(kmeans.labels_, np.repeat(range(4), 500))


@pytest.mark.parametrize(
    ("scale", "dtype"),
    [(s, "float64") for s in (1e-310, 1e-200, 1e160, 1e300)] + [(s, "float32") for s in (1e-30, 1e30, 1e36)],
)
def test_clusters_do_not_depend_on_the_scale_of_the_data(backend: Backend, scale: float, dtype: str) -> None:
    x = OVERLAPPING.astype(dtype)
    expected = KMeans(4, init=x[:4], device=backend).fit(x)
    found = KMeans(4, init=x[:4] * np.asarray(scale, dtype), device=backend).fit(x * np.asarray(scale, dtype))
    rtol = 1e-9 if dtype == "float64" else 1e-4
    np.testing.assert_array_equal(found.labels_, expected.labels_)
    np.testing.assert_array_equal(found.predict(x * np.asarray(scale, dtype)), expected.labels_)
    for a, b in (
        (found.transform(x[:9] * np.asarray(scale, dtype)), expected.transform(x[:9])),
        (backend.to_numpy(found.cluster_centers_), backend.to_numpy(expected.cluster_centers_)),
    ):
        np.testing.assert_allclose(a.astype("float64") / scale, b, rtol=rtol, atol=rtol)
    assert found.inertia_ == pytest.approx(expected.inertia_ * scale * scale, rel=rtol)  # infinite, or 0, in float64


def test_examples_far_beyond_the_fitted_ones_have_distances(backend: Backend) -> None:
    kmeans = KMeans(2, device=backend).fit([[0.0], [10.0]])
    np.testing.assert_allclose(kmeans.transform([[1e200]]), 1e200)


@pytest.mark.parametrize("weight", [1e-300, 1e250])
def test_only_the_ratios_of_weights_count(backend: Backend, weight: float) -> None:
    expected = KMeans(3, device=backend).fit(OVERLAPPING, sample_weight=np.ones(len(OVERLAPPING)))
    found = KMeans(3, device=backend).fit(OVERLAPPING, sample_weight=np.full(len(OVERLAPPING), weight))
    np.testing.assert_array_equal(found.labels_, expected.labels_)
    assert found.inertia_ == pytest.approx(weight * expected.inertia_, rel=1e-9)


def test_times_in_nanoseconds_are_clustered(backend: Backend) -> None:
    """A second apart, they are multiples of 512, which float64 holds."""
    seconds = np.asarray([[0], [1], [2], [60], [61], [62]])
    labels = KMeans(2, device=backend).fit(10**9 * (1_600_000_000 + seconds)).labels_
    assert labels.tolist() in ([0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0])


def test_neither_order_nor_a_division_of_weights_changes_the_clusters(backend: Backend) -> None:
    rng = np.random.default_rng(0)
    x, weights = rng.normal(size=(40, 5)), rng.integers(0, 4, size=40)
    order = rng.permutation(40)
    fits = [
        KMeans(6, device=backend).fit(np.repeat(x, weights, axis=0)),
        KMeans(6, device=backend).fit(x, sample_weight=weights),
        KMeans(6, device=backend).fit(x[order], sample_weight=weights[order]),
    ]
    centres = [backend.to_numpy(fit.cluster_centers_) for fit in fits]
    np.testing.assert_allclose(centres[1], centres[0], rtol=1e-12)
    np.testing.assert_allclose(centres[2], centres[0], rtol=1e-12)


def test_the_distance_to_a_centre_on_an_example_is_0(backend: Backend) -> None:
    x = np.asarray([[1e3 + 0.1, 0.3], [1e3 + 0.7, 0.9], [0.5, 1e3]])
    distances = backend.to_numpy(KMeans(3, init=x, device=backend).fit(x).transform(backend.asarray(x)))
    np.testing.assert_allclose(np.diagonal(distances), 0.0, atol=1e-12)


def test_a_model_that_joblib_maps_into_memory_predicts(tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib", reason="joblib is not installed")
    x = np.random.default_rng(0).normal(size=(20, 3))
    model = KMeans(2).fit(x)
    joblib.dump(model, tmp_path / "model")
    np.testing.assert_array_equal(joblib.load(tmp_path / "model", mmap_mode="r").predict(x), model.labels_)
