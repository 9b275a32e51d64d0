"""``python -m experiments``: what it shows, and that it answers every mistake with one sentence and an exit code."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import portanet
from experiments.__main__ import main
from experiments.frame import discover


@pytest.fixture(autouse=True)
def _without_the_users_settings(monkeypatch, tmp_path):
    monkeypatch.delenv("PORTANET_DEVICE", raising=False)
    monkeypatch.setenv("COLUMNS", "1000")
    monkeypatch.chdir(tmp_path)


def refused(capsys, code, *arguments):
    """Run what must fail, and return its only line on stderr."""
    assert main(list(arguments)) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith("experiments: ")
    return said.err


def test_list_shows_id_source_data_and_what_is_reported(capsys):
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    for experiment in discover().values():
        for part in (experiment.id, experiment.what, experiment.source, experiment.data, *experiment.reported):
            assert part in shown
    assert "test accuracy, lr 0.5: 0.9466" in shown


def test_list_as_json_holds_the_records(capsys):
    assert main(["list", "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert records == [experiment.record() for experiment in discover().values()]
    assert next(record for record in records if record["id"] == "digits")["reported"] == {
        "test accuracy": {"value": 0.97, "better": "higher"}
    }


def test_listing_imports_neither_matplotlib_nor_scikit_learn():
    code = (
        "import sys; from experiments.__main__ import main; main(['list']);"
        "sys.exit(bool({'matplotlib', 'sklearn'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, check=False).returncode == 0


def test_without_a_command_help_is_printed(capsys):
    assert main([]) == 2
    assert "Begin with: python -m experiments run digits" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["list", "--help"]], ids=" ".join)
def test_help(arguments, capsys):
    with pytest.raises(SystemExit, match="0"):
        main(arguments)
    assert "usage: python -m experiments" in capsys.readouterr().out


def test_an_unknown_id_names_the_known_ones(capsys):
    said = refused(capsys, 2, "run", "digits", "004-nothing")
    assert "no experiment '004-nothing'" in said
    assert all(id in said for id in discover())
    assert not Path("results").exists()


@pytest.mark.parametrize("seed", ["-1", "1.5", "one", ""])
def test_a_seed_is_a_whole_number_from_zero_on(seed, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["run", "digits", "--seed", seed])
    assert f"--seed: must be a whole number from 0 on, got {seed!r}" in capsys.readouterr().err


def test_an_unknown_device(capsys):
    assert "device 'gpu' is unknown (a GPU is 'cuda')" in refused(capsys, 2, "run", "digits", "--device", "gpu")


def test_an_unavailable_device(capsys):
    assert "device 'cpu:1' does not exist" in refused(capsys, 1, "run", "digits", "--device", "cpu:1")


@pytest.mark.parametrize("out", ["taken", "taken/below"])
def test_out_that_is_a_file(out, capsys):
    Path("taken").write_text("kept")
    assert f"--out must be a folder that can be written to, got {out}: " in refused(
        capsys, 2, "run", "digits", "--out", out
    )
    assert Path("taken").read_text() == "kept"


def test_out_that_is_not_writable(capsys, monkeypatch):
    def refuse(dir):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("experiments.__main__.TemporaryFile", refuse)  # file modes do not stop a superuser
    assert "got results: Permission denied" in refused(capsys, 2, "run", "digits")


def test_missing_data_say_so_and_other_experiments_still_run(capsys, monkeypatch):
    monkeypatch.setenv("PORTANET_DATA", "nowhere")
    assert main(["run", "003-mlp", "digits", "--quick"]) == 1
    said = capsys.readouterr()
    assert "experiments: 003-mlp: PORTANET_DATA is 'nowhere', which is not a folder" in said.err
    assert "Traceback" not in said.err
    assert [path.name for path in Path("results").iterdir()] == ["digits"]


def test_a_missing_package_of_a_data_set(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    said = refused(capsys, 1, "run", "digits", "--quick")
    assert said == "experiments: digits: digits needs scikit-learn: pip install 'portanet[experiments]'\n"


def test_a_missing_package_of_an_experiment(capsys, monkeypatch):
    def fit(*_, **__):
        raise ModuleNotFoundError("No module named 'skimage'")

    monkeypatch.setattr(portanet.Trainer, "fit", fit)
    assert main(["run", "digits", "--quick"]) == 1
    assert "digits: No module named 'skimage': pip install 'portanet[experiments]'\n" in capsys.readouterr().err


def test_missing_matplotlib_is_noticed_before_the_training(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    said = refused(capsys, 1, "run", "digits")
    assert said == "experiments: pictures need matplotlib: pip install 'portanet[experiments]'\n"


def test_divergence_is_reported_in_a_sentence(capsys, monkeypatch):
    def fit(*_, **__):
        raise portanet.Diverged("the loss became nan at step 3 of epoch 1", portanet.History())

    monkeypatch.setattr(portanet.Trainer, "fit", fit)
    assert main(["run", "digits", "--quick"]) == 1
    assert "experiments: digits: the loss became nan at step 3 of epoch 1\n" in capsys.readouterr().err


def test_an_interruption_keeps_older_results(capsys, monkeypatch):
    folder = Path("results/digits")
    folder.mkdir(parents=True)
    (folder / "result.json").write_text("older")

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("portanet.plots.confusion_matrix", interrupt)
    assert main(["run", "digits", "--quick"]) == 130
    assert capsys.readouterr().err.endswith(
        "\nexperiments: interrupted; experiments that had ended keep their results\n"
    )
    assert [path.name for path in folder.iterdir()] == ["result.json"]
    assert (folder / "result.json").read_text() == "older"
