"""
Steps that are recorded once and replayed, on backends that can capture their operations: on CUDA, as a graph or as one
kernel that runs many steps.

Launching the kernels of a small step probably takes longer than running them. A replay launches them all at once. The
gain has not been measured on a GPU yet.
"""

import warnings
from collections.abc import Callable, Sequence

import numpy as np

from portanet import kernels
from portanet.backends import Backend
from portanet.engine.eager import EagerExecutor, Step
from portanet.typing import Array

WARM_UP_STEPS = 2
"""Steps before one is recorded; they compile the kernels."""

MIN_STEPS_TO_RECORD = 64
"""Minimum remaining steps to record; below it, recording is estimated to cost more than it saves."""

STEPS_PER_GRAPH = 16
"""Steps recorded as one graph. Launching a graph is estimated to take as long as a small step."""


class GraphExecutor(EagerExecutor):
    """
    Records a step, and replays it for every batch of the same size; a shorter last batch runs eagerly, and so do all
    steps if only few remain.

    Where several steps may run at once, they are recorded as one. What changes from step to step is on the device: the
    order of the examples, and the number of the batch. Python numbers that a layer or loss reads keep their values from
    the recording; :meth:`retain` drops it where they have changed. If recording fails, a warning says why, and steps
    run one by one.
    """

    records = True

    def __init__(self, step: Step, data: tuple[Array, ...], batches: Sequence[slice], metrics: Array, backend: Backend):
        super().__init__(step, data, batches, metrics, backend)
        self.batch_size = batches[0].stop
        self.device_order = self._arange(batches[-1].stop)
        self.batch_index = self._arange(1)  # of the next step in the epoch
        self.full_steps = 0  # steps of full batch size so far
        self.replays: dict[int, Callable[[], None]] = {}  # by how many steps they run
        self.capture = backend.capture  # None once recording has failed
        self.steps_per_graph = STEPS_PER_GRAPH
        self.retained: Sequence[Array] = ()
        self.settings: object = None

    def retain(self, arrays: Sequence[Array], settings: object = None) -> None:
        """Keep arrays alive, whose addresses a recording holds. Other arrays or settings drop the recordings."""
        if [*map(id, arrays)] != [*map(id, self.retained)] or settings != self.settings:
            self.replays.clear()
        self.retained, self.settings = arrays, settings

    def free_memory(self) -> bool:
        """Drop the recordings, and with them the memory that they hold; return whether there were any."""
        had_any = bool(self.replays)
        self.replays.clear()
        return had_any

    def start_epoch(self, order: np.ndarray | None, n_done: int = 0) -> None:
        """Begin an epoch, with the order of the examples on the device."""
        super().start_epoch(order, n_done)
        n = self.device_order.shape[0]
        self.device_order[...] = self._arange(n) if self.order is None else self.order
        self.order = self.device_order
        self.batch_index[...] = n_done

    def run(self, most: int = 1) -> int:
        """Replay the next step, or several at once; return how many."""
        batch = self.batches[self.n_done]
        if batch.stop - batch.start != self.batch_size:
            return super().run()
        n, replay = 1, None
        if self.full_steps >= WARM_UP_STEPS and (self.replays or self._fit_remaining() >= MIN_STEPS_TO_RECORD):
            full_remaining = self.remaining - (self.batches[-1].stop - self.batches[-1].start != self.batch_size)
            n = self.steps_per_graph if min(most, full_remaining) >= self.steps_per_graph else 1
            replay = self.replays.get(n) or self._record(n)
        if replay is None:
            n, replay = 1, self._run_on_device
        replay()
        self.full_steps += n
        self.n_done += n
        return n

    def _fit_remaining(self) -> int:
        return self.remaining + (self.epochs_remaining - 1) * len(self.batches)

    def _run_on_device(self) -> None:
        """Run a step whose batch the device selects by its own counter."""
        batch = kernels.gather_batch(self.device_order, self.batch_index, self.batch_size, self.data)
        kernels.write_metrics(self.metrics, self.batch_index, self.step(*batch))

    def _arange(self, n: int) -> Array:
        xp = self.backend.xp
        return xp.arange(n, dtype=xp.int64, device=self.metrics.device)

    def _record(self, n: int) -> Callable[[], None] | None:
        """Record ``n`` steps as one; None if that fails."""
        if self.capture is None:
            return None
        others = list(self.replays.values())  # at most one, whose memory pool serves both
        try:
            self.replays[n] = self.capture(self._run_on_device, n, self._fit_remaining(), *others)
        except Exception as error:  # of the library, or of code that reads a number from the device
            self.replays.clear()  # memory may have run out, and they hold some
            if n > 1:  # a single step may do
                self.steps_per_graph = 1
                return None
            self.capture = None
            warnings.warn(
                f"training steps run one by one: recording a step failed ({type(error).__name__}: {error})",
                RuntimeWarning,
                stacklevel=8,  # the call of fit
            )
        return self.replays.get(n)
