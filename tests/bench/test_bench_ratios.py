"""Ratios of times."""

from typing import Any

import pytest

from bench.peers import ratios
from bench.peers.process import ChildFailed
from bench.peers.race import Settings, take_turns


def test_ratio_is_the_median_of_ratios_within_a_round() -> None:
    # In the second round the machine was slower by a factor of ten.
    compared = ratios.compare({"portanet": [1.0, 10.0, 2.0], "torch-eager": [2.0, 20.0, 8.0]})
    assert compared["portanet"] == {"seconds": 2.0}
    assert compared["torch-eager"]["seconds"] == 8.0
    assert compared["torch-eager"]["ratio"] == 0.5
    assert compared["torch-eager"]["quartiles"] == [0.375, 0.5]


def test_best_competitor_has_the_largest_ratio() -> None:
    times = {
        "portanet": {"seconds": 1.0},
        "gemm-bound": {"seconds": 0.5, "ratio": 2.0},
        "torch-eager": {"seconds": 2.0, "ratio": 0.5},
        "torch-fused": {"seconds": 1.25, "ratio": 0.8},
        "sklearn": {"seconds": 4.0, "ratio": 0.25},
    }
    assert ratios.best(times) == "torch-fused"
    assert ratios.best_ratio(times) == 0.8
    assert ratios.best_ratio(times, "sklearn") == 0.25
    assert ratios.best_ratio(times, "jax") is None
    assert ratios.gemm_share(times, "portanet") == 0.5
    assert ratios.gemm_share(times, "torch-eager") == 0.25
    assert ratios.gemm_share({"portanet": {"seconds": 1.0}}, "portanet") is None


def test_wide_quartiles_are_noisy() -> None:
    assert ratios.is_noisy({"ratio": 1.0, "quartiles": [0.9, 1.06]})
    assert not ratios.is_noisy({"ratio": 1.0, "quartiles": [0.9, 1.04]})


def test_mean_is_geometric() -> None:
    assert ratios.mean([0.25, None, 4.0]) == pytest.approx(1.0)
    assert ratios.mean([]) is None


class Scripted:
    """A child with scripted answers, which logs its requests."""

    def __init__(self, name: str, asked: list[str], answers: list[float | None]):
        self.name, self.asked, self.answers = name, asked, iter(answers)

    def ask(self, limit: float, **request: float | str) -> dict[str, float]:
        self.asked.append(self.name)
        answer = next(self.answers)
        if answer is None:
            raise ChildFailed("broke")
        return {"median": answer}


def test_competitors_take_turns_and_a_failed_one_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.peers.race.PAUSE_SECONDS", 0.0)
    asked: list[str] = []
    children: dict[str, Any] = {
        "portanet": Scripted("portanet", asked, [1.0, 1.0, 1.0]),
        "torch-eager": Scripted("torch-eager", asked, [2.0, 2.0, 2.0]),
        "torch-compile": Scripted("torch-compile", asked, [3.0, None]),
    }
    absent: dict[str, str] = {}
    blocks = take_turns(children, Settings(rounds=3), absent)
    assert blocks == {"portanet": [1.0] * 3, "torch-eager": [2.0] * 3}
    assert absent == {"torch-compile": "broke"}
    children["portanet"] = Scripted("portanet", asked, [None])
    with pytest.raises(ChildFailed, match="portanet: broke"):
        take_turns(children, Settings(rounds=1), absent)
    first, second, third = asked[:3], asked[3:6], asked[6:8]
    assert first == ["portanet", "torch-eager", "torch-compile"]
    assert second == ["torch-eager", "torch-compile", "portanet"]
    assert sorted(third) == ["portanet", "torch-eager"]
