"""A training step as ``fit`` runs it."""

from collections.abc import Callable
from typing import Any

from portanet import Trainer
from portanet.engine.graph import WARM_UP_STEPS

MANY_STEPS = 10**6
"""Enough for a persistent kernel to be compiled."""


def training_step(trainer: Trainer, x: Any, target: Any) -> Callable[[], Any]:
    """
    Return a function that runs a training step on one batch and returns its loss.

    If the device can record, the step is a replayed recording.

    Examples
    --------
    >>> import numpy as np
    >>> import portanet as pn
    >>> x = np.ones((4, 2), "float32")
    >>> step = training_step(pn.Trainer(pn.Linear(2, 1), pn.MSELoss(), pn.SGD(lr=0.1)), x, x[:, :1])
    >>> bool(step() > step())
    True
    """
    if trainer.backend.capture is None:
        return lambda: trainer.step(x, target)
    for _ in range(WARM_UP_STEPS):
        trainer.step(x, target)
    losses: list[Any] = []  # keeps a reference to the array that every replay writes to
    with trainer.backend.activate():
        replay = trainer.backend.capture(lambda: losses.append(trainer.step(x, target)), 1, MANY_STEPS)

    def step() -> Any:
        replay()
        return losses[0]

    return step
