"""An auto-encoder as a transformer."""

from dataclasses import dataclass, field
from typing import Any, Self

from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin

from portanet.checks import check_count
from portanet.layers import AutoEncoder, Layer, Linear, Normalize, Sequential
from portanet.losses import Loss, MSELoss
from portanet.sklearn.arrays import backend_for, dtype_name, keeps_last_fit, like, to_backend
from portanet.sklearn.base import NetEstimator


@dataclass(eq=False, repr=False)
class AutoEncoderTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, NetEstimator):
    """
    The codes of an auto-encoder: a nonlinear projection to few numbers, for scikit-learn.

    Encoder and decoder are dense networks with mirrored hidden layers; inputs are standardized inside.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int
        Width of each hidden layer of the encoder; those of the decoder are the same in reverse.
    n_components : int
        Length of a code.
    loss : Loss, optional
        Of the standardized inputs and their reconstructions; by default :class:`portanet.MSELoss`.
    activation, dropout, batch_norm, optimizer, learning_rate_init, schedule, alpha, batch_size, max_iter, shuffle, \
tol, early_stopping, validation_fraction, n_iter_no_change, callbacks, warm_start, random_state, device, verbose
        See :class:`NetClassifier`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> x, _ = load_iris(return_X_y=True)
    >>> codes = AutoEncoderTransformer((16,), n_components=2, learning_rate_init=0.01, tol=0.01, random_state=0)
    >>> codes.fit_transform(x).shape
    (150, 2)
    """

    n_components: int = 2

    net_: AutoEncoder = field(init=False)
    _n_features_out: int = field(init=False)
    _standard: Normalize = field(init=False)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @keeps_last_fit
    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on examples, shape (N, D); ``y`` is ignored."""
        X, warm_start = self._checked(X), self._is_warm_start()
        backend = backend_for(X, self.device)
        x = to_backend(X, backend)
        n_components = check_count("n_components", self.n_components)
        standard = self._standard if warm_start else Normalize(x.shape[1]).to(backend, dtype=dtype_name(x)).adapt(x)
        self._train(standard.predict(x), None, None, self._build, warm_start=warm_start)
        self._standard, self._n_features_out = standard, n_components
        return self

    def transform(self, X: Any) -> Any:
        """Return the codes of examples, shape (N, n_components)."""
        X, backend, codes = self._outputs(X, "transform", Sequential(self._standard, self.net_.encoder))
        return like(X, codes, backend)

    def inverse_transform(self, X: Any) -> Any:
        """Return the examples that the decoder makes of codes, shape (N, D)."""
        X = self._checked_codes(X)
        backend, standard = self.net_.backend, self._standard
        with backend.activate():
            examples = self.net_.decoder.predict(to_backend(X, backend))
            return like(X, examples * standard.std.data + standard.mean.data, backend)

    def _build(self, shape: tuple[int, ...]) -> tuple[Layer, Loss]:
        sizes = (shape[0], *self._hidden_sizes())
        encoder = Sequential(*self._dense(*sizes), Linear(sizes[-1], self.n_components))
        decoder = Sequential(
            *self._dense(self.n_components, *sizes[:0:-1]), Linear((*sizes[1:], self.n_components)[0], shape[0])
        )
        return AutoEncoder(encoder, decoder), self.loss or MSELoss()
