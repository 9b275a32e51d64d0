"""Nearest centres and sums of clusters by the compiled kernels."""

from typing import Any

import numpy as np

from portanet import kernels
from portanet.backends.numpy.core import compiled
from portanet.backends.numpy.core.memory import is_supported


def sum_of_squares(x: np.ndarray, origin: np.ndarray | float = 0.0) -> Any:
    """See :func:`portanet.kernels.sum_of_squares`."""
    point = np.full(x.shape[-1], origin, x.dtype) if np.ndim(origin) == 0 else np.asarray(origin)
    if not _takes(x, point):
        return kernels.sum_of_squares.portable(x, origin)
    total = np.empty((), x.dtype)
    compiled.sum_of_squares(x, point, total)
    return total[()]


def nearest_centres(x: np.ndarray, centres: np.ndarray, origin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """See :func:`portanet.kernels.nearest_centres`."""
    if not _takes(x, centres, origin):
        portable: tuple[np.ndarray, np.ndarray] = kernels.nearest_centres.portable(x, centres, origin)
        return portable
    labels, distances = np.empty(len(x), np.int64), np.empty(len(x), x.dtype)
    compiled.nearest_centres(x, centres, origin, labels, distances)
    return labels, distances


def cluster_sums(
    x: np.ndarray, centres: np.ndarray, origin: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """See :func:`portanet.kernels.cluster_sums`."""
    if weights is not None or not _takes(x, centres, origin):
        portable: tuple[np.ndarray, np.ndarray, np.ndarray] = kernels.cluster_sums.portable(x, centres, origin, weights)
        return portable
    sums, counts, cost = (np.empty(shape, x.dtype) for shape in (centres.shape, len(centres), ()))
    compiled.cluster_sums(x, centres, origin, sums, counts, cost)
    return sums, counts, cost


def _takes(*arrays: np.ndarray) -> bool:
    """Whether the core computes with these arrays."""
    return is_supported(*arrays) and all(a.flags.c_contiguous for a in arrays)
