import pytest

from portanet import schedules

CASES = [
    schedules.ConstantRate(0.1),
    schedules.StepDecay(0.1, every=3),
    schedules.ExponentialDecay(0.1, factor=0.9),
    schedules.CosineDecay(0.1, steps=10, last=0.01),
    schedules.OneCycle(0.1, steps=10),
    schedules.WarmUp(schedules.CosineDecay(0.1, steps=10), steps=5),
]


@pytest.mark.parametrize("schedule", CASES, ids=repr)
def test_rates_are_positive_or_zero_and_never_above_the_given_one(schedule):
    rates = [schedule(t) for t in range(50)]
    assert all(0 <= rate <= 0.1 + 1e-12 for rate in rates)
    assert max(rates) == pytest.approx(0.1)


def test_one_cycle_rises_then_falls():
    rates = [schedules.OneCycle(1.0, steps=100)(t) for t in range(101)]
    assert rates[:31] == sorted(rates[:31])
    assert rates[30:] == sorted(rates[30:], reverse=True)
    assert rates[0] == pytest.approx(1 / 25)
    assert rates[100] == pytest.approx(1 / 250_000)


def test_a_warm_up_hands_over_without_a_jump():
    schedule = schedules.WarmUp(schedules.CosineDecay(1.0, steps=10), steps=5)
    assert schedule(4) == schedule(5) == 1.0
    assert schedule(15) == pytest.approx(0.0)


def test_repr_is_the_constructor_call():
    assert repr(CASES[-1]) == "WarmUp(CosineDecay(0.1, 10), 5)"
