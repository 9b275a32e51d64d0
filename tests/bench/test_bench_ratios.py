"""From times to figures."""

import pytest

from bench.peers import ratios
from bench.peers.process import Failed
from bench.peers.race import Settings, take_turns


def test_the_figure_is_the_median_of_ratios_within_a_round():
    # The machine slowed down by ten in the second round: the ratio of the medians would be 0.25 or 1.
    compared = ratios.compare({"portanet": [1.0, 10.0, 2.0], "torch-eager": [2.0, 20.0, 8.0]})
    assert compared["portanet"] == {"seconds": 2.0}
    assert compared["torch-eager"]["seconds"] == 8.0
    assert compared["torch-eager"]["ratio"] == 0.5
    assert compared["torch-eager"]["quartiles"] == [0.375, 0.5]


def test_the_best_of_a_library_leaves_the_largest_ratio():
    times = {
        "portanet": {"seconds": 1.0},
        "floor": {"seconds": 0.5, "ratio": 2.0},
        "torch-eager": {"seconds": 2.0, "ratio": 0.5},
        "torch-fused": {"seconds": 1.25, "ratio": 0.8},
        "sklearn": {"seconds": 4.0, "ratio": 0.25},
    }
    assert ratios.best(times) == "torch-fused"
    assert ratios.best_ratio(times) == 0.8
    assert ratios.best_ratio(times, "sklearn") == 0.25
    assert ratios.best_ratio(times, "jax") is None
    assert ratios.share(times, "portanet") == 0.5
    assert ratios.share(times, "torch-eager") == 0.25
    assert ratios.share({"portanet": {"seconds": 1.0}}, "portanet") is None


def test_the_mean_of_ratios_is_geometric():
    assert ratios.mean([0.25, None, 4.0]) == pytest.approx(1.0)
    assert ratios.mean([]) is None


class Scripted:
    """A child that answers what it was told to, and says that it was asked."""

    def __init__(self, name, asked, answers):
        self.name, self.asked, self.answers = name, asked, iter(answers)

    def ask(self, limit, **request):
        self.asked.append(self.name)
        answer = next(self.answers)
        if answer is None:
            raise Failed("broke")
        return {"median": answer}


def test_contenders_take_turns_and_one_that_fails_falls_out(monkeypatch):
    monkeypatch.setattr("bench.peers.race.PAUSE", 0.0)
    asked: list[str] = []
    children = {
        "portanet": Scripted("portanet", asked, [1.0, 1.0, 1.0]),
        "torch-eager": Scripted("torch-eager", asked, [2.0, 2.0, 2.0]),
        "torch-compile": Scripted("torch-compile", asked, [3.0, None]),
    }
    absent: dict[str, str] = {}
    blocks = take_turns(children, Settings(rounds=3), absent)
    assert blocks == {"portanet": [1.0] * 3, "torch-eager": [2.0] * 3}
    assert absent == {"torch-compile": "broke"}
    children["portanet"] = Scripted("portanet", asked, [None])
    with pytest.raises(Failed, match="portanet: broke"):
        take_turns(children, Settings(rounds=1), absent)
    first, second, third = asked[:3], asked[3:6], asked[6:8]
    assert first == ["portanet", "torch-eager", "torch-compile"]
    assert second == ["torch-eager", "torch-compile", "portanet"]
    assert sorted(third) == ["portanet", "torch-eager"]
