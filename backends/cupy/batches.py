"""Batches to read and metrics to write in a recorded step, for CuPy."""

import math
from collections.abc import Sequence

import cupy

from portanet import kernels
from portanet.backends.cupy.source import TYPES, Source
from portanet.typing import Array

BATCHES = Source("""
KERNEL gather_batch(INDEX n, const VALUE* x, const long long* order, const long long* index, VALUE* out,
                    INDEX row_size) {
  THREAD_INDEX(i);
  const long long row = order[*index * (n / row_size) + i / row_size];
  out[i] = x[row * row_size + i % row_size];
}
""")

METRICS = Source("""
KERNEL write_metrics(INDEX n, T* table, long long* row, const T* value, INDEX column, INDEX columns) {
  THREAD_INDEX(i);
  table[*row * columns + column] = *value;
  if (column == columns - 1) *row += 1;
}
""")


def gather_batch(order: Array, index: Array, batch_size: int, arrays: Sequence[Array]) -> tuple[Array, ...]:
    """See :func:`portanet.kernels.gather_batch`."""
    if not all(array.flags.c_contiguous for array in arrays):  # the kernel would need a copy of all examples
        batch: tuple[Array, ...] = kernels.gather_batch.portable(order, index, batch_size, arrays)
        return batch
    batch = tuple(cupy.empty((batch_size, *array.shape[1:]), dtype=array.dtype) for array in arrays)
    for array, out in zip(arrays, batch, strict=True):
        value_type, row_size = TYPES[array.dtype.name], math.prod(array.shape[1:])
        BATCHES.launch("gather_batch", out.size, array.dtype, array, order, index, out, row_size, VALUE=value_type)
    return batch


def write_metrics(table: Array, row: Array, values: Sequence[Array]) -> None:
    """See :func:`portanet.kernels.write_metrics`."""
    if not table.flags.c_contiguous:
        kernels.write_metrics.portable(table, row, values)
        return
    for i, value in enumerate(values):
        array = cupy.asarray(value, dtype=table.dtype)  # a metric may be computed on the host
        METRICS.launch("write_metrics", 1, table.dtype, table, row, array, i, len(values))
