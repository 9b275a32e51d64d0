"""k-means and principal components as estimators of scikit-learn."""

from dataclasses import KW_ONLY, dataclass, field, fields
from typing import Any, Self

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.utils import check_random_state

from portanet import cluster, decomposition
from portanet.backends import Backend, get_backend
from portanet.checks import check_sample_weight, shown
from portanet.estimator import Estimator
from portanet.sklearn.arrays import ArrayEstimator, backend_for, keeps_last_fit, like, to_backend, to_numpy


@dataclass(eq=False, repr=False)
class ModelEstimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ArrayEstimator):
    """Base of the estimators around a model of PortaNet that is fitted to all examples at once."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _fit_model(self, X: Any, model: Estimator, **options: Any) -> None:
        """Fit a model, and take over its results as arrays like X."""
        backend = get_backend(model.device)
        self._model = model.fit(to_backend(X, backend), **options)
        for name in (result.name for result in fields(self) if not result.init):
            value = getattr(model, name)
            setattr(self, name, like(X, value, backend) if isinstance(value, backend.array_type) else value)

    def _call_checked(self, X: Any, method: str, caller: str | None = None) -> Any:
        """Return what a method of the model makes of X, as an array like X."""
        return self._call(self._checked(X, method=caller or method), method)

    def _call(self, X: Any, method: str) -> Any:
        backend = get_backend(self._model.device)
        return like(X, getattr(self._model, method)(to_backend(X, backend)), backend)


@dataclass(eq=False, repr=False)
class KMeans(ClusterMixin, ModelEstimator):
    """
    k-means clustering: :class:`portanet.KMeans` for scikit-learn.

    Parameters
    ----------
    n_clusters, init, max_iter, tol, device
        See :class:`portanet.KMeans`.
    n_init : int or "auto"
        Number of runs with different draws; the best one is kept. "auto" is 1, as in scikit-learn for these ``init``.
    random_state : int, RandomState instance or None
        Decides the first centres.

    Attributes
    ----------
    cluster_centers_ : array, shape (K, D)
    labels_ : array of int, shape (N,)
    inertia_ : float
    n_iter_ : int
        See :class:`portanet.KMeans`; arrays are of the library and on the device of the data.

    Examples
    --------
    >>> x = np.asarray([[0.0, 0.0], [0.0, 1.0], [9.0, 0.0], [9.0, 1.0]])
    >>> KMeans(2, random_state=0).fit(x).cluster_centers_.tolist()
    [[9.0, 0.5], [0.0, 0.5]]
    """

    n_clusters: int = 8
    _: KW_ONLY
    init: Any = "k-means++"
    n_init: int | str = "auto"
    max_iter: int = 300
    tol: float = 1e-4
    random_state: Any = None
    device: str | Backend | None = None

    cluster_centers_: Any = field(init=False)
    labels_: Any = field(init=False)
    inertia_: float = field(init=False)
    n_iter_: int = field(init=False)

    @keeps_last_fit
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Compute the clusters of examples, shape (N, D); ``y`` is ignored."""
        X = self._checked(X)
        n_init: Any = 1 if isinstance(self.n_init, str) else self.n_init
        if isinstance(self.n_init, str) and self.n_init != "auto":
            raise ValueError(f'n_init must be a whole number or "auto", got {shown(self.n_init)}')
        model = cluster.KMeans(
            self.n_clusters,
            init=self.init,
            n_init=n_init,
            max_iter=self.max_iter,
            tol=self.tol,
            random_state=int(check_random_state(self.random_state).randint(2**31 - 1)),
            device=backend_for(X, self.device),
        )
        self._fit_model(X, model, sample_weight=None if sample_weight is None else to_numpy(sample_weight))
        self._n_features_out = self.n_clusters
        return self

    def predict(self, X: Any) -> Any:
        """Return the index of the nearest centre of each example."""
        return self._call_checked(X, "predict")

    def transform(self, X: Any) -> Any:
        """Return the distances of each example to all centres, shape (N, K)."""
        return self._call_checked(X, "transform")

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return minus the sum of the squared distances of examples to their nearest centres, times their weights."""
        distances = to_numpy(self._call_checked(X, "transform", caller="score"))
        squares = np.min(distances, axis=1) ** 2
        if sample_weight is not None:
            sample_weight = to_numpy(sample_weight)
            check_sample_weight(np, "sample_weight", sample_weight, len(squares))
            squares = squares * sample_weight
        return -float(np.sum(squares))


@dataclass(eq=False, repr=False)
class PCA(ModelEstimator):
    """
    Principal component analysis: :class:`portanet.PCA` for scikit-learn.

    Parameters
    ----------
    n_components : int, optional
        By default the number of examples or features, whichever is smaller.
    device : str, optional
        Where to compute; by default where the data are.

    Attributes
    ----------
    components_ : array, shape (K, D)
    explained_variance_, explained_variance_ratio_, singular_values_ : array, shape (K,)
    noise_variance_ : float
    mean_ : array, shape (D,)
    n_components_, n_samples_ : int
        See :class:`portanet.PCA`; arrays are of the library and on the device of the data.

    Examples
    --------
    >>> x = np.asarray([[0.0, 0.0], [2.0, 2.0], [1.0, 1.5], [1.0, 0.5]])
    >>> PCA(1).fit(x).explained_variance_ratio_.round(4)
    array([0.9479])
    """

    n_components: int | None = None
    _: KW_ONLY
    device: str | Backend | None = None

    components_: Any = field(init=False)
    explained_variance_: Any = field(init=False)
    explained_variance_ratio_: Any = field(init=False)
    singular_values_: Any = field(init=False)
    noise_variance_: float = field(init=False)
    mean_: Any = field(init=False)
    n_components_: int = field(init=False)
    n_samples_: int = field(init=False)

    @keeps_last_fit
    def fit(self, X: Any, y: Any = None) -> Self:
        """Compute the components of examples, shape (N, D); ``y`` is ignored."""
        X = self._checked(X, ensure_min_samples=2)
        n_components = min(X.shape) if self.n_components is None else self.n_components
        if isinstance(n_components, (float, str)):
            fix = 'a share of the variance or "mle" is not supported'
            raise ValueError(f"n_components must be a whole number or None, got {shown(n_components)}: {fix}")
        self._fit_model(X, decomposition.PCA(n_components, device=backend_for(X, self.device)))
        self._n_features_out = n_components
        return self

    def transform(self, X: Any) -> Any:
        """Return the coordinates of examples along the components, shape (N, K)."""
        return self._call_checked(X, "transform")

    def inverse_transform(self, X: Any) -> Any:
        """Return the examples with some coordinates along the components, shape (N, D)."""
        return self._call(self._checked_codes(X), "inverse_transform")
