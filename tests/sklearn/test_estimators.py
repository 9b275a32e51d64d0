"""The estimators for scikit-learn: its own checks, and what its users do with them."""

import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import portanet as pn

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import sklearn
from sklearn import cluster, decomposition
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_digits, load_iris, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from portanet.sklearn import PCA, AutoEncoderTransformer, KMeans, NetClassifier, NetRegressor

X, LABELS = load_iris(return_X_y=True)
NAMES = np.asarray(["setosa", "versicolor", "virginica"])[LABELS]
WIDTH = X[:, 3]

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def classifier(**settings: Any) -> NetClassifier:
    return NetClassifier(**{"hidden_layer_sizes": 16, "learning_rate_init": 0.01, "random_state": 0, **settings})


def a_net(shape: tuple[int, ...], n_outputs: int) -> pn.Layer:
    return pn.Linear(shape[0], n_outputs)


def regressor(**settings: Any) -> NetRegressor:
    return NetRegressor(**{"hidden_layer_sizes": 16, "learning_rate_init": 0.01, "random_state": 0, **settings})


@pytest.mark.filterwarnings("ignore")  # the checks look at warnings themselves
@parametrize_with_checks(  # type: ignore[untyped-decorator]
    [
        NetClassifier(max_iter=30),
        NetRegressor(max_iter=30),
        AutoEncoderTransformer(max_iter=30),
        KMeans(),
        PCA(),
    ]
)
def test_checks_of_scikit_learn(estimator: Any, check: Callable[[Any], None]) -> None:
    settings = getattr(check, "keywords", {})
    if settings.get("array_namespace") == "cupy":  # the check takes a CuPy without a driver for an error
        try:
            pn.get_backend("cuda")
        except pn.BackendUnavailable as reason:
            pytest.skip(str(reason))
    if settings.get("device_name") == "device1" and np.lib.NumpyVersion(np.__version__) < "2.1.0":
        pytest.skip("scikit-learn reads arrays on array-api-strict's device1 only with NumPy 2.1 or newer")
    check(estimator)


def test_texts_are_labels() -> None:
    model = classifier().fit(X, NAMES)
    assert model.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    assert model.score(X, NAMES) > 0.95
    np.testing.assert_array_equal(model.predict(X), model.classes_[np.argmax(model.predict_proba(X), axis=1)])
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), model.predict_proba(X), rtol=1e-10)
    np.testing.assert_allclose(np.sum(model.predict_proba(X), axis=1), 1.0, rtol=1e-12)


def test_two_classes_have_one_decision() -> None:
    two = LABELS < 2
    model = classifier(max_iter=60).fit(X[two], NAMES[two])
    decision = model.decision_function(X[two])
    assert decision.shape == (100,)
    np.testing.assert_array_equal(model.predict(X[two]), model.classes_[(decision > 0).astype(int)])


def test_an_example_may_have_several_labels() -> None:
    x, y = make_multilabel_classification(n_samples=150, n_classes=4, random_state=0)
    model = classifier(max_iter=100).fit(x, y)
    assert model.predict(x).shape == model.predict_proba(x).shape == y.shape
    np.testing.assert_array_equal(model.predict(x), model.predict_proba(x) > 0.5)
    np.testing.assert_allclose(np.exp(model.predict_log_proba(x)), model.predict_proba(x), rtol=1e-10)
    assert model.score(x, y) > 0.8


def test_several_outputs_keep_their_scales() -> None:
    y = np.stack([1e6 * X[:, 3], 1e-6 * X[:, 2]], axis=1)
    model = regressor().fit(X[:, :2], y)
    assert model.predict(X[:, :2]).shape == y.shape
    assert model.score(X[:, :2], y) > 0.8
    assert regressor().fit(X[:, :3], WIDTH).predict(X[:, :3]).shape == WIDTH.shape


def test_a_data_frame_names_its_features() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    table = pandas.DataFrame(X, columns=["a", "b", "c", "d"])
    model = classifier(max_iter=5).fit(table, NAMES)
    assert model.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(table[["d", "c", "b", "a"]])
    codes = AutoEncoderTransformer(4, max_iter=5, random_state=0).set_output(transform="pandas").fit_transform(table)
    assert list(codes.columns) == ["autoencodertransformer0", "autoencodertransformer1"]


