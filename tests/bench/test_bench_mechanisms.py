"""``python -m bench mechanisms``."""

from pathlib import Path
from typing import Any, Self

import pytest

from bench import mechanisms, results
from bench.__main__ import main
from bench.networks import NETWORKS, Network
from bench.peers.process import ChildFailed
from bench.peers.race import Settings
from bench.report import mechanism_parts
from portanet import get_backend

MECHANISMS = Path(results.__file__).parent / "results" / "mechanisms-intel-r-xeon-r-processor.json"
SHORT = ("--rounds", "2", "--seconds", "0.01", "--threads", "1")


class FakeChild:
    """A child whose steps take twice as long without a mechanism, and fail without "rewrite"."""

    disabled: str

    def __init__(self, competitor: str, device: str, threads: int, variables: dict[str, str]):
        self.disabled = variables["PORTANET_DISABLE"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def ask(self, limit: float, **request: Any) -> dict[str, float]:
        if self.disabled == "rewrite":
            raise ChildFailed("ValueError: no rewrite")
        return {"median": 2.0 if self.disabled else 1.0} if request["do"] == "time" else {}


@pytest.fixture
def _fake_children(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mechanisms, "Child", FakeChild)
    monkeypatch.setattr("bench.peers.race.PAUSE_SECONDS", 0.0)


def test_mechanisms_prints_and_writes_the_selection(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mechanisms.json"
    selection = ("--networks", "000-toy", "--mechanisms", "sigmoid", "batch_last")
    assert main(["mechanisms", *selection, *SHORT, "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    written = results.read(out, "mechanisms")
    assert written["asked"] == ["000-toy"]
    assert written["threads"] == 1
    result = written["networks"]["000-toy"]
    assert result["mechanisms"].keys() == {"sigmoid", "batch_last"}
    assert result["absent"] == {}
    for name, row in result["mechanisms"].items():
        assert min(row["on"], row["off"]) > 0
        assert f"  {name} " in shown
        assert f"{row['ratio']:.3f}" in shown


@pytest.mark.usefixtures("_fake_children")
def test_ratio_is_the_time_without_the_mechanism_over_the_time_with_it() -> None:
    result = mechanisms.run_network(NETWORKS["000-toy"], ["adam", "rewrite"], Settings(rounds=3), lambda _: None)
    assert result == {
        "mechanisms": {"adam": {"on": 1.0, "off": 2.0, "ratio": 2.0, "quartiles": [2.0, 2.0]}},
        "absent": {"rewrite": "ValueError: no rewrite"},
    }


@pytest.mark.usefixtures("_fake_children")
def test_a_complete_run_measures_all_mechanisms_on_all_networks_with_a_goal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    assert main(["mechanisms", "--rounds", "1"]) == 0
    (path,) = tmp_path.iterdir()
    assert path.name.startswith("mechanisms-")
    written = results.read(path, "mechanisms")
    assert list(written["networks"]) == [id for id, network in NETWORKS.items() if network.goal is not None]
    for result in written["networks"].values():
        assert {*result["mechanisms"], *result["absent"]} == {*mechanisms.MECHANISMS}
    assert f"written: {path}\n" in capsys.readouterr().out


@pytest.mark.usefixtures("_fake_children")
def test_interrupted_run_keeps_finished_networks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = mechanisms.run_network

    def run_network(network: Network, *arguments: Any) -> dict[str, Any]:
        if network.id == "003-mlp":
            raise KeyboardInterrupt
        return finished(network, *arguments)

    monkeypatch.setattr(mechanisms, "run_network", run_network)
    out = tmp_path / "mechanisms.json"
    assert main(["mechanisms", "--networks", "000-toy", "003-mlp", "--out", str(out)]) == 130
    assert f"interrupted; 1 of 2 networks are in {out}\n" in capsys.readouterr().err
    assert list(results.read(out, "mechanisms")["networks"]) == ["000-toy"]


def test_table_shows_the_largest_speed_up_first() -> None:
    rows = {
        "adam": {"on": 0.001, "off": 0.0011, "ratio": 1.1, "quartiles": [1.0, 1.2]},
        "conv": {"on": 0.001, "off": 0.002, "ratio": 2.0, "quartiles": [1.95, 2.05]},
    }
    lines = mechanisms.table(
        NETWORKS["003-mlp"], {"mechanisms": rows, "absent": {"rewrite": "ValueError: no"}}
    ).splitlines()
    assert lines[1].split() == ["conv", "1.00", "ms", "2.00", "ms", "2.000", "1.950", "to", "2.050"]
    assert lines[2].endswith("1.000 to 1.200 (noisy)")
    assert lines[3] == "  rewrite: ValueError: no"


def test_unknown_mechanism_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mechanisms", "--mechanisms", "magic"]) == 2
    assert "unknown mechanism 'magic'; choose from rewrite, dense" in capsys.readouterr().err


def test_kernels_are_overrides_of_the_numpy_backend() -> None:
    assert {"conv", "conv_weight_gradient", "adam"} <= set(mechanisms.KERNELS) == get_backend("cpu").kernels.keys()


def test_the_report_shows_the_clearest_gain_and_not_the_largest_noisy_one() -> None:
    rows = {
        "000-toy": {"mechanisms": {"adam": {"ratio": 1.5, "quartiles": [0.7, 1.9]}}},
        "003-mlp": {"mechanisms": {"adam": {"ratio": 1.2, "quartiles": [1.1, 1.25]}}},
    }
    recorded = results.read(MECHANISMS, "mechanisms")
    *_, table = mechanism_parts(recorded | {"networks": rows})
    assert "| `adam` | 1.342 | 1.200 | 1.100 to 1.250 | 003-mlp |" in table
