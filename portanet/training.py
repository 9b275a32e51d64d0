"""Training: one step, many epochs, and what comes of them."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import wraps
from traceback import clear_frames
from typing import Any, Concatenate, Literal, ParamSpec, TypeAlias, TypeVar

import numpy as np

from portanet.backends import Backend, OutOfMemory
from portanet.backends.precision import Float32Matmul, check_float32_matmul, float32_matmul_as
from portanet.callbacks import Callback, progress_callbacks
from portanet.checks import check_count
from portanet.data import batch_slices, check_data
from portanet.history import History
from portanet.layers.base import Layer, check_layer
from portanet.losses import Loss
from portanet.optimizers import Optimizer
from portanet.steps import FedSteps, RecordedSteps, Steps
from portanet.typing import Array

Metric: TypeAlias = Callable[[Array, Array], Array]


class Diverged(FloatingPointError):
    """
    The loss, or a weight, is no longer finite.

    Attributes
    ----------
    history : History
        The finite epochs.

    Examples
    --------
    >>> trainer = portanet.Trainer(portanet.Linear(1, 1), portanet.MSELoss(), portanet.SGD(lr=1e30))
    >>> x = np.ones((8, 1))
    >>> try:
    ...     trainer.fit(x, x, epochs=5, batch_size=1, progress=False)
    ... except portanet.Diverged as reason:
    ...     print(str(reason)[:28], len(reason.history))
    the loss became inf at step  0
    """

    def __init__(self, message: str, history: History):
        super().__init__(message)
        self.history = history

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as what it was made with."""
        return type(self), (str(self), self.history)


P = ParamSpec("P")
R = TypeVar("R")


