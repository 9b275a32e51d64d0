"""What an executor needs to run parts of a batch in threads: see :class:`portanet.backends.base.Threads`."""

import numpy as np

from portanet.backends.numpy import process
from portanet.backends.numpy.layout import is_batch_last, to_batch_last


class NumpyThreads:
    """The threads of NumPy's BLAS, given to an executor."""

    min_examples = 8

    @property
    def count(self) -> int:
        """How many threads BLAS has."""
        return process.blas.threads

    def acquire(self) -> None:
        """Leave BLAS one thread."""
        process.blas.acquire()

    def reapply(self) -> None:
        """Leave BLAS one thread in a worker thread: OpenMP counts threads for each caller."""
        process.blas.reapply()

    def match_layout(self, part: np.ndarray, like: np.ndarray) -> np.ndarray:
        """Lay the batch last in memory if it is last in ``like``."""
        return to_batch_last(part) if is_batch_last(like) else part
