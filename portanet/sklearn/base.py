"""What the estimators with a network share: their settings, and the training."""

import copy
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field
from itertools import pairwise
from typing import Any, Literal, cast

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state

from portanet import layers, optimizers
from portanet.backends import Backend, take_rows
from portanet.checks import check_choice, check_count, check_flag, check_number, check_sample_weight, shown
from portanet.kernels.slices import slices
from portanet.layers import BatchNorm, Dropout, Layer, Linear, Normalize
from portanet.layers.sequential import first_layer
from portanet.losses import Loss
from portanet.optimizers import Optimizer
from portanet.schedules import check_schedule
from portanet.sklearn.arrays import ArrayEstimator, backend_for, dtype_name, to_backend, to_numpy
from portanet.training import Callback, EarlyStopping, LearningRateScheduler, Trainer
from portanet.training.data import Data
from portanet.typing import Array, Shape

ACTIVATIONS: dict[str, Callable[[], Layer] | None] = {
    "relu": layers.ReLU,
    "tanh": layers.TanH,
    "logistic": layers.Sigmoid,
    "identity": None,
    "elu": layers.ELU,
    "gelu": layers.GELU,
    "silu": layers.SiLU,
}
"""Activations by name; the first four names are those of scikit-learn's networks."""

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "adam": optimizers.Adam,
    "adamw": optimizers.AdamW,
    "sgd": optimizers.SGD,
    "rmsprop": optimizers.RMSprop,
}
"""Optimizers by name."""


def check_factory(name: str, value: Any, *, example: str) -> Callable[..., Layer]:
    """Refuse what is not a function that returns a layer; a layer can be called, but is none."""
    if isinstance(value, Layer) or not callable(value):
        raise ValueError(f"{name} must be a function that returns a layer, such as {example}, got {shown(value)}")
    return cast(Callable[..., Layer], value)


