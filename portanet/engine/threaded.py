"""
Threads over parts of a batch: each worker runs its examples through all layers, in microbatches that fit the caches.

Without it, a training step takes 1.80 times as long on 003-lenet, and 1.11 times in the geometric mean of 14 networks
(``python -m bench mechanisms``, two threads).

A microbatch stays in the caches from one layer to the next, forward and back. BLAS has one thread from the first
parallel step to the end of ``fit`` or of the call: its own threads spin while they wait for the next product, which
takes the cores from the workers.
"""

import math
import os
import sys
from collections.abc import Callable, Sequence
from contextvars import ContextVar, copy_context
from functools import partial
from itertools import groupby
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, Generic, NamedTuple, TypeVar

from portanet.backends import Backend, backend_of
from portanet.backends.base import Threads
from portanet.engine.chain import Chain, Runnable
from portanet.engine.gradients import PrivateGradients
from portanet.engine.traits import is_batch_independent, is_spatial
from portanet.kernels.slices import partition
from portanet.layers.base import Layer
from portanet.parameters import Parameter, collect_gradients
from portanet.typing import Array, Pullback

MIN_INPUT_SIZE = 4096
"""Fewest elements of an input for which threads are used."""

MIN_OUTPUTS_PER_WORKER = 2**19
"""Fewest output elements of spatial layers for each worker; with fewer, a thread costs more than it saves."""

MICROBATCH_BYTES = 2**22
"""Bytes of a microbatch's largest array, which stays in the caches from one layer to the next."""

MAX_PARTITIONS = 1024
"""Partitions that a segment keeps, one for each shape of a batch."""

T = TypeVar("T")
_may_start_workers: ContextVar[bool] = ContextVar("may_start_workers", default=True)


def segments(layers: Sequence[Layer], threads: Threads, train: bool) -> list[Runnable]:
    """Group neighbouring layers that are batch-independent into segments, if any of them has spatial axes."""
    grouped: list[Runnable] = []
    for independent, group in groupby(layers, lambda layer: is_batch_independent(layer, train=train)):
        members = tuple(group)
        worthwhile = independent and any(is_spatial(layer) for layer in members)
        grouped += [ParallelSegment(members, threads)] if worthwhile else members
    return grouped


