"""
Threads for NumPy: the examples of a batch are dealt out to lanes, one a core, and each goes through its own in parts.

A part's arrays stay in the caches from the convolution to the pooling, forward and back, so that the layers as they are
written do what fused kernels would. BLAS has one thread meanwhile, and for as long as the network is at work: its own
threads wait for the next product by spinning, which takes the cores from the lanes.
"""

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from functools import partial
from itertools import groupby
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np

from portanet import kernels
from portanet.backends.process import Activity, blas
from portanet.kernels.chain import Link
from portanet.parameters import Parameter, gradients_aside
from portanet.typing import Array, Pullback, Shape

LANE = 2**17
"""Numbers that a lane must have to make, over all layers with space, to be worth a thread."""

SMALL = 4096
"""Numbers of an input that is not worth a plan."""

PART = 2**22
"""
Bytes of a part's largest array. Smaller parts would stay in the L2 cache, but take more operations, and at each of them
a lane may have to wait for the interpreter, which the other one holds.
"""

T = TypeVar("T")
Gradients: TypeAlias = dict[Parameter, Array]
_alone: ContextVar[bool] = ContextVar("alone", default=True)
_pool: ThreadPoolExecutor | None = None


def chain(x: Array, links: Sequence[Link], train: bool) -> tuple[Array, Pullback]:
    """See :func:`portanet.kernels.chain`."""
    return kernels.chain.portable(x, _runs(x, links, train), train)


def chain_forward(x: Array, links: Sequence[Link]) -> Array:
    """See :func:`portanet.kernels.chain_forward`."""
    return kernels.chain_forward.portable(x, _runs(x, links, train=False))


def _runs(x: Array, links: Sequence[Link], train: bool) -> Sequence[Link]:
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

    def __init__(self, links: Sequence[Link]):
        self.links = links

    def has_parameters(self) -> bool:
        """Whether any link has."""
        return any(link.has_parameters() for link in self.links)

    def by_example(self, train: bool) -> bool:
        """All of them do."""
        return True

    def forward(self, x: Array) -> Array:
        """Output in inference."""
        plan = self._plan(x)
        if plan is None:
            return kernels.chain_forward.portable(x, self.links)
        head, rest = self.links[: plan.head], self.links[plan.head :]

        def forward(lane: slice) -> Array:
            mine = x[lane]
            made = [kernels.chain_forward.portable(mine[part], head) for part in _divide(len(mine), plan.parts)]
            return kernels.chain_forward.portable(_join(made), rest)

        return _join(_side_by_side([partial(forward, lane) for lane in _divide(len(x), plan.lanes)]))

    def vjp(self, x: Array, *, train: bool = True) -> tuple[Array, Pullback]:
        """Output and pullback."""
        plan = self._plan(x)
        if plan is None:
            return kernels.chain.portable(x, self.links, train)
        head, rest = self.links[: plan.head], self.links[plan.head :]
        head_is_trained = any(link.has_parameters() for link in head)

        def forward(lane: slice) -> tuple[Array, Pullback]:
            mine = x[lane]
            parts = _divide(len(mine), plan.parts)
            made, pullbacks = zip(*(kernels.chain.portable(mine[part], head, train) for part in parts), strict=True)
            y, pullback = kernels.chain.portable(_join(made), rest, train)

            def pull(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
                dy = pullback(dy, need_dx=need_dx or head_is_trained, need_grads=need_grads)
                if dy is None:
                    return None
                pairs = zip(pullbacks, parts, strict=True)
                return _join([back(dy[part], need_dx=need_dx, need_grads=need_grads) for back, part in pairs])

            return y, pull

        lanes = _divide(len(x), plan.lanes)
        made, pullbacks = zip(*_side_by_side([partial(forward, lane) for lane in lanes]), strict=True)

        def pull(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
            def back(pullback: Pullback, lane: slice) -> Array:
                return pullback(dy[lane], need_dx=need_dx, need_grads=need_grads)

            def aside(pullback: Pullback, lane: slice) -> tuple[Array, Gradients]:
                with gradients_aside() as sums:
                    return back(pullback, lane), sums

            own, *others = zip(pullbacks, lanes, strict=True)
            dx, *results = _side_by_side([partial(back, *own), *(partial(aside, *other) for other in others)])
            for _, sums in results:
                for parameter, grad in sums.items():
                    parameter.accumulate(grad)
            return _join([dx, *(other for other, _ in results)])

        return _join(made), pull

    def output_shape(self, shape: Shape) -> Shape:
        """Shape after all of them."""
        for link in self.links:
            shape = link.output_shape(shape)
        return shape

    def _plan(self, x: Array) -> "_Plan | None":
        """None for little, and for links without space: products of a whole batch, which BLAS divides better."""
        if x.size < SMALL:
            return None
        shape, sizes, head = x.shape[1:], [], 0
        for link in self.links:
            shape = link.output_shape(shape)
            sizes.append(math.prod(shape))
            if len(shape) > 1:
                head = len(sizes)
        lanes = min(blas.threads, len(x), len(x) * sum(sizes[:head]) // LANE)
        if lanes < 1:
            return None
        return _Plan(head, lanes, -(-len(x) * max(sizes[:head]) * x.itemsize // (lanes * PART)))


class _Plan(NamedTuple):
    """How a batch is divided: into lanes, and in each the links up to ``head`` in parts."""

    head: int
    lanes: int
    parts: int


def _divide(n: int, parts: int) -> list[slice]:
    """So many slices of n, of about the same length and not empty."""
    parts = max(1, min(n, parts))
    return [slice(n * i // parts, n * (i + 1) // parts) for i in range(parts)]


def _join(arrays: Sequence[Array]) -> Array:
    return arrays[0] if arrays[0] is None or len(arrays) == 1 else np.concatenate(arrays)


def _side_by_side(tasks: Sequence[Callable[[], T]]) -> list[T]:
    """Run tasks at once, the first in this thread, while BLAS has one."""
    with Activity() as activity:
        activity.take_threads()
        futures = [_threads().submit(copy_context().run, _in_lane, task) for task in tasks[1:]]
        try:
            first = copy_context().run(_in_lane, tasks[0])
        finally:
            others = [future.result() for future in futures]  # also after an error: none may go on unseen
        return [first, *others]


def _in_lane(task: Callable[[], T]) -> T:
    _alone.set(False)
    return task()


def _threads() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(thread_name_prefix="portanet")
    return _pool


def _forget() -> None:
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)  # threads do not survive a fork
