"""Examples held out of a training set."""

from typing import Any

import numpy as np

from portanet.backends import backend_of
from portanet.typing import Array


def split(
    x: Any, target: Any, *, share: float = 0.1, seed: int = 0, stratify: bool = True
) -> tuple[Array, Array, Array, Array]:
    """
    Hold out a random share of examples, for validation.

    Parameters
    ----------
    x, target : array_like, shape (N, ...)
        Examples and their targets, each on the host or on a device.
    share : float
        How much to hold out, between 0 and 1: ``round(share N)`` examples.
    seed : int
        Of the draw, which is made on the host: the same on every device.
    stratify : bool
        Hold out the same share of each class, to within one example. Then ``target`` must be class indices or one-hot
        rows.

    Returns
    -------
    x_train, target_train, x_validation, target_validation : array
        New arrays where the old ones are. Each keeps the order of the examples.

    Raises
    ------
    ValueError
        If there are not as many targets as examples, or a part would be empty.

    Examples
    --------
    >>> x, target = np.arange(10.0), np.asarray([0, 0, 0, 0, 0, 0, 1, 1, 1, 1])
    >>> x_train, target_train, x_validation, target_validation = split(x, target, share=0.5)
    >>> target_validation
    array([0, 0, 0, 1, 1])
    >>> np.sort(np.concat([x_train, x_validation])).tolist() == x.tolist()
    True
    """
    x, target = _array(x), _array(target)
    n = x.shape[0]
    if target.shape[0] != n:
        raise ValueError(f"target holds {target.shape[0]} examples and x {n}: give as many")
    held_out = round(share * n) if 0 < share < 1 else 0
    if not 0 < held_out < n:
        raise ValueError(f"share must leave examples in both parts, got {share} of {n} examples")
    order = np.random.default_rng(seed).permutation(n)
    classes = _classes(target)[order] if stratify else np.zeros(n, dtype=int)
    counts = np.bincount(classes)
    wanted = share * counts
    quotas = np.floor(wanted).astype(int)
    quotas[np.argsort(quotas - wanted, kind="stable")[: held_out - quotas.sum()]] += 1  # the largest remainders
    held = np.zeros(n, dtype=bool)
    held[np.concatenate([order[classes == c][:quota] for c, quota in enumerate(quotas)])] = True
    train, validation = np.flatnonzero(~held), np.flatnonzero(held)
    return _take(x, train), _take(target, train), _take(x, validation), _take(target, validation)


def _array(values: Any) -> Array:
    return values if hasattr(values, "device") else np.asarray(values)


def _classes(target: Array) -> np.ndarray:
    """Class of each example on the host, from 0 on without gaps."""
    host = backend_of(target).to_numpy(target)
    if host.ndim == 2 and np.all((host == 0) | (host == 1)) and np.all(np.sum(host, axis=1) == 1):
        host = np.argmax(host, axis=1)
    if host.ndim != 1 or host.dtype.kind in "fc":
        raise ValueError(
            f"target must be class indices or one-hot rows to stratify by, got shape {host.shape} of {host.dtype}: "
            f"use stratify=False"
        )
    return np.unique(host, return_inverse=True)[1]


def _take(values: Array, rows: np.ndarray) -> Array:
    backend = backend_of(values)
    with backend.activate():
        return backend.xp.take(values, backend.asarray(rows), axis=0)
