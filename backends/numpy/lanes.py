"""
Threads for NumPy: the examples of a batch are dealt out to lanes, one a core, and each goes through its own in parts.

A part's arrays stay in the caches from the convolution to the pooling, forward and back, so that the layers as they are
written do what fused kernels would. BLAS has one thread meanwhile, and for as long as the network is at work: its own
threads wait for the next product by spinning, which takes the cores from the lanes.
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
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeAlias, TypeVar
from weakref import ref

import numpy as np

from portanet import kernels
from portanet.backends.numpy.conv import MIN_IMAGES_BATCH_LAST as FEW
from portanet.backends.numpy.layout import is_batch_last as lies_batch_last
from portanet.backends.numpy.layout import to_batch_last as lay_batch_last
from portanet.backends.numpy.process import ComputeContext, blas
from portanet.kernels.chain import Chainable as Link
from portanet.parameters import Parameter, private_gradients
from portanet.typing import Array, Pullback, Shape

if TYPE_CHECKING:
    from portanet.layers import Layer

SMALL = 4096
"""Numbers of an input that is not worth a plan."""

LANE = 2**19
"""Numbers that a lane must have to make, over all links with space, to be worth a thread."""

PART = 2**22
"""Bytes of a part's largest array, which stays in the caches from one link to the next."""

PLANS = 1024
"""Plans to keep, one for each network and shape of a batch."""

T = TypeVar("T")
Links: TypeAlias = "Sequence[Layer]"
_alone: ContextVar[bool] = ContextVar("alone", default=True)


def chain(x: Array, links: Links, train: bool) -> tuple[Array, Pullback]:
    """See :func:`portanet.kernels.chain`."""
    return kernels.chain.portable(x, _runs(x, links, train), train)


def chain_forward(x: Array, links: Links) -> Array:
    """See :func:`portanet.kernels.chain_forward`."""
    return kernels.chain_forward.portable(x, _runs(x, links, train=False))


def _runs(x: Array, links: Links, train: bool) -> Sequence[Link]:
    """Join links that take each example alone."""
    if x.size < SMALL or not _alone.get():
        return links
    runs: list[Link] = []
    for by_example, run in groupby(links, lambda link: link.by_example(train)):
        members = tuple(run)
        runs += [Run(members)] if by_example else members
    return runs


