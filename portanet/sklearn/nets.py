"""Classifier and regressor: dense networks, or any network that a function returns."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import column_or_1d, compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from portanet import kernels
from portanet.checks import check_sample_weight
from portanet.layers import Layer, Linear, Normalize, Sequential
from portanet.layers.base import check_layer
from portanet.losses import BCEWithLogitsLoss, CrossEntropyLoss, MSELoss
from portanet.sklearn.arrays import dtype_name, keeps_last_fit, like, to_numpy
from portanet.sklearn.base import NetEstimator, check_factory


@dataclass(eq=False, repr=False)
class SupervisedNet(NetEstimator):
    """What the classifier and the regressor share."""

    net: Callable[[tuple[int, ...], int], Layer] | None = None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _build(self, shape: tuple[int, ...], n_outputs: int) -> Layer:
        sizes = (shape[0], *self._hidden_sizes())
        if self.net is not None:
            self._dense(1, 1)  # refuses settings that are unfit, although the network has its own
            make = check_factory("net", self.net, example="lambda shape, n: Sequential(Flatten(), Linear(n))")
            net = check_layer("net(input_shape, n_outputs)", make(shape, n_outputs)).build(shape)
            if (found := net.output_shape(shape)) != (n_outputs,):
                raise ValueError(
                    f"net(input_shape, n_outputs) must return a network whose outputs have shape ({n_outputs},), "
                    f"got {net!r} with outputs of shape {found}"
                )
            return net
        return Sequential(Normalize(shape[0]), *self._dense(*sizes), Linear(sizes[-1], n_outputs))

    def _checked(self, X: Any, **options: Any) -> Any:
        return super()._checked(X, accept_sparse="csr", allow_nd=self.net is not None, **options)


@dataclass(eq=False, repr=False)
class NetClassifier(ClassifierMixin, SupervisedNet):
    """
    Classifier with a neural network, for scikit-learn.

    The network standardizes its inputs, so that they need no preparation; columns of 0 and 1 stay as they are.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int
        Width of each hidden layer.
    net : callable, optional
        ``net(input_shape, n_outputs)`` returns a network that is used instead, for images for instance. It takes inputs
        of the shape of one example, and returns a logit for each class. The settings ``hidden_layer_sizes``,
        ``activation``, ``dropout`` and ``batch_norm`` have no effect then.
    activation : str or callable
        "relu", "tanh", "logistic", "identity", "elu", "gelu" or "silu", or a function that returns a layer.
    dropout : float
        Share of the outputs of hidden layers that are dropped in training.
    batch_norm : bool
        Whether hidden layers normalize their outputs, before the activation.
    loss : Loss, optional
        By default :class:`portanet.CrossEntropyLoss`; :class:`portanet.BCEWithLogitsLoss` if an example may have
        several labels.
    optimizer : {"adam", "adamw", "sgd", "rmsprop"} or Optimizer
        An Optimizer replaces learning_rate_init and alpha.
    learning_rate_init : float
        Learning rate. The default is twice that of scikit-learn's networks, which standardized inputs allow.
    schedule : callable, optional
        ``schedule(step)`` returns the learning rate of a step: see :mod:`portanet.schedules`. Each ``fit`` begins with
        step 0; ``partial_fit`` goes on where the last call ended.
    alpha : float
        Weight decay.
    batch_size : int or "auto"
        Examples a step; "auto" is about 200, so that the batches of an epoch are nearly equal, or the number of all
        examples if there are fewer or if the optimizer, such as LBFGS, needs them all in each step.
    max_iter : int
        Largest number of epochs. The default is half that of scikit-learn's networks.
    shuffle : bool
        Whether each epoch has its own order of examples.
    tol, n_iter_no_change : float, int
        Training ends when the loss has not fallen by ``tol`` for ``n_iter_no_change`` epochs.
    early_stopping : bool
        Whether to set aside validation examples, to watch their loss instead, and keep the network of the best epoch.
    validation_fraction : float
        Share of validation examples.
    class_weight : dict of label to float, or "balanced", optional
        Weight of each class; "balanced" weighs a class by N / (C × its number of examples), as in scikit-learn.
    callbacks : Callback or sequence of Callback
        Called during training, see :class:`portanet.Callback`.
    warm_start : bool
        Whether ``fit`` goes on with the network, the loss and the optimizer of the last ``fit``, with their settings.
    random_state : int, RandomState instance or None
        Decides the initial weights, the order of examples, and which are validation examples.
    device : str, optional
        Where to train; by default where the data are.
    verbose : bool
        Whether to report progress on stderr.

    Attributes
    ----------
    classes_ : numpy.ndarray, shape (C,)
        Labels.
    net_ : Layer
        Trained network.
    trainer_ : Trainer
        The :class:`portanet.Trainer` of ``net_``.
    n_iter_ : int
        Number of epochs so far.
    loss_curve_ : list of float
        Training loss of each epoch.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> x, y = load_iris(return_X_y=True)
    >>> NetClassifier((16,), learning_rate_init=0.05, tol=1e-3, random_state=0).fit(x, y).score(x, y) > 0.95
    True
    """

    class_weight: Any = None

    classes_: np.ndarray = field(init=False)
    _multilabel: bool = field(init=False)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    @keeps_last_fit
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """
        Train on examples and their labels.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (N, D)
        y : array_like, shape (N,) or (N, C)
            Labels, numbers or texts; for several labels an example, rows of 0 and 1.
        sample_weight : array_like, shape (N,), optional
            Weight of each example.
        """
        X, y = self._checked(X, y=y, multi_output=True)
        return self._fit(X, y, sample_weight, warm_start=self._is_warm_start())

    @keeps_last_fit
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """
        Train for one more epoch, on any part of the data.

        Parameters
        ----------
        X, y, sample_weight
            See :meth:`fit`.
        classes : array_like, shape (C,), optional
            All labels; the first call needs them unless its ``y`` holds them all.
        """
        warm_start = hasattr(self, "net_")
        X, y = self._checked(X, method="partial_fit" if warm_start else "fit", y=y, multi_output=True)
        return self._fit(X, y, sample_weight, classes=classes, warm_start=warm_start, epochs=1)

    def predict(self, X: Any) -> Any:
        """Return the most probable label of each example; rows of 0 and 1 if an example may have several."""
        X, backend, logits = self._outputs(X, "predict")
        with backend.activate():
            index = backend.to_numpy(logits > 0 if self._multilabel else backend.xp.argmax(logits, axis=-1))
            return like(X, index.astype("int64") if self._multilabel else self.classes_[index])

    def predict_proba(self, X: Any) -> Any:
        """Return the probability of each label, shape (N, C)."""
        X, backend, logits = self._outputs(X, "predict_proba")
        with backend.activate():
            function = kernels.sigmoid if self._multilabel else kernels.softmax
            return like(X, function(logits), backend)

    def predict_log_proba(self, X: Any) -> Any:
        """Return the logarithm of :meth:`predict_proba`."""
        X, backend, logits = self._outputs(X, "predict_log_proba")
        with backend.activate():
            p = (
                -backend.xp.logaddexp(backend.xp.zeros_like(logits), -logits)
                if self._multilabel
                else kernels.log_softmax(logits)
            )
            return like(X, p, backend)

    def decision_function(self, X: Any) -> Any:
        """Return the logit of each label, shape (N, C); of two classes the difference, shape (N,)."""
        X, backend, logits = self._outputs(X, "decision_function")
        with backend.activate():
            if len(self.classes_) == 2 and not self._multilabel:
                logits = logits[:, 1] - logits[:, 0]
            return like(X, logits, backend)

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, *, warm_start: bool, classes: Any = None, epochs: int | None = None
    ) -> Self:
        y, labels, multilabel = self._encode(to_numpy(y), classes, warm_start=warm_start)
        sample_weight = self._example_weights(y if multilabel else labels[y], sample_weight, partial=epochs is not None)
        loss = self.loss or (BCEWithLogitsLoss() if multilabel else CrossEntropyLoss())
        self._train(
            X,
            y,
            sample_weight,
            lambda shape: (self._build(shape, len(labels)), loss),
            warm_start=warm_start,
            epochs=epochs,
            stratify=not multilabel,
        )
        self.classes_, self._multilabel = labels, multilabel
        return self

    def _encode(self, y: np.ndarray, classes: Any, *, warm_start: bool) -> tuple[np.ndarray, np.ndarray, bool]:
        """Return the targets of the loss, the labels that they stand for, and whether an example may have several."""
        check_classification_targets(y)
        kind = type_of_target(y)
        if kind == "multiclass-multioutput":
            raise ValueError("y must hold one label an example, or rows of 0 and 1: train a classifier for each column")
        multilabel = kind == "multilabel-indicator"
        y = y if multilabel else column_or_1d(y, warn=True)
        labels = np.arange(y.shape[1]) if multilabel else np.unique(y if classes is None else to_numpy(classes))
        if warm_start and (multilabel != self._multilabel or not set(labels) <= set(self.classes_)):
            fix = "fit a new classifier, or name all labels in the first partial_fit(classes=...)"
            raise ValueError(f"y has the labels {labels}, but the network was trained for {self.classes_}: {fix}")
        labels = self.classes_ if warm_start else labels
        if multilabel:
            return y.astype("float64"), labels, True
        index = np.searchsorted(labels, y)
        if not np.array_equal(labels[np.minimum(index, len(labels) - 1)], y):
            raise ValueError(f"classes={labels} lacks labels of y: add {np.setdiff1d(y, labels)}")
        return index, labels, False

    def _example_weights(self, y: np.ndarray, sample_weight: Any, *, partial: bool) -> Any:
        """Return the weights of the examples, times those of their classes."""
        if self.class_weight is None:
            return sample_weight
        if partial and isinstance(self.class_weight, str):
            fix = "partial_fit has only some: give a dict of label to weight"
            raise ValueError(f"class_weight={self.class_weight!r} needs the labels of all examples, but {fix}")
        weight = compute_sample_weight(self.class_weight, y)
        if sample_weight is None:
            return weight
        sample_weight = to_numpy(sample_weight)
        check_sample_weight(np, "sample_weight", sample_weight, len(y))
        return weight * sample_weight


@dataclass(eq=False, repr=False)
class NetRegressor(RegressorMixin, SupervisedNet):
    """
    Regressor with a neural network, for scikit-learn.

    The network standardizes its inputs and is trained on standardized targets, so that neither needs preparation;
    columns of 0 and 1 stay as they are.

    Parameters
    ----------
    hidden_layer_sizes, activation, dropout, batch_norm, optimizer, learning_rate_init, schedule, alpha, batch_size, \
