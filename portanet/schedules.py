"""
Schedules: the learning rate as a function of the number of steps (or epochs) done.

:class:`portanet.LearningRateScheduler` applies a schedule during ``fit``. :class:`portanet.ReduceLROnPlateau`, which
depends on a metric, is a callback of its own.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

from portanet.checks import check_count, check_fields, check_number, shown
from portanet.config import Configured

__all__ = ["ConstantRate", "CosineDecay", "ExponentialDecay", "OneCycle", "Schedule", "StepDecay", "WarmUp"]


def check_schedule(name: str, value: Any) -> Any:
    """Check that a value is a function of a step, such as a schedule."""
    if not callable(value):
        raise ValueError(
            f"{name} must be a function of a step, got {shown(value)}: write ConstantRate(0.1) for instance"
        )
    return value


check_rate = partial(check_number, at_least=0)
check_share = partial(check_number, at_least=0, below=1)


class Schedule(Configured):
    """
    Base class of schedules: each is a formula, ``rate``.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class InverseTime(Schedule):
    ...     lr: float
    ...
    ...     def rate(self, step):
    ...         return self.lr / (1 + step)
    >>> InverseTime(1.0)(3)
    0.25
    """

    def __call__(self, step: int) -> float:
        """Return the learning rate of step ``step``, a whole number from 0 on."""
        try:
            return self.rate(check_count("step", step, at_least=0))
        except OverflowError as error:
            raise ValueError(
                f"step {step} of {self!r} has a rate too large for a float: end training before"
            ) from error

    def rate(self, step: int) -> float:
        """Compute the learning rate of a step."""
        raise NotImplementedError(f"{type(self).__name__} needs a method rate(self, step)")


@dataclass(frozen=True, repr=False)
class ConstantRate(Schedule):
    """
    Always ``lr``.

    Parameters
    ----------
    lr : float
        Learning rate.

    Examples
    --------
    >>> ConstantRate(0.1)(1000)
    0.1
    """

    lr: float

    def __post_init__(self) -> None:
        check_fields(self, lr=check_rate)

    def rate(self, step: int) -> float:
        return self.lr


@dataclass(frozen=True, repr=False)
class StepDecay(Schedule):
    """
    Multiply ``lr`` by ``factor`` every ``step_size`` steps.

    Parameters
    ----------
    lr : float
        Learning rate at step 0.
    step_size : int
        Number of steps with the same learning rate.
    factor : float
        By what it is then multiplied.

    Examples
    --------
    >>> [StepDecay(1.0, step_size=10, factor=0.5)(t) for t in (0, 9, 10, 20)]
    [1.0, 1.0, 0.5, 0.25]
    """

    lr: float
    step_size: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        check_fields(self, lr=check_rate, step_size=check_count, factor=check_rate)

    def rate(self, step: int) -> float:
        return self.lr * math.pow(self.factor, step // self.step_size)


@dataclass(frozen=True, repr=False)
class ExponentialDecay(Schedule):
    """
    Multiply ``lr`` by ``factor`` after every step.

    Parameters
    ----------
    lr : float
        Learning rate at step 0.
    factor : float
        By what each step multiplies it.

    Examples
    --------
    >>> ExponentialDecay(1.0, factor=0.5)(3)
    0.125
    """

    lr: float
    factor: float

    def __post_init__(self) -> None:
        check_fields(self, lr=check_rate, factor=check_rate)

    def rate(self, step: int) -> float:
        return self.lr * math.pow(self.factor, step)


@dataclass(frozen=True, repr=False)
class CosineDecay(Schedule):
    """
    Half a cosine from ``lr`` at step 0 to ``eta_min`` at step ``steps``, then ``eta_min`` [1]_.

    Parameters
    ----------
    lr : float
        Learning rate at step 0.
    steps : int
        Number of steps of the decay.
    eta_min : float
        Learning rate at its end.

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
    eta_min: float = 0.0

    def __post_init__(self) -> None:
        check_fields(self, lr=check_rate, steps=check_count, eta_min=check_rate)
        if self.eta_min > self.lr:
            raise ValueError(f"eta_min must be at most lr={self.lr}, got {self.eta_min}")

    def rate(self, step: int) -> float:
        return _half_cosine(self.lr, self.eta_min, step / self.steps)


@dataclass(frozen=True, repr=False)
class OneCycle(Schedule):
    """
    Half a cosine from ``lr / 25`` up to ``lr``, then half a cosine down to ``lr / 250_000`` [1]_.

    As in PyTorch's ``OneCycleLR(total_steps=steps)``, the peak is at step ``pct_start * steps - 1``, which may lie
    between two steps, and the end is at the last step, ``steps - 1``. The learning rate then stays at its end value.

    Parameters
    ----------
    lr : float
        Maximum learning rate.
    steps : int
        Number of steps of the cycle.
    pct_start : float
        Fraction of the steps with an increasing learning rate, in [0, 1).

    References
    ----------
    .. [1] L. N. Smith, N. Topin, Super-convergence, arXiv:1708.07120.

    Examples
    --------
    >>> [round(OneCycle(1.0, steps=10)(t), 3) for t in (0, 2, 9)]
    [0.04, 1.0, 0.0]
    """

    lr: float
    steps: int
    pct_start: float = 0.3

    def __post_init__(self) -> None:
        check_fields(self, lr=check_rate, steps=check_count, pct_start=check_share)

    def rate(self, step: int) -> float:
        peak, end = self.pct_start * self.steps - 1, self.steps - 1
        if step < peak:
            return _half_cosine(self.lr / 25, self.lr, step / peak)
        return _half_cosine(self.lr, self.lr / 250_000, (step - peak) / (end - peak))


@dataclass(frozen=True, repr=False)
class WarmUp(Schedule):
    """
    Increase linearly to ``schedule(0)`` during ``steps`` steps, then follow ``schedule`` from its start [1]_.

    Parameters
    ----------
    schedule : Schedule
        Learning rate after the warm-up.
    steps : int
        Number of steps of the warm-up.

    References
    ----------
    .. [1] P. Goyal et al., Accurate, large minibatch SGD, arXiv:1706.02677.

    Examples
    --------
    >>> [WarmUp(ConstantRate(1.0), steps=4)(t) for t in range(6)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    """

    schedule: Schedule
    steps: int

    def __post_init__(self) -> None:
        check_fields(self, schedule=check_schedule, steps=check_count)

    def rate(self, step: int) -> float:
        rate = check_rate("schedule(step)", self.schedule(max(0, step - self.steps)))
        return rate * (step + 1) / self.steps if step < self.steps else rate


def _half_cosine(start: float, end: float, fraction: float) -> float:
    """Half a cosine from ``start`` at 0 to ``end`` at 1, then ``end``."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(fraction, 1.0)))