class Run:
    """Links that take each example alone, in lanes where that pays."""

    def __init__(self, links: Links):
        self.links = links

    def has_parameters(self) -> bool:
        """Whether any link has."""
        return any(link.has_parameters() for link in self.links)

    def forward(self, x: Array) -> Array:
        """Output in inference."""
        plan = _Plan.fit(x, self.links)
        if plan is None:
            return kernels.chain_forward.portable(x, self.links)
        return _join(_side_by_side([partial(_forward, x[lane], self.links, plan) for lane in plan.lanes]))

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        """Output and pullback."""
        plan = _Plan.fit(x, self.links)
        if plan is None:
            return kernels.chain.portable(x, self.links, train)
        tasks = [partial(_vjp, x[lane], self.links, plan, train) for lane in plan.lanes]
        made, pullbacks = zip(*_side_by_side(tasks), strict=True)

        def pull(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            need = {"need_dx": need_dx, "need_grads": need_grads}
            first, *others = (
                partial(pullback, dy[lane], **need) for pullback, lane in zip(pullbacks, plan.lanes, strict=True)
            )
            dx, *results = _side_by_side([first, *(partial(_aside, task) for task in others)])
            for _, sums in results:
                for parameter, grad in sums.items():
                    parameter.accumulate(grad)
            return _join([dx, *(other for other, _ in results)])

        return _join(made), pull


class _Plan(NamedTuple):
    """How a batch is divided: into lanes, and in each the links up to ``head`` in so many parts."""

    lanes: list[slice]
    head: int
    parts: int

    @classmethod
    def fit(cls, x: Array, links: Links) -> "_Plan | None":
        """None for little, and for links without space: products of a whole batch, which BLAS divides better."""
        if x.size < SMALL:
            return None
        # Kept, since a step of a millisecond would take some percent longer without.
        key = (x.shape, x.itemsize, blas.threads, *map(id, links))
        plan, owners = _plans.get(key, (None, ()))
        if not owners or any(owner() is not link for owner, link in zip(owners, links, strict=True)):
            if len(_plans) >= PLANS:
                _plans.clear()
            # Weak, to see that an identity is still that of the same link: another plan would round sums otherwise.
            plan, owners = cls._made(len(x), x.shape[1:], x.itemsize, links), tuple(map(ref, links))
            _plans[key] = plan, owners
        return plan

    @classmethod
    def _made(cls, n: int, shape: Shape, itemsize: int, links: Links) -> "_Plan | None":
        sizes, head = [], 0
        for link in links:
            shape = link.output_shape(shape)
            sizes.append(math.prod(shape))
            if len(shape) > 1:
                head = len(sizes)
        made = n * sum(sizes[:head])
        if made < LANE:
            return None
        # Each lane has half a millisecond of Python, for most of which the others wait, and gradients of its own.
        n_parameters = 1 + sum(link.n_parameters for link in links)
        lanes = max(1, min(blas.threads, n // FEW, math.isqrt(2 * made // LANE), 4 * made // n_parameters))
        images, largest = n // lanes, max(sizes[:head]) * itemsize
        return cls(_divide(n, lanes), head, max(1, min(-(-images * largest // PART), images // FEW)))


_plans: "dict[tuple[Any, ...], tuple[_Plan | None, tuple[ref[Layer], ...]]]" = {}


def _forward(x: Array, links: Links, plan: _Plan) -> Array:
    """Inference of a lane."""
    made = [kernels.chain_forward.portable(x[part], links[: plan.head]) for part in _divide(len(x), plan.parts)]
    return kernels.chain_forward.portable(_join(made), links[plan.head :])


def _vjp(x: Array, links: Links, plan: _Plan, train: bool) -> tuple[Array, Pullback]:
    """Output and pullback of a lane."""
    head, parts = links[: plan.head], _divide(len(x), plan.parts)
    head_is_trained = any(link.has_parameters() for link in head)
    made, pullbacks = zip(*[kernels.chain.portable(x[part], head, train) for part in parts], strict=True)
    y, pullback = kernels.chain.portable(_join(made), links[plan.head :], train)

    def pull(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
        dy = pullback(dy, need_dx=need_dx or head_is_trained, need_grads=need_grads)
        if dy is None:
            return None
        laid = lay_batch_last if lies_batch_last(made[0]) else np.asarray
        pairs = zip(pullbacks, parts, strict=True)
        return _join([back(laid(dy[part]), need_dx=need_dx, need_grads=need_grads) for back, part in pairs])

    return y, pull


def _aside(pull: Callable[[], Array]) -> tuple[Array, dict[Parameter, Array]]:
    """Gradients of a lane beside the first, which has the network's for its own."""
    with private_gradients() as sums:
        return pull(), sums


def _divide(n: int, parts: int) -> list[slice]:
    """So many slices of n, of about the same length and not empty."""
    parts = max(1, min(n, parts))
    return [slice(n * i // parts, n * (i + 1) // parts) for i in range(parts)]


def _join(arrays: Sequence[Array]) -> Array:
    return arrays[0] if arrays[0] is None or len(arrays) == 1 else np.concatenate(arrays)


def _side_by_side(functions: Sequence[Callable[[], T]]) -> list[T]:
    """Call functions at once, the first in this thread; if there is more than one, while BLAS has one thread."""
    with ComputeContext() as activity:
        tasks = [_Task(function) for function in functions[1:]]
        if not tasks or not _workers.start(len(tasks)):
            return [copy_context().run(_in_lane, function) for function in functions]
        activity.take_threads()
        try:
            for task in tasks:
                _workers.tasks.put(task)
            first = copy_context().run(_in_lane, functions[0])
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
                    _workers.tasks.put(task)  # the interruption may have come before; a second time is nothing
                task.wait()
            break
        except BaseException as error:
            interruption = error
    if interruption is not None:
        raise interruption


class _Task(Generic[T]):
    """
    A call for another thread.

    Locks and a flag, and not a future: whatever line an interruption meets in the thread that waits, it can wait again.
    """

    def __init__(self, function: Callable[[], T]):
        self.function, self.context = function, copy_context()
        self.made: list[T] = []
        self.error: BaseException | None = None
        self.done = False
        self.begun, self._working = Lock(), Lock()
        self._working.acquire()

    def run(self) -> None:
        """Call the function, unless another thread does."""
        if not self.begun.acquire(blocking=False):
            return
        try:
            blas.reapply()
            self.made = [self.context.run(_in_lane, self.function)]
        except BaseException as error:
            self.error = error
        self.done = True
        self._working.release()

    def wait(self) -> None:
        """Return once it is done."""
        if not self.done:
            self._working.acquire()

    def result(self) -> T:
        """What the function returned, or the error it raised."""
        if self.error is not None:
            raise self.error
        return self.made[0]


class _Workers:
    """Threads that wait for tasks."""

    def __init__(self) -> None:
        self.tasks: SimpleQueue[_Task[Any]] = SimpleQueue()
        self.number = 0

    def start(self, wanted: int) -> int:
        """See that there are so many threads, or as many as cores; return how many there are."""
        if sys.is_finalizing():  # they are there, and do not run any more
            return 0
        try:
            while self.number < wanted and self.number < (os.cpu_count() or 1):
                Thread(target=self._work, name="portanet", daemon=True).start()
                self.number += 1
        except RuntimeError:  # the interpreter is about to end, and begins no threads any more
            pass
        return self.number

    def _work(self) -> None:
        while True:
            self.tasks.get().run()


_workers = _Workers()


def _in_lane(function: Callable[[], T]) -> T:
    _alone.set(False)
    with ComputeContext():
        return function()


def _after_fork() -> None:
    """Threads are not there in a child process."""
    global _workers
    _workers = _Workers()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