def _on_device(method: "Callable[Concatenate[Trainer, P], R]") -> "Callable[Concatenate[Trainer, P], R]":
    """Run a method while the trainer's device is the current one."""

    @wraps(method)
    def run(self: "Trainer", /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.backend.activate():
            return method(self, *args, **kwargs)

    return run


class Trainer:
    """
    A network, the loss that judges it, and the optimizer that changes it.

    Parameters
    ----------
    net : Layer
        The network. Weights it does not have yet are drawn from ``seed``.
    loss : Loss
        With reduction "mean" or "sum".
    optimizer : Optimizer
        Bound to the network here.
    metrics : sequence of callable, or mapping of name to callable
        ``metric(prediction, target)`` gives an array of shape (); reported beside the loss under the function's name.
    device : str, optional
        Where to train; by default where the network is.
    seed : int
        Of initial weights and of the order of examples: the same everywhere.
    float32_matmul : {"float32", "tf32", "bfloat16"}, optional
        How exactly a training step multiplies float32 matrices on a GPU: see :func:`portanet.set_float32_matmul`, whose
        choice stands by default. Weights, gradients and the optimizer's state are float32 all the same, and inference
        is not touched.

    Examples
    --------
    >>> x = np.asarray([[0, 0], [0, 1], [1, 0], [1, 1]], dtype="float32")
    >>> labels = np.asarray([0, 1, 1, 0])  # exclusive or
    >>> net = portanet.Sequential(portanet.Linear(2, 8), portanet.TanH(), portanet.Linear(8, 2))
    >>> trainer = Trainer(net, portanet.CrossEntropyLoss(), portanet.Adam(lr=0.05), metrics=[portanet.accuracy])
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
        metrics: Sequence[Metric] | Mapping[str, Metric] = (),
        device: str | Backend | None = None,
        seed: int = 0,
        float32_matmul: Float32Matmul | None = None,
    ):
        if not isinstance(loss, Loss):
            raise TypeError(f"loss must be a Loss object, got {loss!r}: write MSELoss() for instance")
        if loss.reduction == "none":
            raise ValueError(f"loss must reduce to one number, got {loss!r}: use reduction='mean'")
        check_layer(net)
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"optimizer must be an Optimizer object, got {optimizer!r}: write SGD(lr=0.1) for instance")
        if float32_matmul is not None:
            check_float32_matmul("float32_matmul", float32_matmul)
        self.metrics, self.float32_matmul = _named(metrics), float32_matmul
        net.to(device, seed=seed)
        self.net, self.loss, self.optimizer = net, loss, optimizer.bind(net)
        self.history = History()
        self.recorded: tuple[str, ...] = ()  # what fit records of each epoch
        self.steps = 0
        self._flat = net.flat
        self._shuffle = np.random.default_rng([2, seed])
        self._stopped = False

    @property
    def backend(self) -> Backend:
        """Where the network is."""
        return self._flat.backend

    @_on_device
    def step(self, x: Array, target: Array) -> Array:
        """
        Change the weights once, for one batch.

        Nothing is read back from the device: bad shapes leave the weights as they were (the network may have been run
        by then, with its running statistics), but values are not looked at (a label out of range counts as no class).
        :meth:`fit` looks at them once, before all.

        Parameters
        ----------
        x, target : array
            A batch on the network's device; :meth:`Layer.asarray` brings it there.

        Returns
        -------
        array, shape ()
            The loss before the change, on the device.
        """
        self._check_optimizer()
        value, _ = self._step(x, target)
        self.steps += 1
        return value

    @_on_device
    def fit(
        self,
        x: Any,
        target: Any,
        *,
        epochs: int = 1,
        batch_size: int = 32,
        shuffle: bool = True,
        validation_data: tuple[Any, Any] | None = None,
        callbacks: Sequence[Callback] = (),
        progress: bool = True,
        capture: Literal["auto", "never"] = "auto",
    ) -> History:
        """
        Train for a number of passes over the data.

        Parameters
        ----------
        x : array_like of float, shape (N, ...)
            Inputs; host data is moved to the network's device once, or batch by batch where it is too large for that.
        target : array_like
            As the loss wants it, N of them.
        epochs : int
            Passes over the data.
        batch_size : int
            Examples a step; the last batch may be shorter. A single example that is left over joins the batch before,
            since some layers need more than one to train on.
        shuffle : bool
            Draw a new order for every epoch, from the trainer's seed.
        validation_data : tuple (x, target), optional
            Data to evaluate after each epoch, reported as ``val_...``.
        callbacks : sequence of Callback
            Called before and after steps, and after each epoch.
        progress : bool
            Report on stderr: a bar on a terminal with tqdm installed, else a line an epoch.
        capture : {"auto", "never"}
            Whether to record a step and replay it, where the device can, and several at a time where no callback is
            called before each: the order of examples, the learning rate and random numbers change all the same, but
            numbers that a layer of one's own keeps outside of arrays do not.

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
            If a step needs more memory than a GPU has; it says with which batch size one went through. (NumPy raises
            its own MemoryError, of which this is one.)

        Examples
        --------
        >>> trainer = Trainer(portanet.Linear(2, 1), portanet.MSELoss(), portanet.SGD(lr=0.1))
        >>> x, target = np.ones((8, 2)), np.ones((8, 1))
        >>> history = trainer.fit(x, target, epochs=3, progress=False, capture="never")  # to look at each in a debugger
        >>> history["loss"][-1] < history["loss"][0]
        True
        """
        epochs, batch_size = check_count("epochs", epochs), check_count("batch_size", batch_size)
        self._check_flat()
        x, target = self._checked(x, target, may_stay=True)
        if validation_data is not None and not (
            isinstance(validation_data, (tuple, list)) and len(validation_data) == 2
        ):
            raise ValueError("validation_data must be a pair (x, target)")
        held_out = None if validation_data is None else self._checked(*validation_data, name="validation ")
        if not isinstance(callbacks, Sequence) or not all(isinstance(call, Callback) for call in callbacks):
            raise TypeError(f"callbacks must be a list of Callback objects, got {callbacks!r}")
        if capture not in ("auto", "never"):
            raise ValueError(f"capture must be 'auto' or 'never', got {capture!r}")
        self._check_metrics(x, target)
        steps = self._steps(x, target, batch_size, recorded=capture == "auto" and self.backend.capture is not None)
        calls = [*callbacks, *progress_callbacks(progress, epochs, len(steps.batches))]
        history = self.history = History()
        self._stopped = False
        names = ("loss", *self.metrics)
        self.recorded = names if held_out is None else (*names, *(f"val_{name}" for name in names))
        with ExitStack() as at_end:
            at_end.callback(steps.hold, [])  # what was recorded holds the steps, and they hold it
            for call in calls:
                at_end.callback(call.on_fit_end, self)
                call.on_fit_begin(self)
            while len(history) < epochs and not self._stopped:
                try:
                    with self.backend.activate():  # at its end, the library's own error becomes this one
                        row = self._pass(steps, shuffle, calls)
                except OutOfMemory as error:
                    raise self._sized(error, x, target, batch_size) from None
                if held_out is not None:
                    row |= {f"val_{name}": value for name, value in self._scores(*held_out).items()}
                history.append(row)
                for call in calls:
                    call.on_epoch_end(self, row)
        return history

    @_on_device
    def epoch(
        self, x: Array, target: Array, *, batch_size: int, shuffle: bool = True, callbacks: Sequence[Callback] = ()
    ) -> dict[str, float]:
        """
        Pass over data on the device once, without the checks of :meth:`fit`, which takes its passes by itself.

        Returns
        -------
        dict
            Loss and metrics, averaged over the examples.
        """
        return self._pass(self._steps(x, target, batch_size, recorded=False), shuffle, callbacks)

    def _steps(self, x: Array, target: Array, batch_size: int, *, recorded: bool) -> Steps:
        xp, like, batches = self.backend.xp, self._flat.data, batch_slices(x.shape[0], batch_size)
        numbers = xp.zeros((len(batches), 1 + len(self.metrics)), dtype=like.dtype, device=like.device)
        on_host = not isinstance(x, self.backend.array_type)
        kind = FedSteps if on_host else RecordedSteps if recorded else Steps
        return kind(self._measured_step, (x, target), batches, numbers, self.backend)

    def _pass(self, steps: Steps, shuffle: bool, callbacks: Sequence[Callback]) -> dict[str, float]:
        before, n = self.snapshot(), steps.batches[-1].stop
        stepping = [c for c in callbacks if type(c).on_step_begin is not Callback.on_step_begin]
        watching = [c for c in callbacks if type(c).on_steps_end is not Callback.on_steps_end]
        steps.hold([*self._changing(), self.optimizer.rate])
        steps.begin(self._shuffle.permutation(n) if shuffle else None)
        while steps.left:
            for call in stepping:
                call.on_step_begin(self)
            self._check_optimizer()
            self.steps += steps.take(1 if stepping else steps.left)
            for call in watching:
                call.on_steps_end(self)
        numbers = self.backend.to_numpy(steps.numbers).astype("float64")  # after the last step: none reads anything
        self._check_finite(numbers[:, 0], before)
        share = np.asarray([batch.stop - batch.start for batch in steps.batches]) / n
        averages = dict(zip(("loss", *self.metrics), (share @ numbers).tolist(), strict=True))
        if self.loss.reduction == "sum":
            averages["loss"] = float(np.sum(numbers[:, 0]))
        return averages

    @_on_device
    def evaluate(self, x: Any, target: Any, *, batch_size: int = 1000) -> dict[str, float]:
        """
        Loss and metrics of inference.

        Parameters
        ----------
        x, target : array_like
            As for :meth:`fit`.
        batch_size : int
            How many examples at a time: bounds the memory.

        Returns
        -------
        dict
            ``"loss"`` and each metric by name.
        """
        return self._scores(*self._checked(x, target), batch_size)

    def predict(self, x: Any, *, batch_size: int = 1000) -> Any:
        """Outputs for many inputs: :meth:`Layer.predict` of the network."""
        return self.net.predict(x, batch_size=batch_size)

    def stop(self) -> None:
        """End ``fit`` after this epoch; for callbacks."""
        self._stopped = True

    @_on_device
    def snapshot(self) -> list[Array]:
        """
        Copies of all that training changes: weights, states of layers and of the optimizer.

        Examples
        --------
        >>> trainer = Trainer(portanet.Linear(2, 1), portanet.MSELoss(), portanet.SGD(lr=0.1))
        >>> before = trainer.snapshot()
        >>> _ = trainer.fit(np.ones((4, 2)), np.ones((4, 1)), progress=False)
        >>> trainer.restore(before)
        """
        return [self.backend.xp.asarray(array, copy=True) for array in self._changing()]

    @_on_device
    def restore(self, snapshot: list[Array]) -> None:
        """
        Go back to a snapshot.

        Raises
        ------
        RuntimeError
            If there are states now that the snapshot lacks.
        """
        changing = self._changing()
        if len(changing) != len(snapshot):
            raise RuntimeError(
                f"the snapshot holds {len(snapshot)} arrays, but {len(changing)} change now: "
                "an optimizer must make its state in new_state(), and not in a step"
            )
        for array, values in zip(changing, snapshot, strict=True):
            array[...] = values

    def _changing(self) -> list[Array]:
        states = [state.data for state in self.net.named_buffers().values()]
        return [self._flat.data, *states, *self.optimizer.state.values()]

    def _step(self, x: Array, target: Array) -> tuple[Array, Array]:
        if self.float32_matmul is None:
            return self._descend(x, target)
        with float32_matmul_as(self.float32_matmul):
            return self._descend(x, target)

    def _descend(self, x: Array, target: Array) -> tuple[Array, Array]:
        prediction, pullback = self.net.vjp(x)
        value, dloss = self.loss.vjp(prediction, target)
        self._flat.begin_gradient()
        try:
            pullback(dloss(), need_dx=False)
        finally:
            self._flat.end_gradient()
        self.optimizer.step()
        return value, prediction

    def _measured_step(self, x: Array, target: Array) -> list[Array]:
        value, prediction = self._step(x, target)
        astype, numbers = self._flat.xp.astype, [value]
        for metric in self.metrics.values():
            numbers.append(astype(metric(prediction, target), value.dtype, copy=False))
        return numbers

    def _scores(self, x: Array, target: Array, batch_size: int = 1000) -> dict[str, float]:
        prediction = self.net.predict(x, batch_size=batch_size)
        scores = {"loss": self.loss(prediction, target)}
        scores |= {name: metric(prediction, target) for name, metric in self.metrics.items()}
        return {name: float(value) for name, value in scores.items()}

    def _check_optimizer(self) -> None:
        """Refuse to train what is no longer the network; a comparison or two, so that each step can afford it."""
        if self.optimizer.flat is not self._flat:
            raise RuntimeError(
                f"{self.optimizer!r} was bound to another network since: give each Trainer one of its own"
            )
        if not self._flat.current:
            raise RuntimeError(
                "the network's weights have moved since this Trainer was made (by to, initialize, append, or another "
                "network with the same layers): make a new Trainer"
            )

    def _check_flat(self) -> None:
        self._check_optimizer()
        if self.net.parameters() != self._flat.parameters:
            raise RuntimeError("layers were appended or popped since this Trainer was made: make a new Trainer")

    def _check_finite(self, losses: np.ndarray, before: list[Array]) -> None:
        xp = self.backend.xp
        bad = np.flatnonzero(~np.isfinite(losses))
        if not bad.size and bool(xp.all(xp.isfinite(self._flat.data))):
            return
        self.restore(before)
        epoch = len(self.history) + 1
        what = (
            f"the loss became {losses[bad[0]]} at step {bad[0] + 1} of epoch {epoch}"
            if bad.size
            else f"a weight was no longer finite after step {len(losses)}, the last of epoch {epoch}"
        )
        raise Diverged(
            f"{what}; the weights are those from before this epoch: try a lower learning rate or clip_norm",
            self.history,
        )

    def _checked(self, x: Any, target: Any, name: str = "", *, may_stay: bool = False) -> tuple[Array, Array]:
        return check_data(self.net, self.loss, x, target, name, may_stay=may_stay)

    def _check_metrics(self, x: Array, target: Array) -> None:
        """Try the metrics on an example or two, so that one that does not fit fails before training."""
        if not self.metrics:
            return
        x, target = self.net.asarray(x[:2, ...]), self.net.asarray(target[:2, ...])
        prediction = self.net.forward(x)
        for name, metric in self.metrics.items():
            value = metric(prediction, target)
            if getattr(value, "shape", None) != ():
                raise TypeError(f"metric {name!r} must give an array of shape (), got {value!r}")

    def _sized(self, error: OutOfMemory, x: Array, target: Array, batch_size: int) -> OutOfMemory:
        """Find a batch size that fits, by halves; the trials leave nothing behind."""
        clear_frames(error.__traceback__)  # their variables hold arrays
        while batch_size >= 4:  # some layers need more than one example
            batch_size //= 2
            before = self.snapshot()
            try:
                with self.backend.activate():
                    self._step(self.net.asarray(x[:batch_size, ...]), self.net.asarray(target[:batch_size, ...]))
            except OutOfMemory as smaller:
                clear_frames(smaller.__traceback__)
            else:
                return OutOfMemory(error.device, error.asked, error.free, f"batch_size={batch_size} fits")
            finally:
                self.restore(before)
        return error


def _named(metrics: Sequence[Metric] | Mapping[str, Metric]) -> dict[str, Metric]:
    """Metrics by name; a name must tell one from all others, and from the loss."""
    pairs = (
        list(metrics.items()) if isinstance(metrics, Mapping) else [(getattr(m, "__name__", ""), m) for m in metrics]
    )
    names = ["loss", *(name for name, _ in pairs)]
    for name, metric in pairs:
        if not name or not name.isidentifier() or names.count(name) > 1:
            raise ValueError(
                f"metric {metric!r} needs a name of its own, got {name!r}: give a mapping, {{'name': metric}}"
            )
    return dict(pairs)