def test_a_pipeline_encodes_a_mixed_table() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    table = pandas.DataFrame({"width": WIDTH, "long": np.where(X[:, 2] > 4, "yes", "no")})
    encode = make_column_transformer((OneHotEncoder(), ["long"]), (StandardScaler(), ["width"]))
    model = make_pipeline(encode, classifier(max_iter=100)).fit(table, NAMES)
    assert model.score(table, NAMES) > 0.9
    assert "NetClassifier" in model._repr_html_()


def test_searches_and_cross_validation_run_in_processes() -> None:
    search = GridSearchCV(classifier(max_iter=30), {"hidden_layer_sizes": [4, (16, 8)]}, cv=3, n_jobs=2).fit(X, NAMES)
    assert search.best_score_ > 0.8
    assert cross_val_score(regressor(max_iter=30), X[:, :3], WIDTH, cv=3).shape == (3,)


def test_a_search_runs_on_a_dask_cluster() -> None:
    distributed = pytest.importorskip("distributed", reason="Dask is not installed: pip install distributed")
    joblib = pytest.importorskip("joblib", reason="scikit-learn brings joblib")
    search = GridSearchCV(classifier(max_iter=8), {"hidden_layer_sizes": [4, (16, 8)]}, cv=3)
    expected = clone(search).fit(X, NAMES)
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
        joblib.parallel_config("dask"),
    ):
        found = search.fit(X, NAMES)
        executed = client.run(lambda dask_worker: dask_worker.state.executed_count)
    assert all(executed.values())
    np.testing.assert_allclose(found.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"], rtol=1e-6)
    assert found.best_params_ == expected.best_params_
    np.testing.assert_allclose(found.predict_proba(X), expected.predict_proba(X), rtol=1e-6)


def test_the_weights_of_examples_are_routed() -> None:
    weights = np.where(LABELS == 0, 0.0, 1.0)
    with sklearn.config_context(enable_metadata_routing=True):
        model = make_pipeline(StandardScaler(), classifier(max_iter=50).set_fit_request(sample_weight=True))
        model.named_steps["standardscaler"].set_fit_request(sample_weight=False)
        model.fit(X, LABELS, sample_weight=weights)
    assert not (model.predict(X) == 0).any()


def test_the_weights_of_classes_are_those_of_their_examples() -> None:
    by_class = classifier(max_iter=20, class_weight={"setosa": 2.0, "versicolor": 1.0, "virginica": 0.5}).fit(X, NAMES)
    by_example = classifier(max_iter=20).fit(X, NAMES, sample_weight=np.asarray([2.0, 1.0, 0.5])[LABELS])
    np.testing.assert_array_equal(by_class.predict_proba(X), by_example.predict_proba(X))


def test_the_curve_holds_the_loss_of_each_epoch() -> None:
    model = classifier(learning_rate_init=0.05, tol=1e-3).fit(X, NAMES)
    assert model.n_iter_ == len(model.loss_curve_) < 100
    assert model.loss_curve_[-1] < 0.2 * model.loss_curve_[0]
    with pytest.warns(ConvergenceWarning, match="max_iter=3 epochs, while the loss still fell"):
        assert len(classifier(max_iter=3).fit(X, NAMES).loss_curve_) == 3


def test_early_stopping_keeps_the_best_network() -> None:
    class Ruin(pn.Callback):
        """Makes the weights useless from the sixth epoch on."""

        def on_train_batch_begin(self, trainer: Any) -> None:
            if len(trainer.history.epochs) >= 5:
                trainer.net.flat.data[...] = 0.0

    settings = {"learning_rate_init": 0.1, "n_iter_no_change": 3, "max_iter": 50}
    model = classifier(early_stopping=True, callbacks=Ruin(), **settings).fit(X, NAMES)
    losses = model.trainer_.history["val_loss"]
    assert np.argmin(losses) == 4
    assert model.n_iter_ == 8
    assert model.score(X, NAMES) > 0.8  # a third, with the weights of the end


def test_training_goes_on_where_it_is_asked_to() -> None:
    warm = classifier(max_iter=5, warm_start=True).fit(X, NAMES)
    first = warm.net_
    assert warm.fit(X, NAMES).net_ is first
    assert warm.n_iter_ == len(warm.loss_curve_) == 10
    cold = classifier(max_iter=5).fit(X, NAMES)
    assert cold.fit(X, NAMES).n_iter_ == 5


def test_parts_of_the_data_may_lack_classes() -> None:
    model = classifier()
    for _ in range(100):
        for rows in (slice(0, 75), slice(75, 150)):
            model.partial_fit(X[rows], NAMES[rows], classes=np.unique(NAMES))
    assert model.score(X, NAMES) > 0.8
    with pytest.raises(ValueError, match="rose"):
        model.partial_fit(X[:2], ["rose", "setosa"])
    with pytest.raises(ValueError, match=r"lacks labels of y: add \[2\]"):
        classifier().partial_fit(X, LABELS, classes=[0, 1])
    with pytest.raises(ValueError, match="class_weight='balanced' needs the labels of all examples"):
        classifier(class_weight="balanced").partial_fit(X, LABELS)


def test_equal_seeds_give_equal_bits_and_copies_are_as_good() -> None:
    model = classifier(max_iter=5, dropout=0.2, shuffle=True, batch_size=32).fit(X, NAMES)
    again = clone(model).fit(X, NAMES)
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(X), model.predict_proba(X))
    assert not np.array_equal(
        classifier(max_iter=5, random_state=1).fit(X, NAMES).predict_proba(X), model.predict_proba(X)
    )