@dataclass(eq=False, repr=False)
class NetEstimator(ArrayEstimator):
    """
    Base of estimators with a network; :class:`portanet.sklearn.NetClassifier` documents the settings.

    As scikit-learn asks, the constructor only stores them, and ``fit`` checks them.
    """

    hidden_layer_sizes: int | Sequence[int] = (100,)
    _: KW_ONLY
    activation: str | Callable[[], Layer] = "relu"
    dropout: float = 0.0
    batch_norm: bool = False
    loss: Loss | None = None
    optimizer: str | Optimizer = "adam"
    learning_rate_init: float = 0.002
    schedule: Callable[[int], float] | None = None
    alpha: float = 0.0001
    batch_size: int | Literal["auto"] = "auto"
    max_iter: int = 100
    shuffle: bool = True
    tol: float = 1e-4
    early_stopping: bool = False
    validation_fraction: float = 0.1
    n_iter_no_change: int = 10
    callbacks: Callback | Sequence[Callback] = ()
    warm_start: bool = False
    random_state: Any = None
    device: str | Backend | None = None
    verbose: bool = False

    net_: Layer = field(init=False)
    trainer_: Trainer = field(init=False)
    n_iter_: int = field(init=False)
    loss_curve_: list[float] = field(init=False)

    def _train(
        self,
        X: Any,
        y: np.ndarray | None,
        sample_weight: Any,
        build: Callable[[Shape], tuple[Layer, Loss]],
        *,
        warm_start: bool,
        epochs: int | None = None,
        stratify: bool = False,
    ) -> None:
        """
        Train a new network, or the last one if ``warm_start``.

        Parameters
        ----------
        X : array of any library
        y : numpy.ndarray or None
            Targets of the loss; None stands for the inputs.
        sample_weight : array_like or None
        build : callable
            Takes the shape of one example, and returns the network and its loss.
        epochs : int, optional
            Run so many, whether or not the loss still falls.
        stratify : bool
            Whether the targets are classes, which are to have the same shares in the validation data.
        """
        backend = backend_for(X, self.device)
        x = to_backend(X, backend)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        data = Data(x, x if y is None else y, None if sample_weight is None else to_numpy(sample_weight))
        if data.sample_weight is not None:
            check_sample_weight(np, "sample_weight", data.sample_weight, x.shape[0])
            if not np.all(has_weight := data.sample_weight > 0):
                data = data.take(np.flatnonzero(has_weight))
        first_step = self.trainer_.steps if warm_start and epochs is not None else 0  # of partial_fit's schedule
        callbacks, validation, stopping = [*self._callbacks(first_step)], None, None
        early_stopping = check_flag("early_stopping", self.early_stopping)
        if epochs is not None and early_stopping:
            raise ValueError("partial_fit holds no validation data out: set early_stopping=False")
        if epochs is None:
            if early_stopping:
                data, validation = (data.take(rows) for rows in self._split(data, stratify, seed))
            stopping = self._early_stopping(validated=validation is not None)
            callbacks.append(stopping)
        monitored = [name for call in callbacks for name in call.monitored() if name.startswith("val_")]
        if validation is None and monitored:
            raise ValueError(f"callbacks need {monitored[0]}: set early_stopping=True, which holds validation data out")
        trainer = self.trainer_ if warm_start else self._new_trainer(data, build, backend, seed)
        history = trainer.fit(
            data.x,
            data.y,
            sample_weight=data.sample_weight,
            validation_data=validation,
            epochs=epochs or check_count("max_iter", self.max_iter),
            batch_size=self._batch_size(data.x.shape[0]),
            shuffle=check_flag("shuffle", self.shuffle),
            callbacks=callbacks,
            progress=check_flag("verbose", self.verbose),
        )
        if not warm_start:
            self.trainer_, self.net_, self.loss_curve_ = trainer, trainer.net, []
        self.loss_curve_ += history["loss"]
        self.n_iter_ = len(self.loss_curve_)
        ended = len(history.epochs) == self.max_iter  # and was not stopped by a callback
        if ended and stopping is not None and stopping.waited < stopping.patience:
            warnings.warn(
                f"training ended after max_iter={self.max_iter} epochs, while the loss still fell: raise max_iter",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _new_trainer(
        self, data: Data, build: Callable[[Shape], tuple[Layer, Loss]], backend: Backend, seed: int
    ) -> Trainer:
        net, loss = build(tuple(data.x.shape[1:]))
        net.build(tuple(data.x.shape[1:])).to(backend, dtype=dtype_name(data.x), seed=seed)
        if isinstance(first := first_layer(net), Normalize):
            _standardize(first, data)
        return Trainer(net, loss, self._new_optimizer(), seed=seed)

    def _is_warm_start(self) -> bool:
        """Whether ``fit`` goes on with the network of the last one."""
        return check_flag("warm_start", self.warm_start) and hasattr(self, "net_")

    def _hidden_sizes(self) -> tuple[int, ...]:
        sizes: Any = self.hidden_layer_sizes
        if isinstance(sizes, (str, bytes)):
            raise ValueError(f"hidden_layer_sizes must be whole numbers such as (100,), got {shown(sizes)}")
        sizes = tuple(sizes) if hasattr(sizes, "__iter__") else (sizes,)
        return tuple(check_count("hidden_layer_sizes", size) for size in sizes)

    def _dense(self, *sizes: int) -> list[Layer]:
        """Return dense layers from size to size, each with the normalization, activation and dropout that are set."""
        dense: list[Layer] = []
        if isinstance(self.activation, str):
            check_choice("activation", self.activation, choices=tuple(ACTIVATIONS))
            activation = ACTIVATIONS[self.activation]
        else:
            activation = check_factory("activation", self.activation, example="portanet.ReLU")
        batch_norm = check_flag("batch_norm", self.batch_norm)
        dropout = check_number("dropout", self.dropout, at_least=0, below=1)
        for n_in, n_out in pairwise(sizes):
            dense += [Linear(n_in, n_out), *([BatchNorm(n_out)] if batch_norm else [])]
            dense += [*([activation()] if activation else []), *([Dropout(dropout)] if dropout else [])]
        return dense

    def _new_optimizer(self) -> Optimizer:
        lr = check_number("learning_rate_init", self.learning_rate_init, at_least=0)
        decay = check_number("alpha", self.alpha, at_least=0)
        if isinstance(self.optimizer, Optimizer):
            return copy.deepcopy(self.optimizer)
        check_choice("optimizer", self.optimizer, choices=tuple(OPTIMIZERS))
        return OPTIMIZERS[self.optimizer](lr, weight_decay=decay)

    def _callbacks(self, first_step: int) -> Iterator[Callback]:
        given, schedule = self.callbacks, self.schedule
        given = [given] if isinstance(given, Callback) else given
        if not isinstance(given, Sequence) or not all(isinstance(call, Callback) for call in given):
            raise TypeError(f"callbacks must be a list of Callback objects, got {shown(given)}")
        yield from given
        if schedule is not None:
            check_schedule("schedule", schedule)
            yield LearningRateScheduler(lambda step: schedule(first_step + step))

    def _early_stopping(self, *, validated: bool) -> EarlyStopping:
        """Return what ends the training when the loss no longer falls."""
        return EarlyStopping(
            "val_loss" if validated else "loss",
            patience=check_count("n_iter_no_change", self.n_iter_no_change),
            min_delta=check_number("tol", self.tol, at_least=0),
            restore_best_weights=validated,
        )

    def _batch_size(self, n: int) -> int:
        if self.batch_size != "auto":
            return check_count("batch_size", self.batch_size)
        full_batch = isinstance(self.optimizer, Optimizer) and self.optimizer.full_batch
        return n if full_batch else math.ceil(n / max(1, round(n / 200)))

    def _split(self, data: Data, stratify: bool, seed: int) -> list[np.ndarray]:
        """Return the rows of training and those of validation."""
        share, n = check_number("validation_fraction", self.validation_fraction, above=0, below=1), data.x.shape[0]
        n_held_out = math.ceil(share * n)
        if n_held_out >= n:
            raise ValueError(f"validation_fraction={share} of n_samples={n} leaves none to train on: lower it")
        if stratify:
            counts = np.unique(data.y, return_counts=True)[1]
            stratify = counts.min() > 1 and len(counts) <= min(n_held_out, n - n_held_out)  # each in both parts
        classes = data.y if stratify else None
        parts = train_test_split(np.arange(n), test_size=n_held_out, stratify=classes, random_state=seed)
        return [np.sort(rows) for rows in parts]

    def _outputs(self, X: Any, method: str, net: Layer | None = None) -> tuple[Any, Backend, Array]:
        """Return X after checks, the backend, and the outputs for X of the network or a part of it."""
        X = self._checked(X, method=method)
        net = net or self.net_
        backend = net.backend
        return X, backend, net.predict(to_backend(X, backend))


def _standardize(layer: Normalize, data: Data) -> None:
    """
    Compute the statistics of a layer, but leave columns of 0 and 1 alone.

    Such a column tells whether an example is of a category. Divided by its standard deviation, a rare category would
    outweigh all other inputs.
    """
    layer.adapt(data.x, sample_weight=data.sample_weight)
    xp, whole = layer.backend.xp, None
    for rows in slices(data.x.shape[0], 1000):
        x = layer.asarray(take_rows(data.x, rows))
        of_rows = xp.all((x == 0) | (x == 1), axis=tuple(range(x.ndim - 1)))
        whole = of_rows if whole is None else whole & of_rows
    layer.mean.data[...] = xp.where(whole, 0.0, layer.mean.data)
    layer.std.data[...] = xp.where(whole, 1.0, layer.std.data)
