"""Batches to read and metrics to write in a recorded step, for CuPy."""

import math
from collections.abc import Sequence
from typing import Any

import cupy

from portanet import kernels
from portanet.backends.cupy.source import TYPES, Source
from portanet.typing import Array

BATCHES = Source("""
#define GATHER(x, out, size) \\
  if (j < batch_size * (long long)size) { out[j] = x[rows[j / size] * size + j % size]; return; } \\
  j -= batch_size * (long long)size

// Up to three arrays; the size of a row of those that are absent is 0.
KERNEL gather_batch(INDEX n, const long long* order, const long long* index, INDEX batch_size,
                    const VALUE0* x0, VALUE0* out0, INDEX size0, const VALUE1* x1, VALUE1* out1, INDEX size1,
                    const VALUE2* x2, VALUE2* out2, INDEX size2) {
  THREAD_INDEX(i);
  const long long* rows = order + *index * batch_size;
  long long j = i;
  GATHER(x0, out0, size0);
  GATHER(x1, out1, size1);
  GATHER(x2, out2, size2);
}
""")

MAX_ARRAYS = 3
"""Maximum arrays of one launch, such as inputs, targets and weights."""

METRICS = Source("""
// One thread writes up to three numbers, from a column on.
KERNEL write_metrics(INDEX n, T* table, long long* row, const T* value0, const T* value1, const T* value2,
                     INDEX values, INDEX column, INDEX columns) {
  THREAD_INDEX(i);
  T* numbers = table + *row * columns + column;
  numbers[0] = *value0;
  if (values > 1) numbers[1] = *value1;
  if (values > 2) numbers[2] = *value2;
  if (column + values == columns) *row += 1;
}
""")


def gather_batch(order: Array, index: Array, batch_size: int, arrays: Sequence[Array]) -> tuple[Array, ...]:
    """See :func:`portanet.kernels.gather_batch`."""
    if not all(array.flags.c_contiguous for array in arrays):  # the kernel would need a copy of all examples
        batch: tuple[Array, ...] = kernels.gather_batch.portable(order, index, batch_size, arrays)
        return batch
    batch = tuple(cupy.empty((batch_size, *array.shape[1:]), dtype=array.dtype) for array in arrays)
    together = MAX_ARRAYS if len({array.dtype for array in arrays if array.dtype.kind == "f"}) < 2 else 1
    for start in range(0, len(arrays), together):
        _gather(order, index, batch_size, list(zip(arrays, batch, strict=True))[start : start + together])
    return batch


def _gather(order: Array, index: Array, batch_size: int, pairs: list[tuple[Array, Array]]) -> None:
    """Copy the rows of the first array of each pair to the second one."""
    arguments: list[Any] = []
    macros: dict[str, int | str] = {}
    for i in range(MAX_ARRAYS):
        array, out = pairs[min(i, len(pairs) - 1)]
        arguments += [array, out, math.prod(array.shape[1:]) if i < len(pairs) else 0]
        macros[f"VALUE{i}"] = TYPES[array.dtype.name]
    dtype = next((out.dtype for _, out in pairs if out.dtype.kind == "f"), pairs[0][1].dtype)
    n = sum(out.size for _, out in pairs)
    BATCHES.launch("gather_batch", n, dtype, order, index, batch_size, *arguments, **macros)


def write_metrics(table: Array, row: Array, values: Sequence[Array]) -> None:
    """See :func:`portanet.kernels.write_metrics`."""
    if not table.flags.c_contiguous:
        kernels.write_metrics.portable(table, row, values)
        return
    arrays = [cupy.asarray(value, dtype=table.dtype) for value in values]  # a metric may be computed on the host
    for column in range(0, len(arrays), MAX_ARRAYS):
        written = arrays[column : column + MAX_ARRAYS]
        three = [*written, *written[:1] * (MAX_ARRAYS - len(written))]
        METRICS.launch("write_metrics", 1, table.dtype, table, row, *three, len(written), column, len(arrays))
