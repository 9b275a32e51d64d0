"""Training a network: one step, many epochs, and scores."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial, wraps
from html import escape
from inspect import signature
from os import PathLike
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

from numpy.random import default_rng

from portanet import engine, losses, optimizers
from portanet.backends import Backend, as_array, get_backend
from portanet.backends.disabled import enabled
from portanet.backends.precision import MatmulPrecision, check_float32_matmul_precision, float32_matmul_precision_as
from portanet.checks import check_choice, check_count, check_flag, check_number, check_path, optional, shown
from portanet.config import refuse_unknown_arguments, to_json
from portanet.distributed import Communicator
from portanet.distributed.launch import check_communicator
from portanet.distributed.nccl import on_device
from portanet.engine.eager import EagerExecutor
from portanet.engine.graph import GraphExecutor
from portanet.engine.iterable import IterableExecutor
from portanet.engine.parallel import ParallelExecutor, ParallelIterableExecutor, ParallelSettings, ParallelStep
from portanet.engine.streaming import StreamingExecutor
from portanet.engine.truncated import TruncatedExecutor
from portanet.files import as_file_errors
from portanet.kernels.slices import part_of
from portanet.layers.base import Layer, check_layer, check_rows_of, one_or_several
from portanet.layers.shard import current_shard
from portanet.layers.sizes import UnbuiltLayers
from portanet.losses import Loss, MultiOutputLoss
from portanet.names import check_arguments, our_class, unknown_attribute, with_checked_arguments
from portanet.optimizers import Optimizer
from portanet.training.batches import BatchStream, is_iterable_of_batches
from portanet.training.callbacks import Callback, Logs, check_logs
from portanet.training.checkpoint import (
    Checkpoint,
    ModelCheckpoint,
    flatten,
    newest,
    read_checkpoint,
    unflatten,
    write_checkpoint,
)
from portanet.training.data import (
    Data,
    apply_class_weight,
    batch_slices,
    hold_out,
    prepare_data,
)
from portanet.training.executor_cache import ExecutorCache
from portanet.training.history import History
from portanet.training.loop import FitLoop
from portanet.training.memory import find_batch_size
from portanet.training.progress import progress_callbacks
from portanet.training.ranks import FitRanks, report_errors_to_ranks
from portanet.training.scores import Metric, Scorer, check_metrics, evaluate, resolve
from portanet.training.state import TrainingState
from portanet.training.truncated import check_sequences
from portanet.training.unfit import warn_if_merged, warn_if_unfit
from portanet.tree import input_shape_of, map_shapes, named_leaves, tree_leaves, tree_unflatten
from portanet.typing import Array, Shape

USE_ENGINE, USE_GRAPH, USE_STREAMING = enabled("engine"), enabled("engine") and enabled("graph"), enabled("streaming")

P = ParamSpec("P")
R = TypeVar("R")


def _on_device(method: "Callable[Concatenate[Trainer, P], R]") -> "Callable[Concatenate[Trainer, P], R]":
    """Run a method while the trainer's device is the current one."""

    @wraps(method)
    def run(self: "Trainer", /, *args: P.args, **kwargs: P.kwargs) -> R:
        given: Any = self
        if not isinstance(given, Trainer):  # the method of the class was called
            name = method.__name__
            raise TypeError(f"{name} needs a Trainer: write Trainer(net, loss, optimizer).{name}({shown(given)})")
        with self.backend.activate():
            return method(self, *args, **kwargs)

    return run


def _on_device_of_data(method: "Callable[Concatenate[Trainer, P], R]") -> "Callable[Concatenate[Trainer, P], R]":
    """Do the same for a method of x and y, and build the network from x first if its input size is unknown."""
    accepted = [*signature(method).parameters]

    @wraps(method)
    def run(self: "Trainer", /, *args: P.args, **kwargs: P.kwargs) -> R:
        check_arguments(method.__name__, kwargs, accepted[1:])
        unbound: Any = vars(self).get("_unbound")
        steps = self.steps
        if unbound is None and self.net.topology.unsized:
            self._state.check_topology()  # refuses the layers that were appended
        if not self.net.topology.unsized:
            with self.backend.activate():
                return method(self, *args, **kwargs)
        before = UnbuiltLayers(self.net)
        args, kwargs = self._with_sizes(*args, **kwargs)  # type: ignore[assignment]
        try:
            with self.backend.activate():
                return method(self, *args, **kwargs)
        except BaseException:
            if self.steps == steps:  # what is refused leaves the network as it was
                before.restore()
                vars(self).pop("_state", None)
                self._unbound = unbound
            raise

    return run