def test_a_function_may_return_the_network() -> None:
    def convolutions(shape: tuple[int, ...], n_outputs: int) -> pn.Layer:
        return pn.Sequential(
            *(pn.Reshape(8, 8, 1), pn.Conv2D(1, 8, 3), pn.ReLU(), pn.MaxPool2D(2), pn.Flatten()),
            pn.Linear(72, n_outputs),
        )

    x, y = load_digits(return_X_y=True)
    model = NetClassifier(net=convolutions, max_iter=15, batch_size=64, random_state=0).fit(x / 16, y)
    assert model.score(x / 16, y) > 0.9
    images = (x / 16).reshape(-1, 8, 8, 1)
    of_images = NetClassifier(net=lambda shape, n: pn.Sequential(pn.Flatten(), pn.Linear(n)), max_iter=5)
    assert of_images.fit(images, y).predict(images).shape == y.shape
    with pytest.raises(TypeError, match=r"net\(input_shape, n_outputs\) must be a layer, got None"):
        of_images.set_params(net=lambda shape, n: None).fit(images, y)


def test_the_optimizer_and_its_schedule_can_be_given() -> None:
    optimizer = pn.SGD(0.5, momentum=0.9)
    model = classifier(optimizer=optimizer, schedule=pn.schedules.CosineDecay(0.5, steps=50), max_iter=50)
    assert model.fit(X, NAMES).score(X, NAMES) > 0.9
    assert optimizer.flat is None  # each fit takes a copy
    assert classifier(activation=pn.GELU, max_iter=50).fit(X, NAMES).score(X, NAMES) > 0.9


def test_sparse_data_give_the_results_of_dense_data() -> None:
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")
    model = classifier(max_iter=5).fit(sparse.csr_array(X), NAMES)
    np.testing.assert_array_equal(
        model.predict_proba(sparse.csr_array(X)), classifier(max_iter=5).fit(X, NAMES).predict_proba(X)
    )


def test_float32_stays_float32() -> None:
    x = X.astype("float32")
    assert regressor(max_iter=5, n_iter_no_change=1, tol=1.0).fit(x, WIDTH).predict(x).dtype == np.float32
    assert KMeans(3, random_state=0).fit(x).cluster_centers_.dtype == np.float32


def test_codes_can_be_decoded() -> None:
    model = AutoEncoderTransformer(16, n_components=2, learning_rate_init=0.01, random_state=0).fit(X)
    decoded = model.inverse_transform(model.transform(X))
    assert decoded.shape == X.shape
    assert np.mean((decoded - X) ** 2) < 0.1 * np.mean((X - X.mean(axis=0)) ** 2)


def test_clusters_and_components_are_those_of_portanet() -> None:
    ours = pn.PCA(2).fit(X)
    np.testing.assert_allclose(PCA(2).fit_transform(X), ours.transform(X), rtol=1e-12)
    model = KMeans(3, random_state=0).fit(X)
    assert model.score(X) == pytest.approx(-model.inertia_)
    np.testing.assert_array_equal(model.fit_predict(X), model.labels_)
    assert PCA(2).fit(X).get_feature_names_out().tolist() == ["pca0", "pca1"]


