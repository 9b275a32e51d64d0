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
from typing import Any, NamedTuple, TypeVar

import numpy as np

from portanet import kernels
from portanet.backends.process import Activity, blas
from portanet.kernels.chain import Link
from portanet.parameters import gradients_aside
from portanet.typing import Array, Pullback

LANE = 2**17
"""Numbers that a lane must have to make, over all layers with space, to be worth a thread."""

PART = 2**22
"""
Bytes of a part's largest array. Smaller parts would stay in the L2 cache, but take more operations, and at each of them
a lane may have to wait for the interpreter, which the other one holds.
"""

T = TypeVar("T")
_alone: ContextVar[bool] = ContextVar("alone", default=True)
_pool: ThreadPoolExecutor | None = None


def chain(x: Array, links: Sequence[Link], train: bool) -> tuple[Array, Pullback]:
    """See :func:`portanet.kernels.chain`."""
    plan = _plan(x, links, train)
    if plan is None:
        return kernels.chain.portable(x, links, train)
    head, middle, tail = links[: plan.head], links[plan.head : plan.end], links[plan.end :]
    first = next((i for i, link in enumerate(links) if link.has_parameters()), len(links))

    def forward(lane: slice) -> tuple[Array, Callable[..., Array]]:
        mine = x[lane]
        parts = _divide(len(mine), plan.parts)
        made, pullbacks = zip(*(kernels.chain.portable(mine[part], head, train) for part in parts), strict=True)
        y, pullback = kernels.chain.portable(_join(made), middle, train)

        def back(dy: Array, need_dx: bool, need_grads: bool) -> Array:
            dy = pullback(dy, need_dx=need_dx or first < plan.head, need_grads=need_grads)
            if dy is None:
                return None
            pairs = zip(pullbacks, parts, strict=True)
            return _join([pull(dy[part], need_dx=need_dx, need_grads=need_grads) for pull, part in pairs])

        return y, back

    lanes = _divide(len(x), plan.lanes)
    made, backs = zip(*_side_by_side([partial(forward, lane) for lane in lanes]), strict=True)
    y, pullback = kernels.chain.portable(_join(made), tail, train)

    def pull(dy: Array, *, need_dx: bool = True, need_grads: bool = True) -> Array:
        dy = pullback(dy, need_dx=need_dx or first < plan.end, need_grads=need_grads)
        if dy is None:
            return None

        def share(back: Callable[..., Array], lane: slice) -> Array:
            return back(dy[lane], need_dx, need_grads)

        def aside(back: Callable[..., Any], lane: slice) -> Any:
            with gradients_aside() as sums:
                return share(back, lane), sums

        own, *others = zip(backs, lanes, strict=True)
        dx, *results = _side_by_side([partial(share, *own), *(partial(aside, *other) for other in others)])
        for _, sums in results:
            for parameter, grad in sums.items():
                parameter.accumulate(grad)
        return _join([dx, *(other for other, _ in results)])

    return y, pull


def chain_forward(x: Array, links: Sequence[Link]) -> Array:
    """See :func:`portanet.kernels.chain_forward`."""
    plan = _plan(x, links, False)
    if plan is None:
        return kernels.chain_forward.portable(x, links)
    head, middle, tail = links[: plan.head], links[plan.head : plan.end], links[plan.end :]

    def forward(lane: slice) -> Array:
        mine = x[lane]
        made = [kernels.chain_forward.portable(mine[part], head) for part in _divide(len(mine), plan.parts)]
        return kernels.chain_forward.portable(_join(made), middle)

    made = _side_by_side([partial(forward, lane) for lane in _divide(len(x), plan.lanes)])
    return kernels.chain_forward.portable(_join(made), tail)


class _Plan(NamedTuple):
    """How a batch is divided: layers up to ``head`` in parts, up to ``end`` in lanes, the others in one piece."""

    head: int
    end: int
    lanes: int
    parts: int


def _plan(x: Array, links: Sequence[Link], train: bool) -> _Plan | None:
    """None for a network without space, which is products of a whole batch that BLAS divides better, and for little."""
    if x.size < 4096 or not _alone.get():
        return None
    shape, sizes, head = x.shape[1:], [], 0
    for link in links:
        if not link.by_example(train):
            break
        shape = link.output_shape(shape)
        sizes.append(math.prod(shape))
        if len(shape) > 1:
            head = len(sizes)
    lanes = min(blas.threads, len(x), len(x) * sum(sizes[:head]) // LANE)
    if lanes < 1:
        return None
    return _Plan(head, len(sizes), lanes, -(-len(x) * max(sizes[:head]) * x.itemsize // (lanes * PART)))


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
