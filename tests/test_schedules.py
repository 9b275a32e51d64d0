import math
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from portanet import schedules

CASES = [
    schedules.ConstantRate(0.1),
    schedules.StepDecay(0.1, step_size=3),
    schedules.ExponentialDecay(0.1, factor=0.9),
    schedules.CosineDecay(0.1, steps=10, eta_min=0.01),
    schedules.OneCycle(0.1, steps=10),
    schedules.WarmUp(schedules.CosineDecay(0.1, steps=10), steps=5),
]


@pytest.mark.parametrize("schedule", CASES, ids=repr)
def test_rates_are_never_negative_or_above_the_maximum(schedule: schedules.Schedule) -> None:
    rates = [schedule(t) for t in range(50)]
    assert all(0 <= rate <= 0.1 + 1e-12 for rate in rates)
    assert max(rates) == pytest.approx(0.1)


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 99])
@pytest.mark.parametrize("pct_start", [0.0, 0.1, 0.3, 0.5, 0.99])
def test_one_cycle_reaches_its_end_at_the_last_step(steps: int, pct_start: float) -> None:
    schedule = schedules.OneCycle(0.1, steps, pct_start)
    assert schedule(steps - 1) == schedule(steps) == 0.1 / 250_000


def test_one_cycle_rises_then_falls() -> None:
    rates = [schedules.OneCycle(1.0, steps=100)(t) for t in range(100)]
    assert rates[:30] == sorted(rates[:30])
    assert rates[29:] == sorted(rates[29:], reverse=True)
    assert (rates[0], rates[29]) == pytest.approx((1 / 25, 1.0))


@pytest.mark.torch
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 10, 100])
@pytest.mark.parametrize("pct_start", [0.01, 0.3, 0.45, 0.9])
def test_one_cycle_agrees_with_pytorch(steps: int, pct_start: float) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the reference")
    if pct_start * steps == 1:
        pytest.skip("PyTorch divides by zero")
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.1, total_steps=steps, pct_start=pct_start, cycle_momentum=False
    )
    expected = scheduler.get_last_lr()
    for _ in range(steps - 1):
        optimizer.step()
        scheduler.step()
        expected = expected + scheduler.get_last_lr()
    ours = [schedules.OneCycle(0.1, steps, pct_start)(t) for t in range(steps)]
    assert ours == pytest.approx(expected, rel=1e-12, abs=1e-17)


@pytest.mark.parametrize("schedule", CASES, ids=repr)
@pytest.mark.parametrize("step", ["3", None, math.nan, math.inf, -1, 0.5, 2.0, True, np.arange(3), [1], 1j, 10**400])
def test_a_step_is_a_whole_number(schedule: schedules.Schedule, step: Any) -> None:
    with pytest.raises(ValueError, match=r"step must be a whole number of at least 0.*, got"):
        schedule(step)


@pytest.mark.parametrize("step", [np.int64(3), np.uint8(3), np.asarray(3)])
@pytest.mark.parametrize("schedule", CASES, ids=repr)
def test_integers_of_any_kind_are_steps(schedule: schedules.Schedule, step: Any) -> None:
    assert schedule(step) == schedule(3)


@pytest.mark.parametrize(
    "schedule", [schedules.ExponentialDecay(1, factor=2), schedules.StepDecay(1, step_size=1, factor=10)], ids=repr
)
def test_a_rate_that_is_too_large_is_named(schedule: schedules.Schedule) -> None:
    with pytest.raises(ValueError, match=rf"step 1000000000 of {type(schedule).__name__}.* has a rate too large"):
        schedule(10**9)


@pytest.mark.parametrize("rate", [None, "x", math.nan, -0.1])
@pytest.mark.parametrize("step", [0, 5])
def test_a_function_in_a_warm_up_returns_a_rate(step: int, rate: Any) -> None:
    with pytest.raises(ValueError, match=rf"schedule\(step\) must be a number of at least 0, got {rate!r}"):
        schedules.WarmUp(lambda step: rate, steps=2)(step)  # type: ignore[arg-type]


def test_warm_up_is_continuous() -> None:
    schedule = schedules.WarmUp(schedules.CosineDecay(1.0, steps=10), steps=5)
    assert schedule(4) == schedule(5) == 1.0
    assert schedule(15) == pytest.approx(0.0)


def test_repr_is_the_constructor_call() -> None:
    assert repr(CASES[-1]) == "WarmUp(CosineDecay(0.1, 10), 5)"


@pytest.mark.parametrize("schedule", CASES, ids=repr)
def test_arguments_are_attributes(schedule: Any) -> None:
    arguments = {field.name: getattr(schedule, field.name) for field in fields(schedule)}
    assert type(schedule)(**arguments) == schedule


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (schedules.CosineDecay, {"steps": 0}, "steps must be a whole number of at least 1, got 0"),
        (schedules.StepDecay, {"step_size": 0}, "step_size must be a whole number of at least 1, got 0"),
        (schedules.OneCycle, {"steps": 9, "pct_start": 1.0}, r"pct_start must be a number in \[0, 1\), got 1.0"),
        (schedules.OneCycle, {"steps": 9, "pct_start": -0.1}, r"pct_start must be a number in \[0, 1\), got -0.1"),
    ],
)
def test_unfit_arguments_are_refused(kind: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(0.1, **arguments)
