"""Batches from an iterable: generators, data loaders of PyTorch, data sets that are read again for each epoch."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, cast

from portanet.backends.host import has_device
from portanet.checks import shown
from portanet.training.data import Data
from portanet.tree import named_leaves

END = object()
"""Marks the end of a source. None would not do: a source may yield it, and is refused then."""

NO_BATCHES = "yields no batches: give tuples (x, y) or (x, y, sample_weight)"


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
    name : str
        What messages call the source.

    Attributes
    ----------
    first_epoch : int
        Number of the first epoch for ``source.set_epoch``, which is called before each epoch if there is such a method.

    Examples
    --------
    >>> stream = BatchStream([([1.0], [0.0]), ([2.0], [1.0])], Data)
    >>> stream.restart()
    >>> stream.peek().x, stream.take().x, stream.take().x, stream.peek()
    ([1.0], [1.0], [2.0], None)
    >>> stream.close()
    """

    def __init__(self, source: Iterable[Any], prepare: Callable[..., Data], name: str = "x"):
        self.source, self.prepare, self.name = check_iterable(source), prepare, name
        self.once = isinstance(source, Iterator)
        self.first_epoch: int = getattr(source, "epoch", 0) if hasattr(source, "set_epoch") else 0
        self.n_epochs = self.n_taken = 0
        self._iterator: Iterator[Any] = iter(())
        self._begun = False
        self._structure: str | None = None  # of the first batch
        self._context = copy_context()  # the thread sees the variables of the caller
        self._fetching: Future[Any] | None = None
        self._pool: ThreadPoolExecutor | None = None

    def restart(self) -> None:
        """Begin an epoch; an epoch of which no batch was taken yet goes on, so that no batch is read twice."""
        if not self._begun or (self.n_taken and not self.once):
            if hasattr(self.source, "set_epoch"):
                self.source.set_epoch(self.first_epoch + self.n_epochs)
            self._iterator, self._fetching, self.n_taken, self._begun = iter(self.source), None, 0, True
            self.n_epochs += 1

    def skip_epochs(self, first_epoch: int, n_epochs: int, n_steps: int | None) -> None:
        """Leave out epochs: the batches of an iterator, or by ``source.set_epoch`` if there is such a method."""
        if self.once:
            for _ in range(n_epochs * (n_steps or 0)):
                self.take()
        elif hasattr(self.source, "set_epoch"):
            self.first_epoch, self.n_epochs = first_epoch, n_epochs
            self._begun, self._fetching = False, None

    def first_inputs(self) -> Any:
        """Return the inputs of the first batch, which is not taken yet, as the source gave them."""
        self.restart()
        batch = (self._fetching or self._fetch()).result()
        if batch is END:
            raise ValueError(f"{self.name} {NO_BATCHES}")
        return _check_batch(f"batch 0 of {self.name}", batch)[0]

    def first(self) -> Data:
        """Return the first batch, which is not taken yet."""
        self.restart()
        batch = self.peek()
        if batch is None:
            raise ValueError(f"{self.name} {NO_BATCHES}")
        return batch

    def peek(self) -> Data | None:
        """Return the next batch, which is not taken yet, or None at the end."""
        batch = (self._fetching or self._fetch()).result()
        return None if batch is END else batch if isinstance(batch, Data) else self._prepared(batch)

    def take(self) -> Data:
        """Return the next batch, and fetch the one after it."""
        batch = self.peek()
        if batch is None:
            raise ValueError(f"{self.name} yields only {self.n_taken} batches: give one that yields more")
        self.n_taken += 1
        self._fetch()
        return batch

    def epoch(self) -> Iterator[Data]:
        """Yield the batches of one epoch."""
        self.restart()
        while self.peek() is not None:
            yield self.take()

    def close(self, *, wait: bool = True) -> None:
        """End the thread after the batch that it fetches, which is kept; to wait for it frees the source."""
        if self._pool is not None:
            self._pool.shutdown(wait=wait)
            self._pool = None

    def _fetch(self) -> Future[Any]:
        """Ask the thread for the next batch."""
        iterator = self._iterator
        self._pool = self._pool or ThreadPoolExecutor(1, "portanet-batches")
        self._fetching = self._pool.submit(self._context.run, lambda: next(iterator, END))
        return self._fetching

    def _prepared(self, batch: Any) -> Data:
        name = f"batch {self.n_taken} of {self.name}"
        parts = _check_batch(name, batch)
        try:
            data = self.prepare(*parts)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        if self._structure is None:
            self._structure = structure_of(data)
        elif structure_of(data) != self._structure:
            raise ValueError(f"{name} holds {structure_of(data)}, but the first batch {self._structure}: give the same")
        self._fetching = Future()
        self._fetching.set_result(data)
        return data


def _check_batch(name: str, batch: Any) -> Sequence[Any]:
    if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
        raise ValueError(f"{name} must be (x, y) or (x, y, sample_weight), got {shown(batch)}")
    return batch


def structure_of(data: Data) -> str:
    """
    Write which arrays a batch holds.

    Examples
    --------
    >>> structure_of(Data({"a": [1], "b": [2]}, [3]))
    "x['a'], x['b'], y"
    """
    parts = [*named_leaves("x", data.x), *named_leaves("y", data.y)]
    weights = [] if data.sample_weight is None else ["sample_weight"]
    return ", ".join([*(name for name, _ in parts), *weights])


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
