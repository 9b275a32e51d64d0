"""
Steps on data that stay on the host, for data that do not fit on the device.

Gain: data larger than the device's memory can be trained on. Each batch is copied while the one before is computed, if
the library can.
"""

from collections.abc import Sequence

import numpy as np

from portanet.backends import Backend
from portanet.engine.eager import EagerExecutor, Step
from portanet.typing import Array


class StreamingExecutor(EagerExecutor):
    """Runs steps one by one; the data are NumPy arrays, of which one batch is on the device and the next on its way."""

    def __init__(self, step: Step, data: tuple[Array, ...], batches: Sequence[slice], metrics: Array, backend: Backend):
        super().__init__(step, data, batches, metrics, backend)
        self.float_dtype = backend.to_numpy(metrics).dtype  # of the network, and of its floating-point data

    def start_epoch(self, order: np.ndarray | None, n_done: int = 0) -> None:
        """Begin an epoch, and copy the first batch."""
        super().start_epoch(None, n_done)
        dtype, batches = self.float_dtype, self.batches[n_done:]
        rows = batches if order is None else [order[batch] for batch in batches]
        self._stream = self.backend.iter_batches(
            tuple(a[index].astype(dtype if a.dtype.kind == "f" else a.dtype, copy=False) for a in self.data)
            for index in rows
        )

    def next_batch(self) -> tuple[Array, ...]:
        """Return the arrays of the next batch."""
        return tuple(next(self._stream))