@pytest.mark.parametrize("n_components", [2, None])
def test_pca_has_the_attributes_of_scikit_learn(n_components: int | None) -> None:
    ours, theirs = PCA(n_components).fit(X), decomposition.PCA(n_components).fit(X)
    for name in ("explained_variance_", "explained_variance_ratio_", "singular_values_", "noise_variance_", "mean_"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-8, atol=1e-12, err_msg=name)
    for name in ("n_components_", "n_samples_", "n_features_in_"):
        assert getattr(ours, name) == getattr(theirs, name)


@pytest.mark.parametrize("n_components", [0.95, "mle"])
def test_pca_takes_no_share_of_the_variance(n_components: Any) -> None:
    with pytest.raises(ValueError, match=r"must be a whole number or None, got .*: a share of the variance"):
        PCA(n_components).fit(X)


def test_kmeans_runs_once_by_default() -> None:
    for init in ("k-means++", X[:3]):
        once = KMeans(3, n_init=1, init=init, random_state=0).fit(X)
        assert KMeans(3, init=init, random_state=0).fit(X).inertia_ == once.inertia_
    with pytest.raises(ValueError, match='n_init must be a whole number or "auto", got'):
        KMeans(3, n_init="all").fit(X)


def test_the_score_of_clusters_weighs_examples() -> None:
    weights = np.arange(len(X)) % 3
    ours = KMeans(3, random_state=0).fit(X, sample_weight=weights)
    theirs = cluster.KMeans(3, init=ours.cluster_centers_, n_init=1, max_iter=1).fit(X, sample_weight=weights)
    assert ours.score(X, sample_weight=weights) == pytest.approx(-ours.inertia_)
    assert ours.score(X, sample_weight=weights) == pytest.approx(theirs.score(X, sample_weight=weights), rel=1e-3)
    assert ours.score(X, sample_weight=weights) == pytest.approx(ours.score(np.repeat(X, weights, axis=0)))
    with pytest.raises(ValueError, match="sample_weight must have shape"):
        ours.score(X, sample_weight=weights[1:])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden_layer_sizes": "100"}, "hidden_layer_sizes must be whole numbers"),
        ({"hidden_layer_sizes": (4, -1)}, "hidden_layer_sizes must be a whole number"),
        ({"activation": "soft"}, "activation must be 'relu'"),
        ({"activation": pn.ReLU()}, "activation must be a function that returns a layer"),
        ({"net": pn.Linear(4, 3)}, "net must be a function that returns a layer"),
        ({"net": 3}, "net must be a function that returns a layer"),
        ({"optimizer": "lbfgs"}, "optimizer must be 'adam'"),
        ({"learning_rate_init": -1}, "learning_rate_init must be"),
        ({"max_iter": 0}, "max_iter must be"),
        ({"schedule": 0.1}, "schedule must be a function of a step"),
        ({"tol": "small"}, "tol must be"),
        ({"early_stopping": True, "validation_fraction": 0.999}, "leaves none to train on"),
        ({"optimizer": pn.SGD(0.1), "learning_rate_init": -5}, "learning_rate_init must be"),
        ({"optimizer": pn.SGD(0.1), "alpha": "x"}, "alpha must be"),
        ({"net": a_net, "hidden_layer_sizes": "bad"}, "hidden_layer_sizes must be"),
        ({"net": a_net, "activation": "nonsense"}, "activation must be"),
        ({"net": a_net, "dropout": 7}, "dropout must be"),
        ({"net": lambda shape, n: pn.Linear(shape[0], n + 1)}, r"outputs have shape \(3,\), got .*shape \(4,\)"),
        ({"net": lambda shape, n: pn.Linear(n - 1)}, r"outputs have shape \(3,\), got .*shape \(2,\)"),
        ({"callbacks": pn.EarlyStopping()}, "callbacks need val_loss: set early_stopping=True"),
    ],
)
def test_settings_are_checked_in_fit(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        classifier(**settings).fit(X, NAMES)


@pytest.mark.parametrize("callbacks", ["x", [3], pn.EarlyStopping], ids=str)
def test_what_is_no_callback_is_refused(callbacks: Any) -> None:
    with pytest.raises(TypeError, match="callbacks must be a list of Callback objects, got"):
        classifier(callbacks=callbacks).fit(X, NAMES)


def test_partial_fit_refuses_early_stopping() -> None:
    for setting in (True, "maybe"):
        with pytest.raises(ValueError, match="early_stopping"):
            classifier(early_stopping=setting).partial_fit(X, NAMES)


def test_an_optimizer_of_all_examples_gets_all_examples() -> None:
    x = np.concatenate([X, X + 0.01])
    model = classifier(optimizer=pn.LBFGS(), max_iter=3).fit(x, np.concatenate([NAMES, NAMES]))
    assert model.trainer_.steps == 3


def test_columns_of_categories_are_not_standardized() -> None:
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")
    x = np.concatenate([X, np.eye(len(X))[:, :20]], axis=1)
    for data in (x, sparse.csr_array(x)):
        model = classifier(max_iter=2).fit(data, NAMES)
        mean, std = model.net_[0].mean.data, model.net_[0].std.data
        np.testing.assert_allclose(mean[:4], X.mean(axis=0))
        np.testing.assert_array_equal(mean[4:], 0.0)
        np.testing.assert_array_equal(std[4:], 1.0)


@pytest.mark.parametrize("model", [AutoEncoderTransformer(4, n_components=2, max_iter=2), PCA(2)], ids=["AE", "PCA"])
def test_codes_of_another_width_are_refused(model: Any) -> None:
    with pytest.raises(ValueError, match=r"X must have shape \(N, 2\), like the output of transform, got \(3, 4\)"):
        clone(model).fit(X).inverse_transform(X[:3])


def test_bad_labels_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="Unknown label type"):
        classifier().fit(X, WIDTH + 0.5)
    with pytest.raises(ValueError, match="train a classifier for each column"):
        classifier().fit(X, np.stack([LABELS, LABELS], axis=1))
    with pytest.raises(NotFittedError):
        classifier().predict(X)


