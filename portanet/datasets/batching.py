"""Batches of arrays, for training loops of one's own."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from portanet.backends import as_array, take_rows
from portanet.checks import check_count, check_flag, check_ranks, optional
from portanet.kernels.slices import part_of, slices
from portanet.tree import named_leaves, tree_leaves, tree_map, tree_unflatten
from portanet.typing import Array, Ranks


class Batches:
    """
    The batches of arrays, in a new order for each epoch; :func:`batches` makes it.

    ``len(batches)`` is their number. Iterating begins an epoch; ``epoch`` is the number of the next one.
    """

    def __init__(
        self,
        parts: tuple[Any, ...],
        *,
        batch_size: int,
        shuffle: bool,
        random_state: int | None,
        drop_last: bool,
        rank: int,
        n_ranks: int,
    ):
        self.parts, self.batch_size, self.shuffle, self.drop_last = parts, batch_size, shuffle, drop_last
        self.arrays = tuple(array for part in parts for array in tree_leaves(part))
        self._rank, self._n_ranks = rank, n_ranks
        self._seed = int(np.random.default_rng().integers(2**62)) if random_state is None else random_state
        self.epoch = 0

    def __repr__(self) -> str:
        shown = f"batch_size={self.batch_size}, shuffle={self.shuffle}, drop_last={self.drop_last}"
        return f"<Batches of {len(self.arrays)} arrays of {self.arrays[0].shape[0]} examples: {shown}>"

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the next epoch, which decides its order; ``fit`` calls it before each epoch."""
        self.epoch = check_count("epoch", epoch, at_least=0)

    def __len__(self) -> int:
        n, size = int(self.arrays[0].shape[0]), self.batch_size * self._n_ranks
        rest = n % size >= self._n_ranks  # each rank has an example of the last batch
        return n // size + (rest and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[Array, ...]]:
        """Return the batches of the next epoch."""
        n, epoch = self.arrays[0].shape[0], self.epoch
        self.epoch += 1
        order = np.random.default_rng([self._seed, epoch]).permutation(n) if self.shuffle else None
        whole = zip(range(len(self)), slices(n, self.batch_size * self._n_ranks), strict=False)
        parts = (part_of(batch, self._rank, self._n_ranks) for _, batch in whole)
        picked = (rows if order is None else order[rows] for rows in parts)
        return (
            tuple(tree_map(lambda a, rows=rows: take_rows(a, rows), part) for part in self.parts) for rows in picked
        )


def _leaves(name: str, part: Any) -> list[Array]:
    """Return an array, or the arrays of a dict."""
    leaves = named_leaves(name, part) if isinstance(part, dict) else [(name, part)]
    return [as_array(array, name=own) for own, array in leaves]


def batches(
    *arrays: Any,
    batch_size: int = 32,
    shuffle: bool = True,
    random_state: int | None = 0,
    drop_last: bool = False,
    communicator: Ranks | None = None,
) -> Batches:
    """
    Return an iterable of the batches of arrays, for a loop of one's own.

    Parameters
    ----------
    *arrays : array_like, shape (N, ...), or dict of these
        Inputs, targets ..., each on the host or on a device. Of a ``numpy.memmap``, only the rows of a batch are read.
    batch_size : int
        Examples of a batch, in each process if several share the data.
    shuffle : bool
        Whether each epoch has a new order.
    random_state : int or None
        Seed of the orders; None draws differently at each call.
    drop_last : bool
        Whether to leave out a last batch that is shorter.
    communicator : portanet.distributed.Communicator, optional
        Processes that share the data: this one gets its part of each batch. Fewer examples at the end than there are
        processes are left out. ``random_state`` must not be None.

    Returns
    -------
    Batches
        Iterating over it, once for each epoch, yields tuples with a part of each array.

    Raises
    ------
    ValueError
        If the arrays differ in length or hold nothing.

    Examples
    --------
    >>> x, y = np.arange(5.0), np.arange(5)
    >>> [len(part) for part, _ in batches(x, y, batch_size=2)]
    [2, 2, 1]

    A training loop of one's own:

    >>> net, loss = portanet.Linear(1, 1).initialize(), portanet.MSELoss()
    >>> optimizer = portanet.SGD(lr=0.1).bind(net)
    >>> data = batches(net.asarray(x[:, None]), net.asarray(2 * x[:, None]), batch_size=2)
    >>> for epoch in range(20):
    ...     for part, target in data:
    ...         value, _ = portanet.engine.train_step(net, loss, optimizer, part, target)
    """
    converted = [_leaves(f"arrays[{i}]", part) for i, part in enumerate(arrays)]
    if not any(converted):
        raise ValueError("arrays is empty: give at least one array")
    lengths = [array.shape[0] if array.ndim else 0 for leaves in converted for array in leaves]
    if len(set(lengths)) > 1 or lengths[0] == 0:
        raise ValueError(f"arrays must hold equally many examples, at least one, got {lengths}")
    batch_size, drop_last = check_count("batch_size", batch_size), check_flag("drop_last", drop_last)
    check_ranks("communicator", communicator)
    rank, n_ranks = (0, 1) if communicator is None else (communicator.rank, communicator.size)
    if drop_last and batch_size * n_ranks > lengths[0]:
        raise ValueError(f"batch_size={batch_size} with drop_last leaves no batch of {lengths[0]} examples: lower it")
    if n_ranks > lengths[0]:
        raise ValueError(f"arrays hold {lengths[0]} examples for {n_ranks} processes: start fewer")
    if n_ranks > 1 and shuffle and random_state is None:
        raise ValueError("random_state=None draws another order in each process: give a number")
    return Batches(
        tuple(
            tree_unflatten(part, own) if isinstance(part, dict) else own[0]
            for part, own in zip(arrays, converted, strict=True)
        ),
        batch_size=batch_size,
        shuffle=check_flag("shuffle", shuffle),
        random_state=optional(check_count)("random_state", random_state, at_least=0),
        drop_last=drop_last,
        rank=rank,
        n_ranks=n_ranks,
    )
