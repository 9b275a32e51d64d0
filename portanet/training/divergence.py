"""Training that no longer gives finite numbers."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from portanet.training.history import History


class Diverged(FloatingPointError):
    """
    The loss, or a weight, is no longer finite.

    The weights are those from before that epoch, or those of the best one if EarlyStopping restores them.

    Attributes
    ----------
    history : History
        The finite epochs.

    Examples
    --------
    >>> trainer = portanet.Trainer(portanet.Linear(1, 1), portanet.MSELoss(), portanet.SGD(lr=1e30))
    >>> x = np.ones((8, 1))
    >>> try:
    ...     trainer.fit(x, x, epochs=5, batch_size=1, progress=False)
    ... except portanet.Diverged as reason:
    ...     print(str(reason)[:28], len(reason.history))
    the loss became inf at step  0
    """

    raised_by_all = True  # all ranks that train the network raise it after the same epoch

    def __init__(self, message: str, history: History):
        super().__init__(message)
        self.history = history

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the constructor's arguments."""
        return type(self), (str(self), self.history)


def find_divergence(losses: np.ndarray, not_finite: Sequence[str], epoch: int) -> str | None:
    """
    Describe the first number of an epoch that is not finite, or return None.

    Parameters
    ----------
    losses : array of float, shape (steps,)
    not_finite : sequence of str
        Names of weights, running statistics and arrays of the optimizer that are not finite.
    epoch : int
        Number of the epoch, from 1.

    Examples
    --------
    >>> find_divergence(np.asarray([0.5, np.inf]), not_finite=[], epoch=3)
    'the loss became inf at step 2 of epoch 3'
    """
    bad = np.flatnonzero(~np.isfinite(losses))
    if bad.size:
        return f"the loss became {losses[bad[0]]} at step {bad[0] + 1} of epoch {epoch}"
    if not_finite:
        return f"{not_finite[0]} was no longer finite after step {len(losses)}, the last of epoch {epoch}"
    return None