def _checkpoint_of(resume: Any, callbacks: Sequence[Callback]) -> str | PathLike[str] | None:
    """Return the file to go on from, or None."""
    if not isinstance(resume, (bool, str, PathLike)):
        raise ValueError(f"resume must be True, False or a path, got {shown(resume)}")
    if not isinstance(resume, bool):
        return check_path("resume", resume)
    writers = [call for call in callbacks if isinstance(call, ModelCheckpoint)]
    if resume and not writers:
        raise ValueError("resume=True needs a ModelCheckpoint among the callbacks: add one, or give resume a path")
    writers = [call for call in writers if call.monitor is None] or writers  # the best epoch is not the last
    return newest([file for call in writers for file in call.found()]) if resume else None


def _check_optimizer(optimizer: Any) -> Optimizer:
    if not isinstance(optimizer, Optimizer):
        kind = our_class(optimizer, optimizers.__all__) or "Adam"
        raise TypeError(f"optimizer must be an Optimizer object, got {optimizer!r}: write {kind}() for instance")
    return optimizer


def _check_loss(loss: Any) -> Loss:
    if not isinstance(loss, Loss):
        kind = our_class(loss, losses.__all__) or "CrossEntropyLoss"
        raise TypeError(f"loss must be a Loss object, got {shown(loss)}: write {kind}() for instance")
    if loss.reduction == "none":
        raise ValueError(f"loss must reduce to one number, got {loss!r}: use reduction='mean'")
    return loss


