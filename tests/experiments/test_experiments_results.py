"""Experiments, runs, and their files."""

import importlib
import json
import pickle
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from statistics import stdev
from typing import Any, NoReturn

import numpy as np
import pytest

import experiments
import portanet
from experiments.__main__ import main
from experiments.digits import digits
from experiments.runner import Experiment, Reported, Run, Study, at_least, at_most, discover, run_study
from experiments.runner.record import Function
from portanet.backends import Backend
from portanet.datasets import Dataset

pytest.importorskip("sklearn", reason="digits comes with scikit-learn")
image = pytest.importorskip("matplotlib.image", reason="experiments draw with matplotlib")


def claim(function: Function, reported: dict[str, Reported] | None = None, **fields: str) -> Experiment:
    """Return an experiment named "claim", without a network."""
    about = {"id": "claim", "source": "nobody", "data": "nothing", "what": "nothing", "choices": "none", **fields}
    return Experiment(**about, reported=reported or {}, function=function)


def share(value: float, reported: dict[str, Reported] | None = None) -> Experiment:
    """Return an experiment whose figure is the same for all seeds."""
    return claim(lambda run: {"share": value}, reported)


def draw(run: Run) -> dict[str, int]:
    """Return a figure that depends on the seed, and draw it."""
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots().plot([0, run.seed])
    run.picture("a line", figure, f"to {run.seed}")
    return {"seed": run.seed}


def summary(study: Study) -> dict[str, Any]:
    result = study.summarise()
    assert result is not None
    return result


def test_only_quick_runs_truncate_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    x_train, y_train, x_test, y_test = map(np.arange, (3000, 3000, 1500, 1500))
    whole = Dataset("made up", x_train, y_train, x_test, y_test, classes=("0", "1"))
    monkeypatch.setattr("portanet.datasets.load", {"made up": whole}.get)
    cpu = portanet.get_backend("cpu")
    assert Run("claim", cpu).load("made up") is whole
    cut = Run("claim", cpu, quick=True).load("made up")
    for part, size in (("x_train", 2000), ("y_train", 2000), ("x_test", 1000), ("y_test", 1000)):
        np.testing.assert_array_equal(getattr(cut, part), np.arange(size))
    assert cut.classes == whole.classes


def test_digits_meets_its_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", "digits", "--out", str(tmp_path), "--seed", "1", "--seeds", "3", "--device", "cpu"]
    assert main(arguments) == 0
    result = json.loads((tmp_path / "digits" / "result.json").read_text(encoding="utf-8"))
    accuracy, loss = result["figures"]["test accuracy"], result["figures"]["test loss"]
    assert (accuracy["reported"], accuracy["better"], accuracy["met"]) == (0.97, "higher", True)
    assert (loss["reported"], loss["better"], loss["met"]) == (None, None, None)
    assert 0.97 <= accuracy["ours"] < 1
    assert result["seeds"] == [1, 2, 3]
    captured = capsys.readouterr()
    assert f"test accuracy   {accuracy['ours']:.4g} ± {accuracy['spread']:.2g}" in captured.out
    assert "(to reach: 0.97)  met\n" in captured.out
    assert f"picture: {tmp_path / 'digits' / 'confusion.png'}\n" in captured.out
    assert captured.err.count("val_accuracy") == 3 * 60
    assert "[2/3] digits, seed 2\n" in captured.err


