"""
Steps on data that stay on the host, for data that do not fit on the device.

Gain: data larger than the device's memory can be trained on. Each batch is copied while the one before is computed, if
the library can.
"""

import numpy as np

from portanet.engine.eager import EagerExecutor
from portanet.typing import Array


class StreamingExecutor(EagerExecutor):
    """Runs steps one by one; the data are NumPy arrays, of which one batch is on the device and the next on its way."""

    def start_epoch(self, order: np.ndarray | None) -> None:
        """Begin an epoch, and copy the first batch."""
        super().start_epoch(None)
        dtype = self.backend.to_numpy(self.metrics).dtype  # floats become the network's dtype
        rows = self.batches if order is None else [order[batch] for batch in self.batches]
        self._stream = self.backend.iter_batches(
            tuple(a[index].astype(dtype if a.dtype.kind == "f" else a.dtype) for a in self.data) for index in rows
        )

    def next_batch(self) -> tuple[Array, ...]:
        """Return the arrays of the next batch."""
        return tuple(next(self._stream))
