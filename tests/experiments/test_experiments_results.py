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
from portanet.files import write_tensors

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


@pytest.fixture
def record(tmp_path: Path) -> dict[str, Any]:
    """Return the record of seed 0 of a study in tmp_path."""
    Study(share(0.5), "cpu", tmp_path).measure(0)
    content: dict[str, Any] = json.loads((tmp_path / "seed-0.json").read_text(encoding="utf-8"))
    return content


DAMAGED: dict[str, Any] = {
    "NaN as question": {"question": float("nan")},
    "no figures": {"figures": None},
    "a list of figures": {"figures": [1]},
    "an infinite figure": {"figures": {"share": float("inf")}},
    "a huge figure": {"figures": {"share": 1e300}},
    "a huge integer": {"figures": {"share": 10**400}},
    "a number as date": {"date": 3},
    "a truth value as seed": {"seed": True},
    "another seed than its name": {"seed": 0},
    "no seconds": {"seconds": {}},
    "networks without names": {"networks": [{}]},
    "a version that is no text": {"versions": {"numpy": None}},
    "codes for the terminal": {"device": {"name": "\x1b[2J", "description": "", "machine": ""}},
    "half a character": {"figures": {"\ud800": 0.5}},
    "pictures elsewhere": {"pictures": {"../../mine": "", "/abs/path": ""}},
    "a picture in a folder": {"pictures": {"below/mine.png": ""}},
    "no picture": {"pictures": {"seed-0.json": ""}},
    "half an object": b'{"seed": 1',
    "null": b"null",
    "100,000 brackets": b"[" * 100_000,
    "a list": b"[]",
    "a text": b'"seed"',
    "nothing": b"",
    "NUL bytes": bytes(100),
    "no UTF-8": b'{"seed": "\xff"}',
    "a name twice": b'{"seed": 1, "seed": 1}',
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_record_is_named_and_does_not_count(tmp_path: Path, record: dict[str, Any], kind: str) -> None:
    damage, path, study = DAMAGED[kind], tmp_path / "seed-1.json", Study(share(0.5), "cpu", tmp_path)
    content = damage if isinstance(damage, bytes) else json.dumps(record | {"seed": 1} | damage).encode()
    path.write_bytes(content)
    (fault,) = study.faults()
    assert fault.startswith(f"{path} cannot be loaded: ")
    assert "\n" not in fault
    assert list(study.finished()) == [0]
    assert summary(study)["seeds"] == [0]
    assert not study.changed()
    assert not study.occupied()
    study.measure(1)  # replaces it
    assert not study.faults()


def test_the_command_names_a_damaged_record_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", "digits", "--quick", "--out", str(tmp_path)]
    assert main(arguments) == 0
    path = tmp_path / "digits" / "seed-7.json"
    path.write_text('{"pictures": {"../../mine": "", "/abs/path": ""}}')
    capsys.readouterr()
    assert main(arguments) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if str(path) in line]
    assert lines == [
        f"experiments: {path} cannot be loaded: the file lacks 'question', 'seed', 'figures', 'device', 'networks', "
        "'seconds', 'versions', 'date'; it does not count"
    ]


def test_a_run_changes_nothing_outside_of_its_folder(tmp_path: Path, record: dict[str, Any]) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("mine.png", "a-line.png", "network-0.safetensors", "seed-1.json", "result.json"):
        (outside / name).write_text("kept")
    folder = tmp_path / "results"
    study = Study(claim(draw), "cpu", folder)
    folder.mkdir()
    pictures = {"../outside/mine.png": "", str(outside / "mine.png"): "", "..": "", "mine.png": ""}
    (folder / "seed-7.json").write_text(json.dumps(record | {"seed": 7, "pictures": pictures}))
    (folder / "mine.png").symlink_to(outside / "mine.png")
    for name in ("a-line.png", "seed-1.json", "result.json"):
        (folder / name).symlink_to(outside / name)
    for link in (study._checkpoints(1), folder / ".seed-1-older"):
        link.symlink_to(outside)
    study.measure(1)
    study.summarise()
    assert {path.read_text() for path in outside.iterdir()} == {"kept"}
    assert len(list(outside.iterdir())) == 5
    assert not (folder / "seed-1.json").is_symlink()


def test_a_damaged_checkpoint_of_a_run_is_named_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = Study(digits, "cpu", tmp_path / "digits", quick=True)
    path = study._checkpoints(0) / "network-0.safetensors"
    path.parent.mkdir(parents=True)
    write_tensors(path, {}, {"trainer": "{}"})
    assert main(["run", "digits", "--quick", "--out", str(tmp_path)]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"experiments: digits, seed 0: {path} cannot be loaded: it was not written by net.save")
    assert last.endswith("; delete it to begin anew")


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


def test_seconds_of_a_resumed_run_include_those_before_it_was_killed(tmp_path: Path) -> None:
    def resumed(run: Run) -> dict[str, float]:
        with run.training(portanet.Linear(1, 1).initialize()):
            run.clock.load_state_dict({"seconds": 100.0})
        return {"share": 0.5}

    seconds = run_study(claim(resumed), portanet.get_backend("cpu"), tmp_path)["seconds"]
    assert 100 <= seconds["training"] <= seconds["all"] < 200


def test_checkpoints_of_older_code_are_deleted(tmp_path: Path) -> None:
    for seed in (0, 1):
        (tmp_path / f".seed-{seed}-older").mkdir()
        (tmp_path / f".seed-{seed}-older" / "network-0.safetensors").touch()
    Study(share(0.5), "cpu", tmp_path).measure(0)
    assert {path.name for path in tmp_path.iterdir()} == {"seed-0.json", ".seed-1-older"}


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
