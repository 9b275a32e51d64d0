"""
Schedules: the learning rate as a function of how many steps (or epochs) are done.

A schedule is called with that number. :class:`portanet.LearningRateScheduler` applies one during ``fit``;
:class:`portanet.ReduceLROnPlateau`, which depends on a metric, is a callback of its own.
"""

import math
from dataclasses import dataclass

from portanet.config import Configured


class Schedule(Configured):
    """A learning rate for every step."""

    def __post_init__(self) -> None:
        for name in ("steps", "every"):
            if (count := getattr(self, name, 1)) < 1:
                raise ValueError(f"{name} must be at least 1, got {count}")

    def __call__(self, step: int) -> float:
        """Return the learning rate after ``step`` steps, from 0 on."""
        raise NotImplementedError


@dataclass(frozen=True, repr=False)
class ConstantRate(Schedule):
    """
    Always ``lr``.

    Examples
    --------
    >>> ConstantRate(0.1)(1000)
    0.1
    """

    lr: float

    def __call__(self, step: int) -> float:
        return self.lr


@dataclass(frozen=True, repr=False)
class StepDecay(Schedule):
    """
    Multiply by ``factor`` each time ``every`` steps are done.

    Examples
    --------
    >>> [StepDecay(1.0, every=10, factor=0.5)(t) for t in (0, 9, 10, 20)]
    [1.0, 1.0, 0.5, 0.25]
    """

    lr: float
    every: int
    factor: float = 0.1

    def __call__(self, step: int) -> float:
        return self.lr * self.factor ** (step // self.every)


@dataclass(frozen=True, repr=False)
class ExponentialDecay(Schedule):
    """
    Multiply by ``factor`` after each step.

    Examples
    --------
    >>> ExponentialDecay(1.0, factor=0.5)(3)
    0.125
    """

    lr: float
    factor: float

    def __call__(self, step: int) -> float:
        return self.lr * self.factor**step


@dataclass(frozen=True, repr=False)
class CosineDecay(Schedule):
    """
    Half a cosine wave from ``lr`` down to ``last`` over ``steps`` steps, then ``last`` [1]_.

    References
    ----------
    .. [1] I. Loshchilov, F. Hutter, SGDR: stochastic gradient descent with warm restarts, ICLR 2017, eq. 5.

    Examples
    --------
    >>> [round(CosineDecay(1.0, steps=10)(t), 3) for t in (0, 5, 10, 11)]
    [1.0, 0.5, 0.0, 0.0]
    """

    lr: float
    steps: int
    last: float = 0.0

    def __call__(self, step: int) -> float:
        done = min(step / self.steps, 1.0)
        return self.last + (self.lr - self.last) * 0.5 * (1 + math.cos(math.pi * done))


@dataclass(frozen=True, repr=False)
class OneCycle(Schedule):
    """
    Up from ``lr / 25`` to ``lr`` in the first part, then down to nearly nothing, both along half a cosine [1]_.

    Parameters
    ----------
    lr : float
        The highest learning rate.
    steps : int
        Length of the whole cycle.
    rise : float
        Share of the cycle that goes up.

    References
    ----------
    .. [1] L. N. Smith, N. Topin, Super-convergence, arXiv:1708.07120.

    Examples
    --------
    >>> [round(OneCycle(1.0, steps=10)(t), 3) for t in (0, 3, 10)]
    [0.04, 1.0, 0.0]
    """

    lr: float
    steps: int
    rise: float = 0.3

    def __call__(self, step: int) -> float:
        up = max(1, round(self.rise * self.steps))
        if step < up:
            return CosineDecay(self.lr / 25, up, last=self.lr)(step)
        return CosineDecay(self.lr, max(1, self.steps - up), last=self.lr / 250_000)(step - up)


@dataclass(frozen=True, repr=False)
class WarmUp(Schedule):
    """
    Rise linearly over the first ``steps`` steps, then follow another schedule from its beginning [1]_.

    References
    ----------
    .. [1] P. Goyal et al., Accurate, large minibatch SGD, arXiv:1706.02677.

    Examples
    --------
    >>> [WarmUp(ConstantRate(1.0), steps=4)(t) for t in range(6)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    """

    then: Schedule
    steps: int

    def __call__(self, step: int) -> float:
        if step < self.steps:
            return self.then(0) * (step + 1) / self.steps
        return self.then(step - self.steps)
