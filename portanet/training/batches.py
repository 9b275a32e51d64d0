"""Batches from an iterable: generators, data loaders of PyTorch, data sets that are read again for each epoch."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, cast

from portanet.backends.host import has_device
from portanet.checks import shown
from portanet.training.data import Data


class BatchStream:
    """
    The batches of an iterable, checked and on the device; the next one is fetched while the last one is used.

    Parameters
    ----------
    source : iterable of tuple
        Yields ``(x, y)`` or ``(x, y, sample_weight)``. An iterator is read on from epoch to epoch, any other iterable
        from its beginning.
    prepare : callable
        Takes the parts of a batch, checks them, and brings them to the device.

    Examples
    --------
    >>> stream = BatchStream([([1.0], [0.0]), ([2.0], [1.0])], Data)
    >>> stream.restart()
    >>> stream.peek().x, stream.take().x, stream.take().x, stream.peek()
    ([1.0], [1.0], [2.0], None)
    >>> stream.close()
    """

    def __init__(self, source: Iterable[Any], prepare: Callable[..., Data]):
        self.source, self.prepare = check_iterable(source), prepare
        self.once = isinstance(source, Iterator)
        self.n_taken = 0
        self._iterator: Iterator[Any] = iter(())
        self._begun = False
        self._fetching: Future[Any] | None = None
        self._pool: ThreadPoolExecutor | None = None

    def restart(self) -> None:
        """Begin an epoch."""
        if not self._begun or not self.once:
            self._iterator, self._fetching, self.n_taken, self._begun = iter(self.source), None, 0, True

    def first(self) -> Data:
        """Return the first batch, which is not taken yet."""
        self.restart()
        batch = self.peek()
        if batch is None:
            raise ValueError("x yields no batches: give tuples (x, y) or (x, y, sample_weight)")
        return batch

    def peek(self) -> Data | None:
        """Return the next batch, which is not taken yet, or None at the end."""
        batch = (self._fetching or self._fetch()).result()
        return None if batch is None else batch if isinstance(batch, Data) else self._prepared(batch)

    def take(self) -> Data:
        """Return the next batch, and fetch the one after it."""
        batch = self.peek()
        if batch is None:
            raise StopIteration
        self.n_taken += 1
        self._fetch()
        return batch

    def epoch(self) -> Iterator[Data]:
        """Yield the batches of one epoch."""
        self.restart()
        while self.peek() is not None:
            yield self.take()

    def close(self) -> None:
        """End the thread; a batch that was fetched is kept."""
        if self._pool is not None:
            self._pool.shutdown(wait=False)
            self._pool = None

    def _fetch(self) -> Future[Any]:
        """Ask the thread for the next batch."""
        iterator = self._iterator
        self._pool = self._pool or ThreadPoolExecutor(1, "portanet-batches")
        self._fetching = self._pool.submit(lambda: next(iterator, None))
        return self._fetching

    def _prepared(self, batch: Any) -> Data:
        if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
            raise ValueError(f"batch {self.n_taken} of x must be (x, y) or (x, y, sample_weight), got {shown(batch)}")
        try:
            data = self.prepare(*batch)
        except ValueError as error:
            raise ValueError(f"batch {self.n_taken} of x: {error}") from None
        self._fetching = Future()
        self._fetching.set_result(data)
        return data


def is_iterable_of_batches(source: Any) -> bool:
    """Whether a value may yield batches; arrays and texts do not."""
    array = hasattr(source, "shape") or has_device(source) or isinstance(source, (str, bytes, dict))
    return not array and hasattr(source, "__iter__")


def check_iterable(source: Any) -> Iterable[Any]:
    """Refuse what is no iterable of batches, such as an array without targets."""
    if not is_iterable_of_batches(source):
        fix = "give an array or a list of numbers, or x as an iterable of batches (x, y)"
        raise ValueError(f"y is None: {fix}; x is {shown(source)}")
    return cast(Iterable[Any], source)
