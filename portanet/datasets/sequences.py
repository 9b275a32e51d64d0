"""Sequences of unequal length as arrays: padded, and in batches of similar length."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from portanet.backends import host_array
from portanet.checks import check_count, check_flag, check_number, optional, shown
from portanet.kernels.slices import slices

BATCHES_SORTED = 50
"""Batches among whose sequences those of similar length are brought together."""


def pad_sequences(sequences: Sequence[Any], *, padding_value: float = 0, max_len: int | None = None) -> np.ndarray:
    """
    Return sequences of unequal length as one array, with padding after each.

    Parameters
    ----------
    sequences : sequence of array_like, each of shape (T,) or (T, F)
        Such as the tokens of texts, or the features of each moment.
    padding_value : float
        What stands for no position: 0 is what layers with ``mask_zeros=True`` take for it.
    max_len : int, optional
        Longer sequences are cut at their end; by default none is.

    Returns
    -------
    numpy.ndarray, shape (N, T) or (N, T, F)
        T is the length of the longest sequence.

    Raises
    ------
    ValueError
        If there are no sequences, or they differ in more than their length.

    Examples
    --------
    >>> pad_sequences([[3, 1, 2], [5]])
    array([[3, 1, 2],
           [5, 0, 0]])
    """
    arrays = _arrays(sequences)
    padding_value = check_number("padding_value", padding_value)
    max_len = optional(check_count)("max_len", max_len)
    return _padded(arrays, padding_value, max_len)


class BucketBatches:
    """
    Batches of sequences of similar length, each padded to its longest one; :func:`bucket_batches` makes it.

    ``len(batches)`` is their number. Iterating begins an epoch; ``epoch`` is the number of the next one.
    """

    def __init__(
        self,
        sequences: list[np.ndarray],
        target: np.ndarray,
        *,
        batch_size: int,
        shuffle: bool,
        random_state: int,
        padding_value: float,
    ):
        self.sequences, self.target = sequences, target
        self.batch_size, self.shuffle, self.padding_value = batch_size, shuffle, padding_value
        self._seed, self._lengths = random_state, np.asarray([len(sequence) for sequence in sequences])
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the next epoch, which decides its order; ``fit`` calls it before each epoch."""
        self.epoch = check_count("epoch", epoch, at_least=0)

    def __len__(self) -> int:
        return len([*slices(len(self.sequences), self.batch_size)])

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Return the batches of the next epoch."""
        rng, n = np.random.default_rng([self._seed, self.epoch]), len(self.sequences)
        self.epoch += 1
        order = rng.permutation(n) if self.shuffle else np.arange(n)
        rows = []
        for part in slices(n, self.batch_size * BATCHES_SORTED):
            near = order[part]
            near = near[np.argsort(self._lengths[near], kind="stable")]
            rows += [near[batch] for batch in slices(len(near), self.batch_size)]
        for i in rng.permutation(len(rows)) if self.shuffle else range(len(rows)):
            yield _padded([self.sequences[j] for j in rows[i]], self.padding_value, None), self.target[rows[i]]


def bucket_batches(
    sequences: Sequence[Any],
    target: Any,
    *,
    batch_size: int = 32,
    shuffle: bool = True,
    random_state: int = 0,
    padding_value: float = 0,
) -> BucketBatches:
    """
    Return an iterable of batches of sequences of similar length, so that little padding is computed.

    Parameters
    ----------
    sequences : sequence of array_like, each of shape (T,) or (T, F)
        They may differ in T.
    target : array_like, shape (N, ...)
        One row for each sequence.
    batch_size : int
        Sequences of a batch.
    shuffle : bool
        Whether each epoch has a new order.
    random_state : int
        Seed of the orders.
    padding_value : float
        See :func:`pad_sequences`.

    Returns
    -------
    BucketBatches
        For ``Trainer.fit``, or a loop of one's own: it yields padded sequences and their targets.

    Raises
    ------
    ValueError
        If the sequences differ in more than their length, or the target has another number of rows.

    Examples
    --------
    >>> texts, labels = [[1, 2, 3], [4], [5, 6, 7], [8]], [0, 1, 0, 1]
    >>> [(x.shape, y.tolist()) for x, y in bucket_batches(texts, labels, batch_size=2, shuffle=False)]
    [((2, 1), [1, 1]), ((2, 3), [0, 0])]
    """
    arrays = _arrays(sequences)
    rows = host_array(target, name="target")
    if rows.ndim == 0 or len(rows) != len(arrays):
        raise ValueError(f"target must hold {len(arrays)} rows, one for each of sequences, got shape {rows.shape}")
    return BucketBatches(
        arrays,
        rows,
        batch_size=check_count("batch_size", batch_size),
        shuffle=check_flag("shuffle", shuffle),
        random_state=check_count("random_state", random_state, at_least=0),
        padding_value=check_number("padding_value", padding_value),
    )


def _arrays(sequences: Sequence[Any]) -> list[np.ndarray]:
    """Return sequences as arrays of the same features and dtype."""
    if isinstance(sequences, (str, bytes)) or not np.iterable(sequences) or len(sequences) == 0:
        raise ValueError(f"sequences must be a list of arrays, at least one, got {shown(sequences)}")
    arrays = [host_array(sequence, name=f"sequences[{i}]") for i, sequence in enumerate(sequences)]
    for i, array in enumerate(arrays):
        if array.ndim not in (1, 2) or array.shape[1:] != arrays[0].shape[1:]:
            raise ValueError(f"sequences[{i}] has shape {array.shape}, and sequences[0] {arrays[0].shape}")
    dtype = np.result_type(*{array.dtype for array in arrays if len(array)} or {arrays[0].dtype})
    return [array.astype(dtype, copy=False) for array in arrays]


def _padded(arrays: list[np.ndarray], padding_value: float, max_len: int | None) -> np.ndarray:
    longest = max(map(len, arrays))
    length = longest if max_len is None else min(longest, max_len)
    first = arrays[0]
    if first.dtype.kind in "iu" and padding_value != int(padding_value):
        raise ValueError(f"padding_value must be an integer for integers, got {padding_value}")
    padded = np.full((len(arrays), length, *first.shape[1:]), padding_value, first.dtype)
    for row, array in zip(padded, arrays, strict=True):
        row[: min(len(array), length)] = array[:length]
    return padded