class ParallelSegment:
    """
    Batch-independent layers one after another, shared out to workers where that pays.

    Parameters
    ----------
    layers : sequence of Layer
        In order.
    threads : Threads
        Of the backend.
    """

    def __init__(self, layers: Sequence[Layer], threads: Threads):
        self.layers, self.threads = tuple(layers), threads
        self._serial = Chain(self.layers)
        self.trained = self._serial.trained
        self._partitions: dict[tuple[Any, ...], _Partition | None] = {}

    def __repr__(self) -> str:
        return f"ParallelSegment({', '.join(map(repr, self.layers))})"

    def forward(self, x: Array) -> Array:
        """Return the output of inference."""
        split = self._partition(x)
        if split is None:
            return self._serial.forward(x)
        tasks = [partial(split.forward, x[part, ...]) for part in split.parts]
        return _join(backend_of(x), self._run_all(x, tasks))

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        """Return output and pullback."""
        split = self._partition(x)
        if split is None:
            return self._serial.vjp(x, train=train)
        tasks = [partial(split.vjp, x[part, ...], train) for part in split.parts]
        outputs, pullbacks = zip(*self._run_all(x, tasks), strict=True)

        def pullback(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            need = {"need_dx": need_dx, "need_grads": need_grads}
            first, *others = (
                partial(pull, dy[part, ...], **need) for pull, part in zip(pullbacks, split.parts, strict=True)
            )
            # The first part adds to the network's gradients, the others to sums of their own.
            dx, *results = self._run_all(x, [first, *(partial(_with_private_gradients, task) for task in others)])
            for _, sums in results:
                for parameter, grad in sums.items():
                    parameter.accumulate(grad)
            return _join(backend_of(x), [dx, *(other for other, _ in results)])

        return _join(backend_of(x), outputs), pullback

    def _partition(self, x: Array) -> "_Partition | None":
        if math.prod(x.shape) < MIN_INPUT_SIZE or not _may_start_workers.get():
            return None
        key = (x.shape, x.dtype, self.threads.count)
        try:
            return self._partitions[key]
        except KeyError:
            if len(self._partitions) >= MAX_PARTITIONS:
                self._partitions.clear()
            split = self._partitions[key] = _Partition.make(x, self.layers, self.threads)
            return split

    def _run_all(self, x: Array, functions: Sequence[Callable[[], T]]) -> list[T]:
        return _run_all(functions, backend_of(x), self.threads)


class _Partition(NamedTuple):
    """How a batch is divided: into one part for each worker, and in each part the prefix into microbatches."""

    parts: list[slice]
    prefix: Chain
    suffix: Chain
    n_microbatches: int
    threads: Threads

    @classmethod
    def make(cls, x: Array, layers: Sequence[Layer], threads: Threads) -> "_Partition | None":
        """Return None for small batches, and for layers without spatial axes, whose products BLAS divides better."""
        n, shape, itemsize = x.shape[0], tuple(x.shape[1:]), 8 if str(x.dtype).endswith("64") else 4
        sizes, n_prefix = [], 0
        for layer in layers:
            shape = layer.output_shape(shape)
            sizes.append(math.prod(shape))
            if len(shape) > 1:
                n_prefix = len(sizes)
        n_outputs = n * sum(sizes[:n_prefix])
        if n_outputs < MIN_OUTPUTS_PER_WORKER:
            return None
        # A worker costs half a millisecond of Python, for most of which the others wait, and gradients of its own.
        n_parameters = 1 + sum(layer.n_parameters for layer in layers)
        limits = threads.count, n // threads.min_examples, math.isqrt(2 * n_outputs // MIN_OUTPUTS_PER_WORKER)
        n_workers = max(1, min(*limits, 4 * n_outputs // n_parameters))
        examples, largest = n // n_workers, max(sizes[:n_prefix]) * itemsize
        n_microbatches = max(1, min(-(-examples * largest // MICROBATCH_BYTES), examples // threads.min_examples))
        prefix, suffix = Chain(layers[:n_prefix]), Chain(layers[n_prefix:])
        return cls(partition(n, n_workers), prefix, suffix, n_microbatches, threads)

    def forward(self, x: Array) -> Array:
        """Run inference of one part."""
        outputs = [self.prefix.forward(x[span, ...]) for span in partition(x.shape[0], self.n_microbatches)]
        return self.suffix.forward(_join(backend_of(x), outputs))

    def vjp(self, x: Array, train: bool) -> tuple[Array, Pullback]:
        """Return output and pullback of one part."""
        microbatches = partition(x.shape[0], self.n_microbatches)
        outputs, pullbacks = zip(*[self.prefix.vjp(x[span, ...], train=train) for span in microbatches], strict=True)
        y, pull_suffix = self.suffix.vjp(_join(backend_of(x), outputs), train=train)

        def pullback(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            dy = pull_suffix(dy, need_dx=need_dx or self.prefix.trained, need_grads=need_grads)
            if dy is None:
                return None
            like = outputs[0]
            parts = [
                pull(self.threads.match_layout(dy[span, ...], like), need_dx=need_dx, need_grads=need_grads)
                for pull, span in zip(pullbacks, microbatches, strict=True)
            ]
            return _join(backend_of(x), parts)

        return y, pullback


def _with_private_gradients(pull: Callable[[], Array]) -> tuple[Array, dict[Parameter, Array]]:
    sink = PrivateGradients()
    with collect_gradients(sink):
        return pull(), sink.sums


def _join(backend: Backend, arrays: Sequence[Array]) -> Array:
    return arrays[0] if arrays[0] is None or len(arrays) == 1 else backend.xp.concat(arrays, axis=0)


def _run_all(functions: Sequence[Callable[[], T]], backend: Backend, threads: Threads) -> list[T]:
    """Call functions at once, the first in this thread; if there are several, BLAS gets one thread."""
    with backend.activate():
        tasks = [_Task(function, backend, threads) for function in functions[1:]]
        if not tasks or not _workers.start(len(tasks)):
            return [copy_context().run(_in_worker, function, backend) for function in functions]
        threads.acquire()
        try:
            for task in tasks:
                _workers.tasks.put(task)
            first = copy_context().run(_in_worker, functions[0], backend)
        finally:  # also after an error: none may go on unseen
            _wait(tasks)
        return [first, *(task.result() for task in tasks)]


def _wait(tasks: Sequence["_Task[T]"]) -> None:
    """Wait until all tasks are done, through whatever signals raise in the main thread."""
    interruption = None
    while True:
        try:
            for task in tasks:
                if not task.begun.locked():
                    _workers.tasks.put(task)  # the interruption may have come before; a second time does nothing
                task.wait()
            break
        except BaseException as error:
            interruption = error
    if interruption is not None:
        raise interruption


class _Task(Generic[T]):
    """
    A call for a worker.

    It has locks and a flag instead of a future, so that waiting can go on after an interruption at any point.
    """

    def __init__(self, function: Callable[[], T], backend: Backend, threads: Threads):
        self.function, self.backend, self.threads, self.context = function, backend, threads, copy_context()
        self.results: list[T] = []
        self.error: BaseException | None = None
        self.done = False
        self.begun, self._working = Lock(), Lock()
        self._working.acquire()

    def run(self) -> None:
        """Call the function, unless another worker does."""
        if not self.begun.acquire(blocking=False):
            return
        try:
            self.threads.reapply()
            self.results = [self.context.run(_in_worker, self.function, self.backend)]
        except BaseException as error:
            self.error = error
        self.done = True
        self._working.release()

    def wait(self) -> None:
        """Return once it is done."""
        if not self.done:
            self._working.acquire()

    def result(self) -> T:
        """Return what the function returned, or raise its error."""
        if self.error is not None:
            raise self.error
        return self.results[0]


class _Workers:
    """Threads that wait for tasks."""

    def __init__(self) -> None:
        self.tasks: SimpleQueue[_Task[Any]] = SimpleQueue()
        self.number = 0

    def start(self, wanted: int) -> int:
        """Start workers until there are so many, or as many as cores; return how many there are."""
        if sys.is_finalizing():  # they exist, and do not run any more
            return 0
        try:
            while self.number < wanted and self.number < (os.cpu_count() or 1):
                Thread(target=self._work, name="portanet", daemon=True).start()
                self.number += 1
        except RuntimeError:  # the interpreter is about to end, and starts no threads any more
            pass
        return self.number

    def _work(self) -> None:
        while True:
            self.tasks.get().run()


_workers = _Workers()


def _in_worker(function: Callable[[], T], backend: Backend) -> T:
    _may_start_workers.set(False)
    with backend.activate():
        return function()


def _after_fork() -> None:
    """Forget the workers: threads do not exist in a child process."""
    global _workers
    _workers = _Workers()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
