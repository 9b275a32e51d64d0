"""
What layers keep of the positions before, where a sequence comes in parts.

Recurrent layers keep their state, causal attention its keys and values, positional encodings the number of positions.
Generation passes one token at a time, truncated back-propagation one part.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from portanet.backends import namespace
from portanet.typing import Array


class Cache:
    """
    Arrays of each layer, with one row an example.

    Parameters
    ----------
    carried : sequence of sequence of array, optional
        What another cache's :meth:`arrays` returned, for the same network.

    Attributes
    ----------
    start : int
        Position of the first element of the next part; the caller sets it.

    Examples
    --------
    >>> layer, x = portanet.GRU(2, 3).initialize(), np.ones((1, 4, 2), dtype="float32")
    >>> with cached(Cache()) as cache:
    ...     _ = layer(x[:, :2])
    ...     y = layer(x[:, 2:])
    >>> np.allclose(y, layer(x))
    True
    """

    def __init__(self, carried: Sequence[Sequence[Array]] = ()):
        self.start = 0
        self._values: dict[Any, tuple[Array, ...]] = {}
        self._carried = [tuple(arrays) for arrays in carried]

    def get(self, layer: Any) -> tuple[Array, ...]:
        """Return the arrays of a layer; none if it has seen no positions yet."""
        if layer not in self._values and self._carried:
            self._values[layer] = self._carried.pop(0)
        return self._values.get(layer, ())

    def put(self, layer: Any, *arrays: Array) -> None:
        """Keep the arrays of a layer."""
        self._values[layer] = arrays

    def take(self, rows: Array) -> None:
        """Keep some of the examples, in an order."""
        for layer, arrays in self._values.items():
            self._values[layer] = tuple(namespace(array).take(array, rows, axis=0) for array in arrays)

    def arrays(self) -> list[list[Array]]:
        """Return the arrays of the layers, in the order in which they were computed."""
        return [list(arrays) for arrays in (*self._values.values(), *self._carried)]


_cache: ContextVar[Cache | None] = ContextVar("cache", default=None)


def current_cache() -> Cache | None:
    """Return the cache in use, or None where a sequence comes as a whole."""
    return _cache.get()


def current_start() -> int:
    """Return the position of the first element of a sequence: 0, unless it is a part of a longer one."""
    cache = _cache.get()
    return 0 if cache is None else cache.start


@contextmanager
def cached(cache: Cache) -> Iterator[Cache]:
    """Let layers go on where the positions before ended."""
    token = _cache.set(cache)
    try:
        yield cache
    finally:
        _cache.reset(token)
