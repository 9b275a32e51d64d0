"""Batches that a recorded step takes, and the numbers that it leaves, for CuPy."""

import math
from collections.abc import Sequence

import cupy

from portanet import kernels
from portanet.backends.cupy.source import TYPES, Source
from portanet.typing import Array

BATCHES = Source("""
KERNEL gather_batch(INDEX n, const VALUE* given, const long long* order, const long long* place, VALUE* taken, INDEX row)
{
  EACH(i);
  const long long from = order[*place * (n / row) + i / row];
  taken[i] = given[from * row + i % row];
}
""")

NUMBERS = Source("""
KERNEL write_metrics(INDEX n, T* numbers, long long* place, const T* value, INDEX column, INDEX columns) {
  EACH(i);
  numbers[*place * columns + column] = *value;
  if (column == columns - 1) *place += 1;
}
""")


def gather_batch(order: Array, place: Array, size: int, arrays: Sequence[Array]) -> tuple[Array, ...]:
    """See :func:`portanet.kernels.gather_batch`."""
    if not all(array.flags.c_contiguous for array in arrays):  # a copy would be one of all examples
        batch: tuple[Array, ...] = kernels.gather_batch.portable(order, place, size, arrays)
        return batch
    batch = tuple(cupy.empty((size, *array.shape[1:]), dtype=array.dtype) for array in arrays)
    for array, taken in zip(arrays, batch, strict=True):
        kind, row = TYPES[array.dtype.name], math.prod(array.shape[1:])
        BATCHES.launch("gather_batch", taken.size, array.dtype, array, order, place, taken, row, VALUE=kind)
    return batch


def write_metrics(numbers: Array, place: Array, values: Sequence[Array]) -> None:
    """See :func:`portanet.kernels.write_metrics`."""
    if not numbers.flags.c_contiguous:
        kernels.write_metrics.portable(numbers, place, values)
        return
    for i, value in enumerate(values):
        number = cupy.asarray(value, dtype=numbers.dtype)  # a metric may be computed on the host
        NUMBERS.launch("write_metrics", 1, numbers.dtype, numbers, place, number, i, len(values))
