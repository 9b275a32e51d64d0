"""
The part of a batch that this process trains on, where several processes share each batch.

Layers read it for two purposes. Random layers draw the numbers of their examples by the place of these in the whole
batch, so that masks do not depend on how it is shared out. BatchNorm sums its statistics over all parts.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from portanet.typing import Array


@dataclass(frozen=True)
class Shard:
    """
    A part of a batch.

    Parameters
    ----------
    first : int
        Place of its first example in the batch.
    n_total : int
        Number of examples of the batch.
    has_examples : bool
        False if the batch has fewer examples than there are processes, and this one computes with an example that
        counts for nothing.
    all_reduce_sum : callable
        Takes an array, and returns the sum of those of all processes.
    sync_batch_norm : bool
        Whether BatchNorm takes the statistics of the whole batch, and not those of its part.
    """

    first: int
    n_total: int
    has_examples: bool
    all_reduce_sum: Callable[[Array], Array]
    sync_batch_norm: bool = True


_current: ContextVar[Shard | None] = ContextVar("shard", default=None)


def current_shard() -> Shard | None:
    """Return the part of the batch that is trained on, or None if it is the whole batch."""
    return _current.get()


@contextmanager
def shard_as(shard: Shard | None) -> Iterator[None]:
    """Train on a part of the batch within the context."""
    token = _current.set(shard)
    try:
        yield
    finally:
        _current.reset(token)


def place_in_batch(n: int) -> tuple[int, int]:
    """
    Return the index in the whole batch of the first of n examples, and the batch size.

    Examples
    --------
    >>> place_in_batch(5)
    (0, 5)
    >>> with shard_as(Shard(5, 10, True, lambda array: array)):
    ...     place_in_batch(5)
    (5, 10)
    """
    shard = _current.get()
    return (0, n) if shard is None else (shard.first, max(shard.n_total, shard.first + n))
