"""The experiments themselves, and the files that they leave."""

import importlib
import json
import os
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

import experiments
import portanet
from experiments.__main__ import main
from experiments.digits import digits
from experiments.frame import Experiment, Reported, Run, at_least, at_most, carry_out, discover
from portanet.datasets import Dataset
from portanet.datasets.catalogue import SOURCES

pytest.importorskip("sklearn", reason="digits comes with scikit-learn")
image = pytest.importorskip("matplotlib.image", reason="experiments draw with matplotlib")


def carried_out(id, tmp_path, *options):
    """Run an experiment from the command line; its result and its folder."""
    assert main(["run", id, "--out", str(tmp_path), *options]) == 0
    folder = tmp_path / id
    return json.loads((folder / "result.json").read_text(encoding="utf-8")), folder


def check_pictures(result, folder):
    assert {path.name for path in folder.iterdir()} == {"result.json", *result["pictures"]}
    assert result["pictures"]
    for name in result["pictures"]:
        pixels = image.imread(folder / name)[..., :3]
        assert min(pixels.shape[:2]) >= 300
        assert pixels.std() > 0.05, f"{name} is blank"


@pytest.mark.parametrize("id", discover())
def test_the_quick_form_gives_every_figure_and_pictures(id, tmp_path):
    for name in set(discover()[id].data.split(", ")) & SOURCES.keys():
        folder = Path(os.environ.get("PORTANET_DATA", ""), name)
        if not all((folder / file.name).is_file() for file in SOURCES[name].files):
            pytest.skip(f"PORTANET_DATA names no folder with the files of {name}")
    result, folder = carried_out(id, tmp_path, "--quick")
    assert result["quick"] is True
    assert discover()[id].reported.keys() <= result["figures"].keys()
    assert all(figure["met"] is None for figure in result["figures"].values())
    check_pictures(result, folder)


def test_only_a_quick_run_cuts_the_data(monkeypatch):
    whole = Dataset("made up", *map(np.arange, (3000, 3000, 1500, 1500)), classes=("0", "1"))
    monkeypatch.setattr("portanet.datasets.load", {"made up": whole}.get)
    cpu = portanet.get_backend("cpu")
    assert Run("claim", cpu).load("made up") is whole
    cut = Run("claim", cpu, quick=True).load("made up")
    for part, size in (("x_train", 2000), ("y_train", 2000), ("x_test", 1000), ("y_test", 1000)):
        np.testing.assert_array_equal(getattr(cut, part), np.arange(size))
    assert cut.classes == whole.classes


def test_digits_reaches_its_figure_and_says_so(tmp_path, capsys):
    result, folder = carried_out("digits", tmp_path, "--seed", "1", "--device", "cpu")
    accuracy, loss = result["figures"]["test accuracy"], result["figures"]["test loss"]
    assert accuracy == {"ours": accuracy["ours"], "reported": 0.97, "better": "higher", "met": True}
    assert 0.97 <= accuracy["ours"] < 1
    assert loss == {"ours": loss["ours"], "reported": None, "better": None, "met": None}
    said = capsys.readouterr()
    assert f"test accuracy  {accuracy['ours']:.4g}" in said.out
    assert "(to reach: 0.97)  met\n" in said.out
    assert f"picture: {folder / 'confusion.png'}\n" in said.out
    assert said.err.count("val_accuracy") == 60
    check_pictures(result, folder)


def test_what_result_json_says(tmp_path):
    result, _ = carried_out("digits", tmp_path, "--quick", "--seed", "7", "--device", "cpu")
    record = digits.record()
    assert result.keys() >= record.keys() - {"reported"}
    assert all(result[name] == record[name] for name in ("id", "source", "data", "what", "choices"))
    assert result["seed"] == 7
    assert result["device"] == {"name": "cpu", "description": portanet.get_backend("cpu").description}
    (network,) = result["networks"]
    assert network["layers"].startswith("Sequential(Flatten(), Linear(64, 256)")
    assert network["parameters"] == 64 * 256 + 256 + 256 * 10 + 10
    assert network["dtype"] == "float32"
    assert 0 < result["seconds"]["training"] <= result["seconds"]["all"]
    assert result["versions"].items() >= {"portanet": portanet.__version__, "numpy": np.__version__}.items()
    assert result["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert datetime.fromisoformat(result["date"]).tzinfo is not None


@pytest.fixture(scope="module")
def quick_digits_on_the_cpu(tmp_path_factory):
    return carry_out(digits, portanet.get_backend("cpu"), tmp_path_factory.mktemp("cpu"), quick=True)["figures"]


def test_every_device_gives_nearly_the_same_figures(backend, quick_digits_on_the_cpu, tmp_path):
    result = carry_out(digits, backend, tmp_path, quick=True)
    assert result["device"]["name"] == backend.name
    for name, figure in quick_digits_on_the_cpu.items():
        np.testing.assert_allclose(result["figures"][name]["ours"], figure["ours"], rtol=0, atol=0.02)


def test_a_seed_means_one_result(quick_digits_on_the_cpu, tmp_path):
    again, other = (
        carry_out(digits, portanet.get_backend("cpu"), tmp_path, seed=seed, quick=True)["figures"] for seed in (0, 1)
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
def test_a_figure_is_judged_by_the_better_side(reported, ours, met):
    assert reported.met(ours) is met


def claim(figures, reported):
    return Experiment("claim", "nobody", "digits", "nothing", "", reported, lambda run: figures)


def test_rounding_of_float32_does_not_miss_a_figure(tmp_path):
    share = float(np.float32(0.82))
    assert share < 0.82
    result = carry_out(claim({"share": share}, {"share": at_least(0.82)}), portanet.get_backend("cpu"), tmp_path)
    assert result["figures"]["share"]["met"] is True


def test_a_failed_write_leaves_the_older_file_and_no_other(tmp_path, monkeypatch):
    cpu = portanet.get_backend("cpu")
    carry_out(claim({"share": 0.5}, {}), cpu, tmp_path)
    before = (tmp_path / "result.json").read_bytes()

    def refuse(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="No space left"):
        carry_out(claim({"share": 0.6}, {}), cpu, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]
    assert (tmp_path / "result.json").read_bytes() == before


NEW = """
from experiments.frame import experiment

@experiment("{id}", source="nobody", data="digits", what="nothing", reported={{}})
def nothing(run):
    return {{"answer": 42.0}}
"""


@pytest.fixture
def new_file(tmp_path, monkeypatch):
    """A function that adds a file to the folder of experiments, for the time of the test."""

    def add(id):
        (tmp_path / "added.py").write_text(NEW.format(id=id))
        monkeypatch.setattr(experiments, "__path__", [*experiments.__path__, str(tmp_path)])
        importlib.invalidate_caches()

    yield add
    sys.modules.pop("experiments.added", None)
    vars(experiments).pop("added", None)


def test_a_new_experiment_is_a_new_file(new_file, tmp_path, capsys):
    new_file("999-nothing")
    assert main(["run", "999-nothing", "--out", str(tmp_path)]) == 0
    assert "answer  42\n" in capsys.readouterr().out


def test_two_experiments_cannot_share_an_id(new_file):
    new_file("digits")
    with pytest.raises(ValueError, match=r"two experiments have the id 'digits': rename the one in experiments\."):
        discover()
