"""
Steps on parts of long sequences: truncated back-propagation through time.

Gain: memory and time of a step depend on the length of a part, and not on that of the sequence.
"""

from collections.abc import Sequence

from portanet.backends import Backend
from portanet.engine.eager import EagerExecutor, Step
from portanet.layers.cache import Cache, cached
from portanet.typing import Array


class TruncatedExecutor(EagerExecutor):
    """
    Runs a step on each part of the sequences of a batch; recurrent layers go on with the state of the part before.

    The gradient ends where a part begins, so that it is not the gradient of the whole.

    Parameters
    ----------
    step, data, metrics, backend
        See :class:`EagerExecutor`; metrics have a row for each part. The first ``n_sequences`` arrays have shape
        (N, T, ...).
    batches : sequence of slice
        Of the N examples, in order.
    n_sequences : int
        Arrays that are divided; the others, weights of the examples, are given to each part.
    length : int
        Positions of a part; the last one may be shorter.

    Examples
    --------
    >>> x, metrics = np.arange(6.0).reshape(1, 6), np.zeros((2, 1))
    >>> cpu, batches = portanet.get_backend("cpu"), [slice(0, 1)]
    >>> executor = TruncatedExecutor(lambda x: [np.sum(x)], (x,), batches, metrics, cpu, n_sequences=1, length=4)
    >>> executor.start_epoch(order=None)
    >>> while executor.remaining:
    ...     n_steps = executor.run()
    >>> metrics
    array([[6.],
           [9.]])
    """

    def __init__(
        self,
        step: Step,
        data: tuple[Array, ...],
        batches: Sequence[slice],
        metrics: Array,
        backend: Backend,
        *,
        n_sequences: int,
        length: int,
    ):
        total = data[0].shape[1]
        parts = [slice(start, min(start + length, total)) for start in range(0, total, length)]
        super().__init__(step, data, [batch for batch in batches for _ in parts], metrics, backend)
        self.parts, self.n_sequences, self.part_length = parts * len(batches), n_sequences, length
        self.cache = Cache()

    @property
    def sizes(self) -> list[int]:
        """Positions of each step, which are what losses and metrics are averaged over."""
        pairs = zip(super().sizes, self.parts, strict=True)
        return [n * (part.stop - part.start) for n, part in pairs]

    def run(self, most: int = 1) -> int:
        """Run the next step."""
        part = self.parts[self.n_done]
        if part.start == 0:
            self.cache = Cache()
        self.cache.start = part.start
        with cached(self.cache):
            return super().run()

    def next_batch(self) -> tuple[Array, ...]:
        """Return the arrays of the next part."""
        part, arrays = self.parts[self.n_done], super().next_batch()
        return tuple([array[:, part, ...] for array in arrays[: self.n_sequences]]) + arrays[self.n_sequences :]

    def carried(self) -> list[list[Array]]:
        """Return the states of the layers."""
        return self.cache.arrays()

    def carry(self, arrays: Sequence[Sequence[Array]]) -> None:
        """Take over the states of the layers."""
        self.cache = Cache(arrays)