@pytest.mark.parametrize(
    ("model", "method"),
    [(regressor(), "predict"), (classifier(), "predict_proba"), (AutoEncoderTransformer(4), "transform")],
    ids=["regressor", "classifier", "transformer"],
)
def test_a_fit_that_fails_keeps_the_last_network(model: Any, method: str) -> None:
    model = clone(model).set_params(max_iter=5).fit(X, LABELS)
    before = getattr(model, method)(X)

    class Failing(pn.Callback):
        def on_epoch_end(self, trainer: Any, logs: Any) -> None:
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        model.set_params(callbacks=Failing()).fit(10 * X + 3, 10 * LABELS + 3)
    np.testing.assert_array_equal(getattr(model, method)(X), before)
    with pytest.raises(OSError, match="the disk is full"):
        model.fit(X[:, :2], LABELS)
    np.testing.assert_array_equal(getattr(model, method)(X), before)


def test_training_that_a_callback_ends_is_not_said_to_need_more_epochs() -> None:
    class Stop(pn.Callback):
        def on_epoch_end(self, trainer: Any, logs: Any) -> None:
            trainer.stop()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert classifier(callbacks=Stop()).fit(X, NAMES).n_iter_ == 1


def test_partial_fit_goes_on_in_the_schedule() -> None:
    steps: list[int] = []

    def schedule(step: int) -> float:
        steps.append(step)
        return 0.01

    model = classifier(schedule=schedule, batch_size=75)
    model.partial_fit(X, NAMES).partial_fit(X, NAMES)
    assert steps == [0, 1, 2, 3]
    model.set_params(max_iter=1).fit(X, NAMES)
    assert steps[4:] == [0, 1]


def test_examples_of_weight_0_are_neither_trained_on_nor_held_out() -> None:
    weights = np.where(np.arange(150) % 3 == 0, 0.0, 1.0)
    settings = {"early_stopping": True, "max_iter": 10}
    weighted, without = classifier(**settings), classifier(**settings)
    weighted.fit(X, NAMES, sample_weight=weights)
    without.fit(X[weights > 0], NAMES[weights > 0], sample_weight=weights[weights > 0])
    np.testing.assert_array_equal(weighted.predict_proba(X), without.predict_proba(X))
    for class_weight in (None, "balanced"):
        with pytest.raises(ValueError, match=r"sample_weight must have shape \(150,\)"):
            classifier(class_weight=class_weight).fit(X, NAMES, sample_weight=weights[:149])