def test_content_of_result_json(tmp_path: Path) -> None:
    result = run_study(digits, portanet.get_backend("cpu"), tmp_path, seed=7, quick=True)
    assert result == json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    record = digits.record()
    assert all(result[name] == record[name] for name in record.keys() - {"reported"})
    assert result["seeds"] == [7]
    assert result["device"].items() >= {"name": "cpu", "description": portanet.get_backend("cpu").description}.items()
    assert "cores" in result["device"]["machine"]
    (network,) = result["networks"]
    assert network["layers"].startswith("Sequential(Flatten(), Linear(64, 256)")
    assert network["parameters"] == 64 * 256 + 256 + 256 * 10 + 10
    assert network["dtype"] == "float32"
    assert 0 < result["seconds"]["training"] <= result["seconds"]["all"]
    assert result["versions"].items() >= {"portanet": portanet.__version__, "numpy": np.__version__}.items()
    assert result["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert datetime.fromisoformat(result["date"]).tzinfo is not None
    assert result["figures"].keys() == {"train accuracy", "train loss", "test accuracy", "test loss"}


@pytest.fixture(scope="module")
def quick_digits_on_the_cpu(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run_study(digits, portanet.get_backend("cpu"), tmp_path_factory.mktemp("cpu"), quick=True)["figures"]


def test_figures_are_nearly_the_same_on_every_device(
    backend: Backend, quick_digits_on_the_cpu: dict[str, Any], tmp_path: Path
) -> None:
    result = run_study(digits, backend, tmp_path, quick=True)
    assert result["device"]["name"] == backend.name
    for name, figure in quick_digits_on_the_cpu.items():
        np.testing.assert_allclose(result["figures"][name]["ours"], figure["ours"], rtol=0, atol=0.02)


def test_figures_are_reproducible_for_a_seed(quick_digits_on_the_cpu: dict[str, Any], tmp_path: Path) -> None:
    again, other = (
        run_study(digits, portanet.get_backend("cpu"), tmp_path / str(seed), seed=seed, quick=True)["figures"]
        for seed in (0, 1)
    )
    assert again == quick_digits_on_the_cpu
    assert other != quick_digits_on_the_cpu


@pytest.mark.parametrize(
    ("reported", "ours", "met"),
    [
        (at_least(0.82), 0.82, True),
        (at_least(0.82), 0.8199, False),
        (at_most(0.18), 0.18, True),
        (at_most(0.18), 0.1801, False),
        (Reported(0.8), 0.8, None),
    ],
)
def test_reported_figure_is_met_on_the_better_side(reported: Reported, ours: float, met: bool | None) -> None:
    assert reported.met(ours) is met


def test_float32_rounding_does_not_miss_a_figure(tmp_path: Path) -> None:
    value = float(np.float32(0.82))
    assert value < 0.82
    result = run_study(share(value, {"share": at_least(0.82)}), portanet.get_backend("cpu"), tmp_path)
    assert result["figures"]["share"]["met"] is True


def test_mean_of_the_seeds_is_judged(tmp_path: Path) -> None:
    found = [0.8, 0.85, 0.81]
    study = Study(claim(lambda run: {"share": found[run.seed]}, {"share": at_least(0.82)}), "cpu", tmp_path)
    met = []
    for seed in (0, 1, 2):
        study.measure(seed)
        figure = summary(study)["figures"]["share"]
        met.append(figure["met"])
    assert met == [False, True, True]
    assert figure["each"] == found
    assert figure["ours"] == 0.82
    assert figure["spread"] == pytest.approx(stdev(found), rel=1e-5)


def test_study_without_a_finished_seed_writes_nothing(tmp_path: Path) -> None:
    assert Study(share(0.5), "cpu", tmp_path).summarise() is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("experiment", "device", "quick", "counts"),
    [
        (share(0.5), "cpu", False, True),
        (share(0.5, {"share": at_least(0.9)}), "cpu", False, True),
        (claim(draw, source="somebody", remark="new"), "cpu", False, True),
        (claim(draw, what="something"), "cpu", False, False),
        (claim(draw, choices="some"), "cpu", False, False),
        (claim(draw, data="digits"), "cpu", False, False),
        (share(0.5), "torch", False, False),
        (share(0.5), "cpu", True, False),
    ],
)
def test_record_counts_for_the_same_question_only(
    experiment: Experiment, device: str, quick: bool, counts: bool, tmp_path: Path
) -> None:
    Study(share(0.5), "cpu", tmp_path).measure(0)
    assert (list(Study(experiment, device, tmp_path, quick).finished()) == [0]) is counts


def test_record_counts_on_every_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.runner.results.get_backend", lambda name: portanet.get_backend("cpu"))
    Study(share(0.5), "cuda:1", tmp_path).measure(0)
    assert list(Study(share(0.5), "cuda:0", tmp_path).finished()) == [0]


def test_record_with_other_figures_than_the_newest_does_not_count(tmp_path: Path) -> None:
    Study(share(0.5), "cpu", tmp_path).measure(0)
    older = json.loads((tmp_path / "seed-0.json").read_text())
    (tmp_path / "seed-0.json").write_text(json.dumps({**older, "date": "2000-01-01T00:00:00+00:00"}))
    study = Study(claim(lambda run: {"another": 1.0}), "cpu", tmp_path)
    study.measure(1)
    assert list(study.finished()) == [1]
    assert summary(study)["figures"].keys() == {"another"}


def test_damaged_record_does_not_count(tmp_path: Path) -> None:
    study = Study(share(0.5), "cpu", tmp_path)
    study.measure(0)
    (tmp_path / "seed-1.json").write_bytes((tmp_path / "seed-0.json").read_bytes()[:-20])
    (tmp_path / "seed-2.json").write_text("null")
    assert list(study.finished()) == [0]


def test_pictures_are_those_of_the_drawn_seed(tmp_path: Path) -> None:
    study = Study(claim(draw), "cpu", tmp_path)
    study.measure(0)
    before = (tmp_path / "a-line.png").read_bytes()
    study.measure(1, draw=False)
    assert (tmp_path / "a-line.png").read_bytes() == before
    assert summary(study)["pictures"] == {"a-line.png": "to 0"}


def test_obsolete_pictures_are_deleted_and_other_files_kept(tmp_path: Path) -> None:
    (tmp_path / "mine.png").write_bytes(b"kept")
    Study(claim(draw, what="before"), "cpu", tmp_path).measure(0)
    assert (tmp_path / "a-line.png").exists()
    Study(share(0.5), "cpu", tmp_path).measure(0)
    assert {path.name for path in tmp_path.iterdir()} == {"mine.png", "seed-0.json"}


def test_picture_keeps_its_colours(tmp_path: Path) -> None:
    Study(claim(draw), "cpu", tmp_path).measure(1)
    pixels = image.imread(tmp_path / "a-line.png")[..., :3]
    assert pixels.shape == (480, 640, 3)
    assert (pixels == 1).all(axis=2).mean() > 0.5, "the background is white"
    blue = np.asarray([0x1F, 0x77, 0xB4]) / 255
    assert np.abs(pixels - blue).max(axis=2).min() < 0.02, "the line has the colour of matplotlib"


def test_nan_figure_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nan"):
        Study(share(float("nan")), "cpu", tmp_path).measure(0)
    assert not list(tmp_path.iterdir())


def test_failed_write_keeps_the_older_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = portanet.get_backend("cpu")
    run_study(share(0.5), cpu, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def refuse(self: Path, target: Path) -> NoReturn:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="No space left"):
        run_study(share(0.6), cpu, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


NEW = """
from experiments.runner import experiment

@experiment("{id}", source="nobody", data="digits", what="nothing", reported={{}})
def nothing(run):
    return {{"answer": 42.0}}
"""


@pytest.fixture
def new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Return a function that adds a file with an experiment during the test."""

    def add(id: str) -> None:
        (tmp_path / "added.py").write_text(NEW.format(id=id))
        monkeypatch.setattr(experiments, "__path__", [*experiments.__path__, str(tmp_path)])
        importlib.invalidate_caches()

    yield add
    sys.modules.pop("experiments.added", None)
    vars(experiments).pop("added", None)


def test_experiments_in_a_new_file_are_discovered(
    new_file: Callable[[str], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new_file("999-nothing")
    assert main(["run", "999-nothing", "--out", str(tmp_path)]) == 0
    assert "answer  42\n" in capsys.readouterr().out


def test_duplicate_ids_raise(new_file: Callable[[str], None]) -> None:
    new_file("digits")
    with pytest.raises(ValueError, match=r"two experiments have the id 'digits': rename the one in experiments\."):
        discover()


def test_experiment_is_pickled_by_its_id() -> None:
    assert pickle.loads(pickle.dumps(digits)) is digits


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    steps: list[int] = []
    on_epoch_end = portanet.ModelCheckpoint.on_epoch_end

    def kill(self: portanet.ModelCheckpoint, trainer: Any, logs: dict[str, float]) -> None:
        on_epoch_end(self, trainer, logs)
        steps.append(trainer.steps)
        if len(steps) == 2:
            raise Killed

    cpu = portanet.get_backend("cpu")
    whole = run_study(digits, cpu, tmp_path / "whole", quick=True)
    monkeypatch.setattr(portanet.ModelCheckpoint, "on_epoch_end", kill)
    with pytest.raises(Killed):
        run_study(digits, cpu, tmp_path / "parts", quick=True)
    parts = run_study(digits, cpu, tmp_path / "parts", quick=True)
    assert parts["figures"] == whole["figures"]
    assert steps[2] > steps[1]  # it did not begin anew
    assert not list((tmp_path / "parts").glob(".*"))