max_iter, shuffle, tol, early_stopping, validation_fraction, n_iter_no_change, callbacks, warm_start, random_state, \
device, verbose
        See :class:`NetClassifier`.
    net : callable, optional
        ``net(input_shape, n_outputs)`` returns a network that is used instead.
    loss : Loss, optional
        By default :class:`portanet.MSELoss`.

    Attributes
    ----------
    net_ : Layer
        Trained network, whose outputs are standardized targets.
    target_mean_, target_scale_ : list of float
        Mean and standard deviation of each output: a prediction is ``output * target_scale_ + target_mean_``.
    trainer_ : Trainer
        The :class:`portanet.Trainer` of ``net_``.
    n_iter_ : int
        Number of epochs so far.
    loss_curve_ : list of float
        Training loss of each epoch, of standardized targets.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> x, y = load_diabetes(return_X_y=True)
    >>> NetRegressor((16,), learning_rate_init=0.05, tol=1e-3, random_state=0).fit(x, y).score(x, y) > 0.5
    True
    """

    target_mean_: list[float] = field(init=False)
    target_scale_: list[float] = field(init=False)
    _two_dimensional: bool = field(init=False)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    @keeps_last_fit
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """
        Train on examples and their targets.

        Parameters
        ----------
        X : array_like or sparse matrix, shape (N, D)
        y : array_like, shape (N,) or (N, K)
        sample_weight : array_like, shape (N,), optional
            Weight of each example.
        """
        X, y = self._checked(X, y=y, multi_output=True, y_numeric=True)
        return self._fit(X, y, sample_weight, warm_start=self._is_warm_start())

    @keeps_last_fit
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one more epoch; targets are standardized with the mean and the scale of the first call."""
        warm_start = hasattr(self, "net_")
        X, y = self._checked(X, method="partial_fit" if warm_start else "fit", y=y, multi_output=True, y_numeric=True)
        return self._fit(X, y, sample_weight, warm_start=warm_start, epochs=1)

    def predict(self, X: Any) -> Any:
        """Return the prediction for each example, in the shape of the targets."""
        X, backend, outputs = self._outputs(X, "predict")
        with backend.activate():
            scale, mean = (
                backend.asarray(values, dtype_name(outputs)) for values in (self.target_scale_, self.target_mean_)
            )
            outputs = outputs * scale + mean
            return like(X, outputs if self._two_dimensional else outputs[:, 0], backend)

    def _fit(self, X: Any, y: Any, sample_weight: Any, *, warm_start: bool, epochs: int | None = None) -> Self:
        y = to_numpy(y)
        targets = y.reshape(len(y), -1).astype("float64")
        if warm_start:
            mean, scale, two_dimensional = self.target_mean_, self.target_scale_, self._two_dimensional
        else:
            mean, scale = _mean_and_scale(targets, sample_weight)
            two_dimensional = y.ndim == 2
        self._train(
            X,
            (targets - mean) / scale,
            sample_weight,
            lambda shape: (self._build(shape, targets.shape[1]), self.loss or MSELoss()),
            warm_start=warm_start,
            epochs=epochs,
        )
        self.target_mean_, self.target_scale_, self._two_dimensional = mean, scale, two_dimensional
        return self


def _mean_and_scale(targets: np.ndarray, sample_weight: Any) -> tuple[list[float], list[float]]:
    """
    Return the weighted mean of each column and its standard deviation, or 1 where that is 0.

    They are lists, since scikit-learn's checks refuse arrays of another library than that of X.
    """
    weights = None if sample_weight is None else to_numpy(sample_weight)
    if weights is not None:
        check_sample_weight(np, "sample_weight", weights, len(targets))
    mean = np.average(targets, axis=0, weights=weights)
    scale = np.sqrt(np.average((targets - mean) ** 2, axis=0, weights=weights))
    return mean.tolist(), np.where(scale > 0, scale, 1.0).tolist()
