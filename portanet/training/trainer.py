"""Training a network: one step, many epochs, and scores."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial, wraps
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

import numpy as np

from portanet import engine
from portanet.backends import Backend, OutOfMemory, as_array
from portanet.backends.disabled import enabled
from portanet.backends.precision import MatmulPrecision, check_float32_matmul_precision, float32_matmul_precision_as
from portanet.checks import check_choice, check_count, check_flag, check_number, isdtype, shown
from portanet.engine.eager import EagerExecutor
from portanet.engine.graph import GraphExecutor
from portanet.engine.streaming import StreamingExecutor
from portanet.layers.base import Layer, check_layer
from portanet.losses import Loss
from portanet.optimizers import Optimizer
from portanet.training.callbacks import Callback, Logs
from portanet.training.data import (
    Data,
    apply_class_weight,
    batch_slices,
    hold_out,
    prepare_data,
    warn_if_merged,
    warn_if_unfit,
)
from portanet.training.divergence import Diverged, find_divergence
from portanet.training.history import History
from portanet.training.memory import find_batch_size
from portanet.training.progress import progress_callbacks
from portanet.training.scores import Metric, Scorer, check_metrics, evaluate, resolve
from portanet.typing import Array

USE_ENGINE, USE_GRAPH, USE_STREAMING = enabled("engine"), enabled("engine") and enabled("graph"), enabled("streaming")

P = ParamSpec("P")
R = TypeVar("R")


def _on_device(method: "Callable[Concatenate[Trainer, P], R]") -> "Callable[Concatenate[Trainer, P], R]":
    """Run a method while the trainer's device is the current one."""

    @wraps(method)
    def run(self: "Trainer", /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.backend.activate():
            return method(self, *args, **kwargs)

    return run


def _check_reduction(loss: Loss) -> None:
    if loss.reduction == "none":
        raise ValueError(f"loss must reduce to one number, got {loss!r}: use reduction='mean'")


class Trainer:
    """
    A network, the loss it is trained on, and the optimizer that trains it.

    Parameters
    ----------
    net : Layer
        The network. Weights that it does not have yet are drawn from ``seed``.
    loss : Loss
        With reduction "mean" or "sum".
    optimizer : Optimizer
        Bound to the network here.
    metrics : sequence of str or callable, or mapping of name to these
        Names such as ``"accuracy"``, which fits the loss, or functions ``metric(prediction, target)`` that return a
        number; reported beside the loss.
    device : str, optional
        Where to train; by default where the network is.
    seed : int
        Of initial weights and of the order of examples: the same everywhere.
    float32_matmul_precision : {"float32", "tf32", "bfloat16"}, optional
        Of matrix products in training steps on a GPU, see :func:`portanet.set_float32_matmul_precision`, whose choice
        is the default. Weights, gradients and the optimizer's state stay float32; inference is not affected.

    Examples
    --------
    >>> x = np.asarray([[0, 0], [0, 1], [1, 0], [1, 1]], dtype="float32")
    >>> labels = np.asarray([0, 1, 1, 0])  # exclusive or
    >>> net = portanet.Sequential(portanet.Linear(2, 8), portanet.TanH(), portanet.Linear(8, 2))
    >>> trainer = Trainer(net, portanet.CrossEntropyLoss(), portanet.Adam(lr=0.05), metrics=["accuracy"])
    >>> history = trainer.fit(x, labels, epochs=100, batch_size=4, progress=False)
    >>> trainer.evaluate(x, labels)["accuracy"]
    1.0
    """

    def __init__(
        self,
        net: Layer,
        loss: Loss,
        optimizer: Optimizer,
        *,
        metrics: str | Metric | Sequence[str | Metric] | Mapping[str, str | Metric] = (),
        device: str | Backend | None = None,
        seed: int = 0,
        float32_matmul_precision: MatmulPrecision | None = None,
    ):
        if not isinstance(loss, Loss):
            raise TypeError(f"loss must be a Loss object, got {loss!r}: write MSELoss() for instance")
        _check_reduction(loss)
        check_layer("net", net)
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"optimizer must be an Optimizer object, got {optimizer!r}: write SGD(lr=0.1) for instance")
        if float32_matmul_precision is not None:
            check_float32_matmul_precision("float32_matmul_precision", float32_matmul_precision)
        self.metrics, self.float32_matmul_precision = resolve(metrics, loss), float32_matmul_precision
        net.to(device, seed=seed)
        self.net, self.loss, self.optimizer = net, loss, optimizer.bind(net)
        self.history = History()
        self.metric_names: tuple[str, ...] = ()  # what fit reports of each epoch
        self.steps = 0
        self._flat = net.flat
        self._shuffle = np.random.default_rng([2, seed])
        self._stopped = False
        self._checked_batch: tuple[Any, ...] = ()  # shapes and dtypes of the last batch in step

    @property
    def backend(self) -> Backend:
        """The array library and device of the network."""
        return self._flat.backend

    def step(self, x: Array, y: Array, sample_weight: Array | None = None) -> Array:
        """
        Change the weights once, for one batch.

        Nothing is read back from the device: wrong shapes leave the weights as they were, but values are not checked (a
        label out of range counts as no class). :meth:`fit` checks them once, before the first step.

        Parameters
        ----------
        x, y : array
            A batch on the network's device; :meth:`Layer.asarray` brings it there.
        sample_weight : array, shape (N,), optional
            Weight of each example, on the device.

        Returns
        -------
        array, shape ()
            The loss before the change, on the device.
        """
        self._check_current()
        batch: tuple[Any, ...]
        try:
            batch = x.shape, x.dtype, y.shape, y.dtype, None if sample_weight is None else sample_weight.shape
        except AttributeError:  # no arrays
            batch = ()
        with self._flat.backend.activate():
            if not batch or batch != self._checked_batch:  # the forward pass would change running statistics
                self._try_loss(x, y, sample_weight)
                self._checked_batch = batch
            value, _ = self._train_step(x, y, sample_weight)
        self.steps += 1
        return value

    @_on_device
    def fit(
        self,
        x: Any,
        y: Any,
        *,
        epochs: int = 1,
        batch_size: int = 32,
        shuffle: bool = True,
        validation_data: tuple[Any, ...] | None = None,
        validation_split: float = 0.0,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | Sequence[float] | None = None,
        callbacks: Callback | Sequence[Callback] = (),
        progress: bool = True,
        capture: Literal["auto", "never"] = "auto",
    ) -> History:
        """
        Train for a number of epochs.

        Parameters
        ----------
        x : array_like of float, shape (N, ...)
            Inputs; host data is moved to the network's device once, or batch by batch if it does not fit there.
        y : array_like
            N targets, as the loss documents.
        epochs : int
            Passes over the data.
        batch_size : int
            Examples a step; the last batch may be shorter, so that an epoch has ``ceil(N / batch_size)`` steps. Where
            batch norm needs two examples, a single one that is left over joins the batch before.
        shuffle : bool
            Draw a new order for every epoch, from the trainer's seed.
        validation_data : tuple (x, y) or (x, y, sample_weight), optional
            Data to evaluate after each epoch, reported as ``val_...``.
        validation_split : float
            Fraction of the data, the last examples, to use as validation data instead.
        sample_weight : array_like, shape (N,), optional
            Weight of each example in the loss: weight 2 counts as two examples. Metrics are not weighted.
        class_weight : sequence of float, or dict of int to float, optional
            Weight of each class; multiplies ``sample_weight``. Classes that a dict does not name weigh 1.
        callbacks : Callback or sequence of Callback
            Called before and after steps, and after each epoch.
        progress : bool
            Report on stderr: a bar on a terminal with tqdm installed, else a line an epoch.
        capture : {"auto", "never"}
            Whether to record a step and replay it, if the device can: order of examples, learning rate and random
            numbers still change, but Python numbers that a layer of one's own keeps do not.

        Returns
        -------
        History
            Loss and metrics of each epoch, averaged over the examples as they were trained on.

        Raises
        ------
        ValueError
            If data or settings are unfit; the weights are as before.
        Diverged
            If the loss or a weight became NaN or infinite; the weights are those of the last finite epoch.
        OutOfMemory
            If a step needs more memory than a GPU has; the message names a batch size that fits, if one was found.
            NumPy raises MemoryError, the base class.

        Examples
        --------
        >>> trainer = Trainer(portanet.Linear(2, 1), portanet.MSELoss(), portanet.SGD(lr=0.1))
        >>> x, y = np.ones((8, 2)), np.ones((8, 1))
        >>> history = trainer.fit(x, y, epochs=3, validation_split=0.25, progress=False)
        >>> history["val_loss"][-1] < history["val_loss"][0]
        True
        """
        epochs, batch_size = check_count("epochs", epochs), check_count("batch_size", batch_size)
        shuffle, progress = check_flag("shuffle", shuffle), check_flag("progress", progress)
        validation_split = check_number("validation_split", validation_split, at_least=0, below=1)
        check_choice("capture", capture, choices=("auto", "never"))
        callbacks = [callbacks] if isinstance(callbacks, Callback) else callbacks
        if not isinstance(callbacks, Sequence) or not all(isinstance(call, Callback) for call in callbacks):
            raise TypeError(f"callbacks must be a list of Callback objects, got {callbacks!r}")
        self._check_topology()
        given = (x, y, sample_weight)
        if validation_split:
            if validation_data is not None:
                raise ValueError("give either validation_data or validation_split")
            given, validation_data = hold_out(given, validation_split)
        data = prepare_data(self.net, self.loss, *given, keep_on_host="if too large" if USE_STREAMING else "never")
        data = apply_class_weight(self.net, data, class_weight)
        validation = None if validation_data is None else self._validation(validation_data)
        warn_if_unfit(self.net, self.loss, data)
        warn_if_merged(self.net, self.loss, *given[:2])
        check_metrics(self.net, self.metrics, data, batch_size)
        record = capture == "auto" and self.backend.capture is not None
        executor, scorer = self._executor(data, batch_size, record=record)
        calls = [*callbacks, *progress_callbacks(progress, epochs, len(executor.batches))]
        history = self.history = History()
        self._stopped = False
        names = ("loss", *self.metrics)
        self.metric_names = names if validation is None else (*names, *(f"val_{name}" for name in names))
        with ExitStack() as at_end:
            at_end.callback(executor.retain, [])  # a recording refers to the executor, and the executor to it
            for call in calls:
                at_end.callback(call.on_train_end, self)
                call.on_train_begin(self)
            while len(history.epochs) < epochs and not self._stopped:
                try:
                    with self.backend.activate():  # leaving it turns the library's error into OutOfMemory
                        logs = self._run_epoch(executor, scorer, shuffle, calls)
                except OutOfMemory as error:
                    raise find_batch_size(error, batch_size, partial(self._try_step, data)) from None
                if validation is not None:
                    scores = evaluate(self.net, self.loss, self.metrics, validation)
                    logs |= {f"val_{name}": value for name, value in scores.items()}
                    if not math.isfinite(scores["loss"]):
                        fix = "check validation_data for extreme values, or take a lower learning rate"
                        warnings.warn(f"val_loss is {scores['loss']}: {fix}", UserWarning, stacklevel=3)
                history.append(logs)
                for call in calls:
                    call.on_epoch_end(self, logs)
        return history

    @_on_device
    def evaluate(self, x: Any, y: Any, *, sample_weight: Any = None, batch_size: int = 1000) -> Logs:
        """
        Return loss and metrics of inference, averaged over the examples.

        Parameters
        ----------
        x, y, sample_weight : array_like
            As for :meth:`fit`.
        batch_size : int
            How many examples at a time. It bounds the memory; only metrics such as ``r2_score``, which are no means
            over examples, need all predictions at once.
        """
        batch_size = check_count("batch_size", batch_size)
        data = prepare_data(self.net, self.loss, x, y, sample_weight, keep_on_host="always")
        return evaluate(self.net, self.loss, self.metrics, data, batch_size)

    def predict(self, x: Any, *, batch_size: int = 1000) -> Any:
        """Return the outputs for many inputs: :meth:`Layer.predict` of the network."""
        return self.net.predict(x, batch_size=batch_size)

    def stop(self) -> None:
        """End ``fit`` after this epoch; for callbacks."""
        self._stopped = True

    @_on_device
    def snapshot(self) -> list[Array]:
        """
        Copy all that training changes: weights, buffers of layers, and the state of the optimizer.

        Examples
        --------
        >>> trainer = Trainer(portanet.Linear(2, 1), portanet.MSELoss(), portanet.SGD(lr=0.1))
        >>> before = trainer.snapshot()
        >>> _ = trainer.fit(np.ones((4, 2)), np.ones((4, 1)), progress=False)
        >>> trainer.restore(before)
        """
        return [self.backend.xp.asarray(array, copy=True) for array in self._mutable_state()]

    @_on_device
    def restore(self, snapshot: list[Array]) -> None:
        """
        Go back to a snapshot.

        Raises
        ------
        RuntimeError
            If there are arrays now that the snapshot lacks.
        """
        state = self._mutable_state()
        if not isinstance(snapshot, list):
            raise TypeError(f"snapshot must be what snapshot() returned, got {shown(snapshot)}")
        if len(state) == len(snapshot) and [a.shape for a in state] != [a.shape for a in snapshot]:
            raise ValueError("the snapshot is that of another network: its arrays have other shapes")
        if len(state) != len(snapshot):
            raise RuntimeError(
                f"the snapshot holds {len(snapshot)} arrays, but {len(state)} change now: "
                "an optimizer must make its state in new_state(), and not in a step"
            )
        for array, values in zip(state, snapshot, strict=True):
            array[...] = values

    def _mutable_state(self) -> list[Array]:
        buffers = [buffer.data for buffer in self.net.topology.buffers.values()]
        return [self._flat.data, *buffers, *self.optimizer.state.values()]

    def _try_loss(self, x: Array, y: Array, sample_weight: Array | None) -> None:
        """Refuse a batch that the loss refuses, without running the network."""
        x, like = as_array(x, name="x"), self._flat.data
        if x.ndim == 0:
            raise ValueError("x is a single number: give an array with one row an example")
        shape = (x.shape[0], *self.net.output_shape(tuple(x.shape[1:])))
        self.loss(self.backend.xp.zeros(shape, dtype=like.dtype, device=like.device), y, sample_weight)

    def _train_step(self, x: Array, y: Array, sample_weight: Array | None = None) -> tuple[Array, Array]:
        program = engine.compiled(self.net) if USE_ENGINE else self.net
        if self.float32_matmul_precision is None:
            return engine.train_step(program, self.loss, self.optimizer, x, y, sample_weight=sample_weight)
        with float32_matmul_precision_as(self.float32_matmul_precision):
            return engine.train_step(program, self.loss, self.optimizer, x, y, sample_weight=sample_weight)

    def _executor(self, data: Data, batch_size: int, *, record: bool) -> tuple[EagerExecutor, Scorer]:
        """Choose how steps run, and what they measure."""
        scorer = Scorer(self.loss, self.metrics, has_weights=data.sample_weight is not None)

        def step(x: Array, y: Array, sample_weight: Array | None = None) -> Sequence[Array | float]:
            value, prediction = self._train_step(x, y, sample_weight)
            _, *numbers = scorer.row(value, prediction, y, sample_weight)
            return [value, *[xp.astype(n, like.dtype, copy=False) if hasattr(n, "dtype") else n for n in numbers]]

        xp, like, batches = self.backend.xp, self._flat.data, batch_slices(self.net, data.x.shape[0], batch_size)
        table = xp.zeros((len(batches), scorer.n_columns), dtype=like.dtype, device=like.device)
        on_host = not isinstance(data.x, self.backend.array_type)
        record = record and USE_GRAPH and not scorer.of_all  # a replayed step overwrites the predictions of the last
        kind = StreamingExecutor if on_host else GraphExecutor if record else EagerExecutor
        return kind(step, data.arrays, batches, table, self.backend), scorer

    def _run_epoch(self, executor: EagerExecutor, scorer: Scorer, shuffle: bool, callbacks: Sequence[Callback]) -> Logs:
        before, n = self.snapshot(), executor.batches[-1].stop
        before_steps = [c for c in callbacks if type(c).on_train_batch_begin is not Callback.on_train_batch_begin]
        after_steps = [c for c in callbacks if type(c).on_train_batch_end is not Callback.on_train_batch_end]
        optimizer = self.optimizer
        settings = self.net.topology, optimizer.weight_decay, optimizer.clip_norm, optimizer.groups
        executor.retain([*self._mutable_state(), optimizer.lr_array], settings)
        executor.start_epoch(self._shuffle.permutation(n) if shuffle else None)
        while executor.remaining:
            for call in before_steps:
                call.on_train_batch_begin(self)
            self._check_current()
            self.steps += executor.run(1 if before_steps else executor.remaining)
            for call in after_steps:
                call.on_train_batch_end(self)
        table = self.backend.to_numpy(executor.metrics).astype("float64")  # after the last step: no step reads back
        self._check_finite(table[:, 0], before)
        return scorer.averages(table, [batch.stop - batch.start for batch in executor.batches])

    def _validation(self, data: tuple[Any, ...]) -> Data:
        if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
            raise ValueError("validation_data must be a tuple (x, y) or (x, y, sample_weight)")
        return prepare_data(self.net, self.loss, *data, name="validation ", keep_on_host="always")

    def _check_current(self) -> None:
        """Refuse to train what is no longer the network; cheap enough for every step."""
        if self.optimizer.flat is not self._flat:
            raise RuntimeError(
                f"{self.optimizer!r} was bound to another network since: give each Trainer one of its own"
            )
        if not self._flat.current:
            raise RuntimeError(
                "the network's weights have moved since this Trainer was made (by to, initialize, append, or another "
                "network with the same layers): make a new Trainer"
            )

    def _check_topology(self) -> None:
        self._check_current()
        _check_reduction(self.loss)
        if self.net.topology.parameter_list != self._flat.parameters:
            raise RuntimeError("layers were appended or popped since this Trainer was made: make a new Trainer")

    def _check_finite(self, losses: np.ndarray, before: list[Array]) -> None:
        xp = self.backend.xp
        arrays = {"a weight": self._flat.data, **{name: b.data for name, b in self.net.topology.buffers.items()}}
        arrays |= {f"the optimizer's {name}": array for name, array in self.optimizer.state.items()}
        not_finite = [
            name
            for name, array in arrays.items()
            if isdtype(xp, array.dtype, "real floating") and not bool(xp.all(xp.isfinite(array)))
        ]
        what = find_divergence(losses, not_finite, len(self.history.epochs) + 1)
        if what is not None:
            self.restore(before)
            fix = "this epoch was undone: take a smaller learning rate, or set clip_norm"
            raise Diverged(f"{what}; {fix}", self.history)

    def _try_step(self, data: Data, batch_size: int) -> None:
        """Run a step and undo it."""
        before = self.snapshot()
        try:
            with self.backend.activate():
                self._train_step(*data.batch(self.net, slice(0, batch_size)).arrays)
        finally:
            self.restore(before)