@refuse_unknown_arguments
class Trainer:
    """
    A network, the loss it is trained on, and the optimizer that trains it.

    Parameters
    ----------
    net : Layer
        The network. Weights that it does not have yet are drawn from ``seed``; if its input size is not known, when
        data are given.
    loss : Loss
        With reduction "mean" or "sum".
    optimizer : Optimizer
        Bound to the network here.
    metrics : sequence of str or callable, or dict of str to these
        Names such as ``"accuracy"``, which fits the loss, or functions ``metric(prediction, target)`` that return a
        number; reported beside the loss. A function of your own gets all predictions of an epoch together. If it is a
        mean over the examples, ``metric.needs_all = False`` saves this memory, and lets a GPU record the steps.
    device : str, optional
        Where to train; by default where the network is.
    seed : int
        Of initial weights and of the order of examples: the same everywhere.
    float32_matmul_precision : {"float32", "tf32", "bfloat16"}, optional
        Of matrix products in training steps on a GPU, see :func:`portanet.set_float32_matmul_precision`, whose choice
        is the default. Weights, gradients and the optimizer's state stay float32; inference is not affected.
    communicator : Communicator, "auto" or None
        Processes that train together, see :mod:`portanet.distributed`. "auto" takes those that ``mpiexec``, ``srun`` or
        ``torchrun`` has started; None trains in this process alone. Ranks with a GPU each exchange gradients by NCCL.
    sync_batch_norm : bool
        Whether BatchNorm takes the statistics of the whole batch, and not of the part of each process. The running
        averages of the parts are averaged after each epoch.

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
        metrics: str | Metric | Sequence[str | Metric] | Mapping[Any, Any] = (),
        device: str | Backend | None = None,
        seed: int = 0,
        float32_matmul_precision: MatmulPrecision | None = None,
        communicator: Communicator | Literal["auto"] | None = "auto",
        sync_batch_norm: bool = True,
    ):
        _check_loss(loss)
        check_layer("net", net)
        _check_optimizer(optimizer)
        if float32_matmul_precision is not None:
            check_float32_matmul_precision("float32_matmul_precision", float32_matmul_precision)
        self._loss, self._metrics = loss, resolve(metrics, loss)
        self.sync_batch_norm = check_flag("sync_batch_norm", sync_batch_norm)
        self.float32_matmul_precision = float32_matmul_precision
        self._net, self._unbound = net, (optimizer, None if device is None else get_backend(device), seed)
        self.communicator = on_device(check_communicator(communicator), self._unbound[1] or net._placement()[0])
        self._parallel = ParallelStep(self.communicator)
        self.history = History()
        self.metric_names: tuple[str, ...] = ()  # what fit reports of each epoch
        self.steps = 0
        if not net.topology.unsized:
            self._bind()
        self._shuffle = default_rng([2, seed])
        self._loop: FitLoop | None = None  # of the call of fit that runs
        self._executors = ExecutorCache()
        self._checked_batch: tuple[Any, ...] = ()  # shapes and dtypes of the last batch that step has checked

    def _bind(self) -> None:
        """Draw the weights that are missing, and give the optimizer charge of all."""
        optimizer, backend, seed = self._unbound
        self._net.to(backend, seed=seed)
        self._state = TrainingState(self._net, optimizer.bind(self._net))
        del self._unbound

    def __getattr__(self, name: str) -> Any:
        # _state is missing only while the input size of the network is not known.
        if name == "_state" and "_unbound" in vars(self):
            self._bind()
            return self._state
        return unknown_attribute(self, name)

    @property
    def net(self) -> Layer:
        """The network."""
        return self._net

    @property
    def loss(self) -> Loss:
        """The loss; another one can be set. Metrics stay: those that were given by name still fit the old loss."""
        return self._loss

    @loss.setter
    def loss(self, loss: Loss) -> None:
        self._loss = _check_loss(loss)
        self._checked_batch = ()

    @property
    def metrics(self) -> dict[str, Metric]:
        """The metrics by name; others can be set, as the constructor takes them."""
        return self._metrics

    @metrics.setter
    def metrics(self, metrics: str | Metric | Sequence[str | Metric] | Mapping[Any, Any]) -> None:
        self._metrics = resolve(metrics, self._loss)

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer; another one can be set that is bound to the network."""
        return self._unbound[0] if "_unbound" in vars(self) else self._state.optimizer

    @optimizer.setter
    def optimizer(self, optimizer: Optimizer) -> None:
        if _check_optimizer(optimizer).flat is not self._state.flat:
            raise ValueError(f"optimizer {optimizer!r} is not bound to the network: set optimizer.bind(trainer.net)")
        self._state.optimizer = optimizer

    @property
    def backend(self) -> Backend:
        """The array library and device of the network."""
        if "_unbound" in vars(self) and self.net.topology.unsized:
            return self._unbound[1] or self.net._placement()[0]
        return self._state.backend

    @property
    def batch_logs(self) -> Logs:
        """
        Loss and metrics of the last step, for callbacks of ``fit``.

        Reading them waits until the device has computed them: do it every hundred steps, say, and not after each.
        """
        return {} if self._loop is None else self._loop.batch_logs()

    def _repr_html_(self) -> str:
        """Return the network as a table, and what trains it, for notebooks."""
        what = f"{self.loss!r}, {self.optimizer!r}, on {self.backend.name}, {self.steps:,} steps"
        return f"{self.net._repr_html_()}<p>{escape(what)}</p>"

    def step(self, x: Array, y: Array, sample_weight: Array | None = None) -> Array:
        """
        Change the weights once, for one batch.

        Nothing is read back from the device: wrong shapes leave the weights as they were, but values are not checked (a
        label out of range counts as no class). :meth:`fit` checks them once, before the first step.

        Parameters
        ----------
        x, y : array
            A batch on the network's device; :meth:`portanet.Layer.asarray` brings it there.
        sample_weight : array, shape (N,), optional
            Weight of each example, on the device.

        Returns
        -------
        array, shape ()
            The loss before the change, on the device.
        """
        self._state.check_current()
        batch: tuple[Any, ...]
        try:
            batch = x.shape, x.dtype, y.shape, y.dtype, None if sample_weight is None else sample_weight.shape
        except AttributeError:  # several arrays, or what is no array
            parts = [*tree_leaves(x), *tree_leaves(y), *([] if sample_weight is None else [sample_weight])]
            known = all(hasattr(part, "shape") for part in parts)
            batch = tuple((part.shape, part.dtype) for part in parts) if known else ()
        with self._state.flat.backend.activate():
            if not batch or batch != self._checked_batch:  # the forward pass would change running statistics
                if self.communicator.size > 1:
                    raise RuntimeError("step trains in one process: call fit, or give the Trainer communicator=None")
                self._try_loss(x, y, sample_weight)
                self._checked_batch = batch
            value, _ = self._train_step(x, y, sample_weight)
        self.steps += 1
        return value

    @_on_device_of_data
    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        epochs: int = 1,
        batch_size: int = 32,
        shuffle: bool = True,
        steps_per_epoch: int | None = None,
        validation_data: tuple[Any, ...] | Iterable[Any] | None = None,
        validation_split: float = 0.0,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | Sequence[float] | None = None,
        truncated_bptt_steps: int | None = None,
        callbacks: Callback | Sequence[Callback] = (),
        progress: bool = True,
        capture: Literal["auto", "never"] = "auto",
        resume: bool | str | PathLike[str] = False,
    ) -> History:
        """
        Train for a number of epochs.

        Parameters
        ----------
        x : array_like, shape (N, ...), or dict of these, or tuple of arrays, or iterable of tuple
            Inputs; host data is moved to the network's device once, or batch by batch if it does not fit there. Without
            y, an iterable of batches ``(x, y)`` or ``(x, y, sample_weight)``, such as a generator or a data loader of
            PyTorch, which is read one batch ahead. ``batch_size``, ``shuffle`` and the weights are then up to it.
        y : array_like, or dict of these, or tuple of arrays
            N targets, as the loss documents.
        epochs : int
            Passes over the data.
        batch_size : int
            Examples a step, in each process if several train together. The last batch may be shorter, so that an epoch
            has ``ceil(N / batch_size)`` steps. Where batch norm needs two examples, a single one that is left over
            joins the batch before.
        shuffle : bool
            Draw a new order for every epoch, from the trainer's seed.
        steps_per_epoch : int, optional
            Steps of an epoch on an iterable; by default all of its batches. The next epoch goes on in an iterator, such
            as a generator without end, and begins any other iterable anew.
        validation_data : tuple (x, y) or (x, y, sample_weight), or iterable of such batches, optional
            Data to evaluate after each epoch, reported as ``val_...``.
        validation_split : float
            Fraction of the data, the last examples, to use as validation data instead.
        sample_weight : array_like, shape (N,), optional
            Weight of each example in the loss: weight 2 counts as two examples. Metrics are not weighted.
        class_weight : sequence of float, or dict of int to float, optional
            Weight of each class; multiplies ``sample_weight``. Classes that a dict does not name weigh 1.
        truncated_bptt_steps : int, optional
            Positions of a step, for long sequences: x (N, T, ...) and y (N, T, ...) are divided along T, and each part
            is a step. Recurrent layers go on with the state of the part before; the gradient ends where a part begins.
            Loss and metrics are averaged over the positions.
        callbacks : Callback or sequence of Callback
            Called before and after steps, and after each epoch.
        progress : bool
            Report on stderr: a bar on a terminal with tqdm installed, else a line an epoch.
        capture : {"auto", "never"}
            Whether to record a step and replay it, if the device can: order of examples, learning rate and random
            numbers still change, but Python numbers that a layer of one's own keeps do not. If the data are arrays of
            the device, the recording and its memory are kept until ``fit`` gets others.
        resume : path-like or bool
            Go on from a checkpoint that :meth:`save` or :class:`portanet.ModelCheckpoint` wrote, also in the middle of
            an epoch, up to ``epochs`` epochs in all. With the same data and arguments, the result has the same bits as
            without an interruption. An iterable must yield the batches of the interrupted epoch again, an iterator all
            batches from its beginning: those that were done are skipped. True takes the newest file of the
            ModelCheckpoint among the callbacks; if there is none, training starts from the beginning.

        Returns
        -------
        History
            Loss and metrics of each epoch, averaged over the examples as they were trained on.

        Raises
        ------
        ValueError
            If data or settings are unfit; the weights are as before. If a later batch of an iterable is unfit, they are
            those after the batch before it.
        Diverged
            If the loss or a weight became NaN or infinite; the weights are those of the last finite epoch.
        FileFormatError
            If the checkpoint is damaged, or belongs to other training; nothing is changed.
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
        if self._loop is not None:
            raise RuntimeError(
                "fit of this Trainer is running, in another thread or around a callback: make a second one"
            )
        epochs, batch_size = check_count("epochs", epochs), check_count("batch_size", batch_size)
        shuffle, progress = check_flag("shuffle", shuffle), check_flag("progress", progress)
        validation_split = check_number("validation_split", validation_split, at_least=0, below=1)
        counts = {"steps_per_epoch": steps_per_epoch, "truncated_bptt_steps": truncated_bptt_steps}
        steps_per_epoch, part = (optional(check_count)(name, value) for name, value in counts.items())
        check_choice("capture", capture, choices=("auto", "never"))
        callbacks = [callbacks] if isinstance(callbacks, Callback) else callbacks
        if not isinstance(callbacks, Sequence) or not all(isinstance(call, Callback) for call in callbacks):
            raise TypeError(f"callbacks must be a list of Callback objects, got {callbacks!r}")
        self._state.check_topology()
        _check_loss(self.loss)
        path = self.communicator.broadcast(_checkpoint_of(resume, callbacks), "the checkpoint")
        stream = self._stream(x) if y is None else None
        given = {
            "validation_split": validation_split or None,
            "sample_weight": sample_weight,
            "class_weight": class_weight,
            "truncated_bptt_steps": part,
        }
        if stream is None:
            data, validation_data = self._arrays(x, y, validation_data, **given)
            warn_if_merged(self.net, self.loss, x, y)
        elif unused := [name for name, value in given.items() if value is not None]:
            raise ValueError(f"{unused[0]} needs arrays, but x is an iterable of batches: give fit(x, y)")
        else:
            if stream.once and epochs > 1 and steps_per_epoch is None:
                fix = "give steps_per_epoch, or an iterable that begins anew, such as a list"
                raise ValueError(f"x is an iterator, which can be read once: {fix}")
            data, shuffle = stream.first(), False
        if stream is None and steps_per_epoch is not None:
            raise ValueError("steps_per_epoch needs an iterable of batches: arrays have ceil(N / batch_size) steps")
        validate = None if validation_data is None else self._validation(validation_data)
        warn_if_unfit(self.net, self.loss, data)
        tried = data if part is None else data.first_positions(part)
        check_metrics(self.net, self.metrics, tried, batch_size)
        record = capture == "auto" and self.backend.capture is not None
        executor, scorer = self._executor(
            data, batch_size, record=record, stream=stream, n_steps=steps_per_epoch, part=part
        )
        if self.optimizer.full_batch and stream is None and executor.n_steps != 1:
            name, n = type(self.optimizer).__name__, data.n_examples
            text = f"{name} needs all {n} examples in each step: give fit batch_size={n}"
            warnings.warn(text, UserWarning, stacklevel=3)
        self.metric_names = scorer.names if validate is None else (*scorer.names, *(f"val_{n}" for n in scorer.names))
        all_callbacks = (*callbacks, *progress_callbacks(progress, epochs, executor.n_steps))
        loop = self._loop = FitLoop(
            self,
            self._state,
            executor,
            scorer,
            data=data,
            shuffle=self._shuffle if shuffle else None,
            validate=validate,
            callbacks=[call for call in all_callbacks if call.on_all_ranks or self.communicator.rank == 0],
            ranks=FitRanks(self.communicator, self._parallel, sync_batch_norm=self.sync_batch_norm),
            on_out_of_memory=partial(find_batch_size, batch_size=batch_size, try_step=partial(self._try_step, tried)),
        )
        try:
            with report_errors_to_ranks(self.communicator):
                self._begin(loop, path)
                loop.run(epochs)
        finally:
            self._loop = None  # it holds the data
            self._executors.keep_only_if_given([*tree_leaves(x), *tree_leaves(y), sample_weight])
        return self.history

    @_on_device_of_data
    def evaluate(self, x: Any, y: Any = None, *, sample_weight: Any = None, batch_size: int = 1000) -> Logs:
        """
        Return loss and metrics of inference, averaged over the examples.

        Parameters
        ----------
        x, y, sample_weight : array_like, or x an iterable of tuple
            As for :meth:`fit`.
        batch_size : int
            How many examples at a time. It bounds the memory, but for metrics that need all predictions at once.
        """
        batch_size = check_count("batch_size", batch_size)
        if y is None:
            if sample_weight is not None:
                raise ValueError(
                    "sample_weight needs arrays, but x is an iterable of batches: let it yield (x, y, sample_weight)"
                )
            return self._evaluate_stream(self._stream(x))
        data = prepare_data(self.net, self.loss, x, y, sample_weight, keep_on_host="always")
        return self._executors.retry_without_recording(partial(self._evaluate, data, batch_size))

    @with_checked_arguments
    def predict(self, x: Any, *, batch_size: int = 1000) -> Any:
        """Return the outputs for many inputs: :meth:`Layer.predict` of the network."""
        return self._executors.retry_without_recording(partial(self.net.predict, x, batch_size=batch_size))

    def save(self, path: str | PathLike[str]) -> None:
        """
        Write the network and all that decides how its training goes on to one safetensors file, or nothing.

        Weights, running statistics, the optimizer's state and settings, random streams, history and, within ``fit``,
        the place in the epoch and the state of the callbacks; ``fit(..., resume=path)`` or :meth:`load` goes on from
        there. :func:`portanet.load` reads the network alone.

        Raises
        ------
        OSError
            If the file cannot be written; an older one is as before.
        FloatingPointError
            If weights or states hold NaN or infinity.
        ValueError
            If the network cannot be saved, see :meth:`Layer.save`.
        """
        if self.communicator.rank != 0:
            return
        state, loop = {**self._state_dict(), "fit": None}, self._loop
        if loop is not None:
            state["fit"] = loop.state_dict()
            state["shuffle"] = loop.order_state or state["shuffle"]  # an epoch that goes on draws its order again
        write_checkpoint(check_path("path", path), self.net, state)

    @_on_device
    def load(self, path: str | PathLike[str]) -> None:
        """
        Take over what :meth:`save` wrote, for a Trainer of the same network, loss and optimizer.

        A later ``fit`` begins a new history; ``fit(..., resume=path)`` goes on with the one that was interrupted.

        Raises
        ------
        OSError
            If the file cannot be read.
        FileFormatError
            If it is damaged, or belongs to other training; nothing is changed.

        Examples
        --------
        >>> trainer = Trainer(portanet.Linear(2, 1), portanet.MSELoss(), portanet.SGD(lr=0.1, momentum=0.9))
        >>> _ = trainer.fit(np.ones((4, 2)), np.ones((4, 1)), progress=False)
        >>> trainer.save("run.safetensors")
        >>> again = Trainer(portanet.Linear(2, 1), portanet.MSELoss(), portanet.SGD(lr=0.1, momentum=0.9))
        >>> again.load("run.safetensors")
        >>> again.steps, again.history == trainer.history
        (1, True)
        """
        if self._loop is not None:
            raise RuntimeError("a Trainer cannot load a checkpoint while it trains: give it to fit(..., resume=path)")
        settings = self.optimizer.arguments()
        self._load_state_dict(read_checkpoint(check_path("path", path), self.net))
        self._warn_if_replaced(settings, stacklevel=4)

    def stop(self) -> None:
        """End ``fit`` after this epoch; for callbacks."""
        if self._loop is not None:
            self._loop.stopped = True

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
        return self._state.snapshot()

    @_on_device
    def restore(self, snapshot: list[Array]) -> None:
        """
        Go back to a snapshot.

        Raises
        ------
        RuntimeError
            If there are more or fewer arrays than in the snapshot.
        ValueError
            If the arrays have other shapes, as those of another network.
        """
        self._state.restore(snapshot)

    def _state_dict(self) -> dict[str, Any]:
        """Return all that decides how training goes on, but the network."""
        return {
            "loss": to_json(self.loss),
            "optimizer": self._state.state_dict(),
            "steps": self.steps,
            "shuffle": self._shuffle.bit_generator.state,
            "history": self.history.epochs,
        }

    def __getstate__(self) -> dict[str, Any]:
        """Copy and pickle what the constructor takes and what training has changed; arrays go through the host."""
        if self._loop is not None:
            raise RuntimeError("a Trainer cannot be copied or pickled while it trains: save(path) writes a checkpoint")
        restored = ("_state", "_unbound", "_loop", "_executors", "steps", "history")  # by __setstate__
        own = {name: value for name, value in vars(self).items() if name not in restored}
        if "_unbound" in vars(self):
            return {**own, "history": self.history, "steps": self.steps, "_unbound": self._unbound}
        state = flatten(self._state_dict(), self.backend.to_numpy)
        return {**own, "optimizer": self.optimizer, "state": state}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "_unbound" in state:
            vars(self).update(state, _loop=None, _executors=ExecutorCache())
            return
        net, (text, arrays) = state["_net"], state.pop("state")
        self._loop, self._state = None, TrainingState(net, state.pop("optimizer").bind(net))
        self._executors = ExecutorCache()
        vars(self).update(state)
        changed = unflatten(text, arrays, self.backend.asarray)
        with self.backend.activate():
            self._load_state_dict(Checkpoint("the pickle", net.get_weights(), net.topology.frozen, changed))

    def _begin(self, loop: FitLoop, path: str | PathLike[str] | None) -> None:
        """Begin ``fit`` anew, or where a checkpoint ends."""
        if path is None:
            self.history = History()
            loop.begin()
        else:
            self._resume(path, loop)

    def _resume(self, path: str | PathLike[str], loop: FitLoop) -> None:
        """Begin ``fit`` where a checkpoint ends, or refuse it and change nothing."""
        saved, before = read_checkpoint(path, self.net), self._copy_state()
        settings = self.optimizer.arguments()
        try:
            self._load_state_dict(saved)
            loop.begin(saved)
        except BaseException:
            self._load_state_dict(before)
            raise
        self._warn_if_replaced(settings, stacklevel=6)

    def _warn_if_replaced(self, settings: dict[str, Any], *, stacklevel: int) -> None:
        """Warn where a checkpoint has changed settings of the optimizer, except lr, which a schedule may have set."""
        now = self.optimizer.arguments()
        other = [f"{name}={value!r}" for name, value in settings.items() if name != "lr" and value != now[name]]
        if other:
            text = f"{', '.join(other)} of the optimizer gives way to the checkpoint's {self.optimizer!r}"
            warnings.warn(f"{text}: set it after loading", UserWarning, stacklevel=stacklevel)

    def _load_state_dict(self, saved: Checkpoint) -> None:
        """Go on from a checkpoint of a network like ours, or refuse it and change nothing."""
        state = saved.state
        with as_file_errors(saved.path):
            if state["loss"] != (ours := to_json(self.loss)):
                raise ValueError(f"it was trained with the loss {state['loss']}, but the Trainer has {ours}")
            steps, shuffle, history = check_count("steps", state["steps"], at_least=0), default_rng(), History()
            shuffle.bit_generator.state = state["shuffle"]
            for logs in state["history"]:
                check_logs(logs)
                history.append(logs)
            self._state.load_state_dict(state["optimizer"])
        self.net.set_weights(saved.weights)
        if saved.frozen != self.net.topology.frozen:
            self.net._freeze_only(saved.frozen)
        self._shuffle.bit_generator.state = shuffle.bit_generator.state
        self.steps, self.history = steps, history

    def _copy_state(self) -> Checkpoint:
        """Return a checkpoint in memory."""
        text, arrays = flatten(self._state_dict(), self.backend.to_numpy)
        state = unflatten(text, arrays, self.backend.asarray)
        return Checkpoint("memory", self.net.get_weights(), self.net.topology.frozen, state)

    def _try_loss(self, x: Array, y: Array, sample_weight: Array | None) -> None:
        """Refuse a batch that the loss refuses, without running the network."""
        arrays = [as_array(values, name=name) for name, values in named_leaves("x", x)]
        n, like = check_rows_of("x", arrays), self._state.flat.data

        def zeros(shape: Shape) -> Array:
            return self.backend.xp.zeros((n, *shape), dtype=like.dtype, device=like.device)

        self.loss(map_shapes(zeros, self.net.output_shape(input_shape_of(tree_unflatten(x, arrays)))), y, sample_weight)

    def _train_step(self, x: Array, y: Array, sample_weight: Array | None = None) -> tuple[Array, Array]:
        program = engine.compiled(self._state.net) if USE_ENGINE else self._state.net
        step = engine.train_step if current_shard() is None else self._parallel
        if self.float32_matmul_precision is None:
            return step(program, self._loss, self._state.optimizer, x, y, sample_weight=sample_weight)
        with float32_matmul_precision_as(self.float32_matmul_precision):
            return step(program, self._loss, self._state.optimizer, x, y, sample_weight=sample_weight)

    def _executor(
        self,
        data: Data,
        batch_size: int,
        *,
        record: bool,
        stream: BatchStream | None = None,
        n_steps: int | None = None,
        part: int | None = None,
    ) -> tuple[EagerExecutor, Scorer]:
        """Choose how steps run, and what they measure."""
        ranks, weighted = self.communicator, data.sample_weight is not None
        scorer = Scorer(self.loss, self.metrics, has_weights=weighted, communicator=ranks)

        def step(*arrays: Array) -> Sequence[Array | float]:
            x, y, sample_weight = data.like(arrays)
            value, prediction = self._train_step(x, y, sample_weight)
            _, *numbers = scorer.row(value, prediction, y, sample_weight)
            return [value, *[xp.astype(n, like.dtype, copy=False) if hasattr(n, "dtype") else n for n in numbers]]

        if ranks.size > 1 and isinstance(self.loss, MultiOutputLoss) and self.loss.weighs_terms:
            fix = "give sample_weight instead of weights of classes, and no ignore_index"
            raise ValueError(f"several ranks need losses that are means over the examples, got {self.loss}: {fix}")
        xp, like = self.backend.xp, self._state.flat.data
        batches = [slice(0)] if stream else batch_slices(self.net, data.n_examples, batch_size * ranks.size)
        n_arrays = len(data.arrays) - weighted
        settings = ParallelSettings(ranks, n_arrays, 1 + scorer.weighted, self.sync_batch_norm)
        n_rows = len(batches) * (1 if part is None else -(-data.arrays[0].shape[1] // part))
        table = xp.zeros((n_rows, scorer.n_columns), dtype=like.dtype, device=like.device)
        if stream and ranks.size > 1:
            return ParallelIterableExecutor(step, stream, table, self.backend, n_steps, settings=settings), scorer
        if stream:
            return IterableExecutor(step, stream, table, self.backend, n_steps), scorer
        if ranks.size > 1:
            return ParallelExecutor(step, data.arrays, batches, table, self.backend, settings=settings), scorer
        if part is not None:
            sequences = {"n_sequences": n_arrays, "length": part}
            return TruncatedExecutor(step, data.arrays, batches, table, self.backend, **sequences), scorer
        on_host = not isinstance(data.arrays[0], self.backend.array_type)
        record = record and USE_GRAPH and not scorer.of_all  # a replayed step overwrites the predictions of the last
        kind = StreamingExecutor if on_host else GraphExecutor if record else EagerExecutor
        return self._executors.get_or_add(kind(step, data.arrays, batches, table, self.backend), scorer)

    def _arrays(
        self,
        x: Any,
        y: Any,
        validation_data: Any,
        *,
        validation_split: float | None,
        sample_weight: Any,
        class_weight: Mapping[int, float] | Sequence[float] | None,
        truncated_bptt_steps: int | None,
    ) -> tuple[Data, Any]:
        """Return the data to train on, and those to validate with."""
        x = one_or_several("x", x, several=self.net._accepts_several())
        given = (x, one_or_several("y", y, several=self.loss.takes_several), sample_weight)
        if validation_split:
            if validation_data is not None:
                raise ValueError("give either validation_data or validation_split")
            given, validation_data = hold_out(given, validation_split)
        keep: Any = "if too large" if USE_STREAMING and truncated_bptt_steps is None else "never"
        data = prepare_data(self.net, self.loss, *given, keep_on_host=keep)
        if truncated_bptt_steps is not None:
            check_sequences(self.net, data, self.metrics, self.communicator)
        return apply_class_weight(self.net, data, class_weight), validation_data

    def _validation(self, data: Any) -> Callable[[], Logs]:
        """Return a function that evaluates the network on arrays, or on an iterable of batches."""
        of_batches = isinstance(data, list) and all(isinstance(part, tuple) for part in data)
        batches = of_batches or not isinstance(data, (tuple, list))
        if batches and is_iterable_of_batches(data) and not isinstance(data, Iterator):
            stream = self._stream(data, name="validation_data")
            return partial(self._executors.retry_without_recording, partial(self._evaluate_stream, stream))
        if batches or len(data) not in (2, 3):
            accepted = "a tuple (x, y) or (x, y, sample_weight), or batches of these that can be read more than once"
            raise ValueError(f"validation_data must be {accepted}, got {shown(data)}")
        prepared = prepare_data(self.net, self.loss, *data, name="validation ", keep_on_host="always")
        return partial(self._executors.retry_without_recording, partial(self._evaluate, prepared, 1000))

    def _with_sizes(self, x: Any, y: Any = None, **options: Any) -> tuple[tuple[Any, Any], dict[str, Any]]:
        """Build the network for inputs x, or for the first batch of an iterable, and return the arguments."""
        if y is None:
            x = self._stream(x)  # it keeps the first batch
        self.net._build_for(x.first_inputs() if y is None else x)
        return (x, y), options

    def _stream(self, x: Any, *, name: str = "x") -> BatchStream:
        if isinstance(x, BatchStream):
            return x
        return BatchStream(x, partial(prepare_data, self.net, self.loss), name)

    def _evaluate(self, data: Data, batch_size: int) -> Logs:
        ranks, weighted = self.communicator, data.sample_weight is not None
        mine = data if ranks.size == 1 else data.take(part_of(slice(0, data.n_examples), ranks.rank, ranks.size))
        return self._scores(mine.batches(self.net, batch_size), has_weights=weighted)

    def _scores(self, batches: Iterable[Data], *, has_weights: bool) -> Logs:
        """Return loss and metrics of inference over the batches of all ranks."""
        ranks = self.communicator
        with report_errors_to_ranks(ranks):
            return evaluate(self.net, self.loss, self.metrics, batches, has_weights=has_weights, communicator=ranks)

    def _evaluate_stream(self, stream: BatchStream) -> Logs:
        weighted = stream.first().sample_weight is not None
        try:
            return self._scores(stream.epoch(), has_weights=weighted)
        except KeyboardInterrupt:  # the next batch may never come
            stream.close(wait=False)
            raise
        finally:
            stream.close()

    def _try_step(self, data: Data, batch_size: int) -> None:
        """Run a step and undo it."""
        before = self.snapshot()
        try:
            with self.backend.activate():
                self._train_step(*data.batch(self.net, slice(0, batch_size)))
        finally:
            self.restore(before)
