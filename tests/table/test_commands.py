"""``portanet train``, ``predict`` and ``show``, from the table to the report."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.__main__ import main
from portanet.backends import Backend

pytest.importorskip("pandas", reason="pandas is not installed")
pytest.importorskip("sklearn", reason="scikit-learn is not installed")
pytest.importorskip("matplotlib", reason="matplotlib is not installed")

import pandas as pd
from sklearn.datasets import load_diabetes, load_digits

from bench.estimators import mixed_table
from portanet.config import to_json
from portanet.files import read_tensors, write_tensors
from portanet.table import commands
from portanet.table.folder import NAMES
from portanet.table.model import KEY, TableNet
from portanet.table.reading import read_table
from portanet.table.targets import ClassTarget

FILES = {*NAMES} - {"residuals.png"}
SMALL = ["--model", "8", "--epochs", "3", "--device", "cpu"]


def passengers() -> Any:
    table, survived = mixed_table()
    table["survived"] = survived
    table.loc[::50, "survived"] = None
    table["ticket"] = [f"A/{i}" for i in range(len(table))]
    table["ship"] = "Titanic"
    table["notes"] = None
    return table


def train(data: Path, target: str, out: Path, *options: str) -> int:
    return main(["train", str(data), "--target", target, "--out", str(out), *SMALL, *options])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table, and the results of a training in its folder ``out``."""
    folder = tmp_path_factory.mktemp("table")
    passengers().to_csv(folder / "passengers.csv")
    assert train(folder / "passengers.csv", "survived", folder / "out", "--epochs", "30") == 0
    return folder


def test_train_writes_its_files_and_nothing_else(folder: Path) -> None:
    assert {path.name for path in (folder / "out").iterdir()} == FILES
    facts = json.loads((folder / "out" / "metrics.json").read_text())
    assert facts["rows"] == {"training": 600, "validation": 106, "test": 176, "without_target": 18}
    assert facts["scores"]["accuracy"] > facts["baseline"]["accuracy"]
    assert {column["name"]: column["kind"] for column in facts["columns"]} == {
        "Unnamed: 0": "dropped",
        **dict.fromkeys(["class", "age", "relatives", "fare"], "number"),
        **dict.fromkeys(["sex", "port"], "category"),
        **dict.fromkeys(["ticket", "ship", "notes"], "dropped"),
    }
    assert facts["versions"]["portanet"] == pn.__version__
    assert (folder / "out" / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_file_of_the_network_is_one_for_load(folder: Path) -> None:
    net = pn.load(folder / "out" / "net.safetensors")
    assert net.predict(np.zeros((3, 10))).shape == (3, 2)


def test_the_same_seed_gives_the_same_files(folder: Path, tmp_path: Path) -> None:
    assert train(folder / "passengers.csv", "survived", tmp_path / "out", "--epochs", "30") == 0
    for name in FILES - {"net.safetensors"}:
        assert (tmp_path / "out" / name).read_bytes() == (folder / "out" / name).read_bytes(), name
    again, before = (read_tensors(path / "out" / "net.safetensors") for path in (tmp_path, folder))
    assert again[1] == before[1]
    np.testing.assert_equal(again[0], before[0])


def test_train_prints_scores_and_the_reasons_of_columns_left_out(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(folder / "passengers.csv", "survived", tmp_path)
    out, err = capsys.readouterr()
    assert "18 rows without a target were dropped." in out
    assert "\ncolumn 'Unnamed: 0' is dropped: it has no name\n" in out
    assert "\ncolumn 'ticket' is dropped: 706 of its 706 texts are different\n" in out
    assert "\ncolumn 'ship' is dropped: every cell is 'Titanic'\n" in out
    assert "\ncolumn 'notes' is dropped: it is empty\n" in out
    assert re.search(r"\naccuracy +0\.\d+ +0\.6705\n", out)
    assert "epoch 3/3  loss" in err


def test_predict_writes_the_prediction_of_every_row(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net, data, out = (str(folder / name) for name in ("out/net.safetensors", "passengers.csv", "p.csv"))
    assert main(["predict", net, data, "--out", out]) == 0
    assert capsys.readouterr().err == ""
    found = pd.read_csv(out)
    assert [*found.columns] == ["prediction", "probability of no", "probability of yes"]
    np.testing.assert_allclose(found.iloc[:, 1:].sum(axis=1), 1)
    np.testing.assert_array_equal(found["prediction"] == "yes", found["probability of yes"] > 0.5)
    right = (found["prediction"] == passengers()["survived"]).mean()
    assert right > 0.7
    model = TableNet.load(net)
    np.testing.assert_allclose(found.iloc[:, 1:], model.predict(read_table(data)), rtol=1e-12)


def test_predict_takes_columns_in_any_order_and_ignores_others(folder: Path, tmp_path: Path) -> None:
    table = passengers()[["port", "fare", "age", "sex", "class", "relatives"]].assign(more=1)
    table.to_csv(tmp_path / "new.csv", index=False, sep="\t")
    net = str(folder / "out" / "net.safetensors")
    for data, out in ((folder / "passengers.csv", "a.csv"), (tmp_path / "new.csv", "b.csv")):
        assert main(["predict", net, str(data), "--out", str(tmp_path / out)]) == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_predict_computes_on_the_device_that_is_named(
    folder: Path, tmp_path: Path, backend: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    net, data, out = (str(folder / name) for name in ("out/net.safetensors", "passengers.csv", tmp_path / "p.csv"))
    assert main(["predict", net, data, "--out", out, "--device", backend.name]) == 0
    model = TableNet.load(net, device="cpu")
    np.testing.assert_allclose(pd.read_csv(out).iloc[:, 1:], model.predict(read_table(data)), rtol=1e-5)
    capsys.readouterr()
    assert main(["predict", net, data, "--out", out, "--device", "abacus"]) == 2
    assert "device 'abacus'" in capsys.readouterr().err


def test_predict_says_in_one_line_which_texts_are_unknown(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    passengers().assign(port="Lima", sex=None).to_csv(tmp_path / "new.csv")
    net = str(folder / "out" / "net.safetensors")
    assert main(["predict", net, str(tmp_path / "new.csv"), "--out", str(tmp_path / "p.csv")]) == 0
    assert capsys.readouterr().err == (
        "portanet predict: texts that are none of the known categories count as none: "
        "'sex': ['missing']; 'port': ['Lima']\n"
    )


def test_show_describes_the_network(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(folder / "out" / "net.safetensors")]) == 0
    out = capsys.readouterr().out
    assert out.startswith(
        "classification of 'survived': one of 2 classes: no, yes\nOf passengers.csv, 600 rows trained"
    )
    assert "\n  'age': number; missing cells count as the median, and an input marks them\n" in out
    assert "\n  'port': category: Cherbourg, Queenstown, Southampton\n" in out
    assert "Linear(10, 8)" in out
    assert re.search(r"\naccuracy +0\.\d+ +0\.6705\n", out)


class Page(HTMLParser):
    """The texts, tags and picture sources of a page."""

    def __init__(self, path: Path):
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.texts: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_report_needs_no_other_file(folder: Path) -> None:
    page = Page(folder / "out" / "report.html")
    assert len(page.sources) == 2
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert {"ticket", "dropped: every cell is 'Titanic'", "most frequent class"} <= {*page.texts}


def test_texts_from_the_data_are_escaped_in_the_report(tmp_path: Path) -> None:
    attack, more = "<script>alert('1')</script>", '$"><img src=x>$\n{x}'
    table = pd.DataFrame({attack: [attack, "&amp;"] * 20, more: [more, "b"] * 20, "C$1$": [attack] * 40})
    data = tmp_path / f"{attack[:8]}.csv"
    table.to_csv(data, index=False)
    assert train(data, more, tmp_path / "out") == 0
    page = Page(tmp_path / "out" / "report.html")
    assert "script" not in page.tags
    assert page.tags.count("img") == len(page.sources) == 2
    assert attack in page.texts
    assert main(["show", str(tmp_path / "out" / "net.safetensors")]) == 0


def test_regression_of_the_diabetes_table(tmp_path: Path) -> None:
    load_diabetes(as_frame=True).frame.to_csv(tmp_path / "x.csv", index=False)
    out = tmp_path / "out"
    assert train(tmp_path / "x.csv", "target", out, "--model", "16", "--epochs", "60") == 0
    facts = json.loads((out / "metrics.json").read_text())
    assert facts["target"]["task"] == "regression"
    assert facts["scores"]["r2"] > 0.3 > facts["baseline"]["r2"]
    assert {path.name for path in out.iterdir()} == {*NAMES} - {"confusion.png"}
    assert main(["predict", str(out / "net.safetensors"), str(tmp_path / "x.csv"), "--out", str(out / "p.csv")]) == 0
    assert np.corrcoef(pd.read_csv(out / "p.csv")["prediction"], load_diabetes().target)[0, 1] > 0.6


@pytest.mark.parametrize("suffix", ["csv", "npz", "parquet"])
def test_digits_from_each_kind_of_file(tmp_path: Path, suffix: str) -> None:
    digits, data = load_digits(), tmp_path / f"x.{suffix}"
    names = [f"x{i}" for i in range(64)]
    frame = pd.DataFrame(digits.data, columns=names).assign(digit=digits.target)
    if suffix == "npz":
        np.savez(data, x=digits.data, digit=digits.target)
    elif suffix == "csv":
        frame.to_csv(data, index=False)
    else:
        pytest.importorskip("pyarrow", reason="pyarrow reads Parquet files")
        frame.to_parquet(data)
    out = tmp_path / "out"
    assert train(data, "digit", out, "--model", "32", "--epochs", "12") == 0
    facts = json.loads((out / "metrics.json").read_text())
    assert facts["target"]["classes"] == [*range(10)]
    assert facts["scores"]["accuracy"] > 0.9
    predicted = out / f"p.{'csv' if suffix == 'npz' else suffix}"
    assert main(["predict", str(out / "net.safetensors"), str(data), "--out", str(predicted)]) == 0
    found = pd.read_csv(predicted) if predicted.suffix == ".csv" else pd.read_parquet(predicted)
    assert (found["prediction"] == digits.target).mean() > 0.9


def test_a_later_training_replaces_the_files_of_an_earlier_one(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    for target, picture in (("survived", "confusion.png"), ("fare", "residuals.png")):
        assert train(folder / "passengers.csv", target, out) == 0
        expected = {*NAMES} - {"confusion.png", "residuals.png"} | {picture, "notes.txt"}
        assert {path.name for path in out.iterdir()} == expected
    assert (out / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", NAMES)
def test_files_of_others_are_not_replaced(
    folder: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text('{"format": 3}')
    assert train(folder / "passengers.csv", "survived", tmp_path) == 2
    assert f"holds '{name}', which metrics.json does not list" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == '{"format": 3}'


def test_a_picture_that_is_added_to_the_folder_is_not_deleted(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(folder / "passengers.csv", "survived", tmp_path) == 0
    (tmp_path / "residuals.png").write_text("mine")
    assert train(folder / "passengers.csv", "survived", tmp_path) == 2
    assert "holds 'residuals.png', which metrics.json does not list" in capsys.readouterr().err
    assert (tmp_path / "residuals.png").read_text() == "mine"


def test_an_error_while_the_report_is_made_leaves_the_folder_as_it_was(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> bytes:
        raise ValueError("no report")

    monkeypatch.setattr(commands, "report", fail)
    assert train(folder / "passengers.csv", "survived", tmp_path / "out") == 2
    assert capsys.readouterr().err.endswith("\nportanet train: no report\n")
    assert not (tmp_path / "out").exists()


def test_an_interrupt_writes_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "train", interrupt)
    assert train(folder / "passengers.csv", "survived", tmp_path / "out") == 130
    assert capsys.readouterr().err == "portanet train: interrupted\n"
    assert not (tmp_path / "out").exists()


ROWS = "".join(f"{i},{'ab'[i % 2]}\n" for i in range(20))


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("", "x.csv cannot be loaded: it is empty"),
        ("x,y\n", "x.csv cannot be loaded: it has no rows"),
        ("x,y\n1,a\n", "training needs at least 10 rows with a target, but the table has 1"),
        ("x,y\n" + "1,\n" * 20, "training needs at least 10 rows with a target, but the table has 0"),
        ("y\n" + "a\nb\n" * 10, "the table has no column to predict 'y' from"),
        (
            "x,y\n" + "1,a\n1,b\n" * 10,
            "the table has no column to predict 'y' from: 'x' is dropped: every cell is '1'",
        ),
        (f"x,z\n{ROWS}", "the table has no column 'y': give one of ['x', 'z']"),
        (f"y,y\n{ROWS}", "x.csv cannot be loaded: it has 2 columns named 'y'"),
        (f"x,y\n{ROWS}1,a,2\n", "x.csv cannot be loaded: line 22 has 3 cells, but the header has 2"),
        (f"x,y\n{ROWS}old,a\n", "line 22, column 'x' holds 'old', which is no number: correct the cell"),
        ("x,y\n" + "1,a\n2,a\n" * 10, "the target 'y' is always 'a': there is nothing to learn"),
    ],
)
def test_a_hostile_table_ends_train_with_one_line_and_nothing_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], content: str, fault: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.csv").write_text(content, encoding="utf-8")
    assert train(Path("x.csv"), "y", Path("out")) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"portanet train: {fault}")
    assert err.count("\n") == 1
    assert not Path("out").exists()


def test_a_small_table_with_odd_names_and_a_rare_class(tmp_path: Path) -> None:
    """Each class has rows to train on, and a class with one row is never a test row."""
    rows = [f"{i};{'ja' if i % 2 else 'nein'};{'北' if i % 3 else 'x;y'}" for i in range(11)]
    content = "\n".join(["\ufeffGröße;Überlebt?;方向", *rows, "11;vielleicht;北"]).replace("x;y", '"x;y"')
    (tmp_path / "ü.csv").write_text(content, encoding="utf-8")
    assert train(tmp_path / "ü.csv", "Überlebt?", tmp_path / "out") == 0
    model = TableNet.load(tmp_path / "out" / "net.safetensors")
    assert model.target == ClassTarget("Überlebt?", ["ja", "nein", "vielleicht"])
    assert [column.name for column in model.columns] == ["Größe", "方向"]


def describe(net: Any, folder: Path) -> str:
    path = folder / "net.json"
    path.write_text(json.dumps(to_json(net)))
    return str(path)


def test_a_network_may_come_from_a_file(folder: Path, tmp_path: Path) -> None:
    net = pn.Sequential(pn.Linear(10, 6), pn.TanH(), pn.Linear(6, 2))
    assert train(folder / "passengers.csv", "survived", tmp_path / "a", "--model", describe(net, tmp_path)) == 0
    trained = pn.load(tmp_path / "a" / "net.safetensors")
    assert repr(trained) == f"Sequential(Normalize(10), {net!r})"
    own = pn.Sequential(pn.Normalize(10), pn.Linear(10, 2))
    assert train(folder / "passengers.csv", "survived", tmp_path / "b", "--model", describe(own, tmp_path)) == 0
    assert repr(pn.load(tmp_path / "b" / "net.safetensors")) == repr(own)


@pytest.mark.parametrize(
    ("model", "fault"),
    [
        (lambda folder: "128-", "model must be sizes of hidden layers such as 128-64, or a JSON file, got '128-'"),
        (lambda folder: "128-0", "model must be a whole number of at least 1"),
        (lambda folder: str(folder / "absent.json"), "[Errno 2] No such file or directory"),
        (
            lambda folder: describe(pn.Linear(9, 2), folder),
            "{net} cannot be loaded: the network must return 2 outputs for the 10 inputs of the table, but does",
        ),
        (
            lambda folder: describe(pn.Linear(10, 3), folder),
            "{net} cannot be loaded: the network must return 2 outputs for the 10 inputs of the table, but returns",
        ),
        (lambda folder: describe(pn.Adam(), folder), "{net} cannot be loaded: its content must be a layer, got Adam"),
    ],
)
def test_an_unfit_network_is_refused_by_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], model: Callable[[Path], str], fault: str
) -> None:
    assert train(folder / "passengers.csv", "survived", tmp_path / "out", "--model", model(tmp_path)) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"portanet train: {fault.format(net=tmp_path / 'net.json')}")
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--epochs", "0"], "epochs must be a whole number of at least 1, got 0"),
        (["--seed", "-1"], "seed must be a whole number of at least 0, got -1"),
        (["--device", "abacus"], "device 'abacus'"),
        (["--task", "regression"], "line 3, column 'survived' holds"),
    ],
)
def test_unfit_options_are_refused_by_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], fault: str
) -> None:
    assert train(folder / "passengers.csv", "survived", tmp_path / "out", *options) == 2
    err = capsys.readouterr().err
    assert fault in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["passengers.csv", "passengers.csv/out"])
def test_an_out_folder_that_cannot_be_made_is_refused_before_training(
    folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(folder / "passengers.csv", "survived", folder / name) == 2
    assert "is no folder that can be written to" in capsys.readouterr().err


def test_unfit_predictions_are_refused_by_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net, data = folder / "out" / "net.safetensors", folder / "passengers.csv"
    passengers()[["fare", "sex", "class", "relatives"]].to_csv(tmp_path / "few.csv")
    passengers().assign(fare="free").to_csv(tmp_path / "free.csv")
    pn.Linear(2, 2).initialize().save(tmp_path / "plain.safetensors")
    for source, table, out, fault in (
        (net, tmp_path / "few.csv", "p.csv", "lacks columns that the network was trained on: ['age', 'port']"),
        (net, tmp_path / "free.csv", "p.csv", "line 2, column 'fare' holds 'free', which is no number"),
        (net, tmp_path / "absent.csv", "p.csv", "No such file"),
        (net, data, "p.txt", "out must be a file whose name ends in .csv or .parquet"),
        (net, tmp_path / "few.csv", "few.csv", "out is the table itself"),
        (tmp_path / "plain.safetensors", data, "p.csv", "it holds a network, but no columns of a table"),
        (data, data, "p.csv", "it is no safetensors file"),
    ):
        before = {path.name for path in tmp_path.iterdir()}
        assert main(["predict", str(source), str(table), "--out", str(tmp_path / out)]) == 2
        err = capsys.readouterr().err
        assert fault in err
        assert err.count("\n") == 1
        assert {path.name for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"columns": []}, "outputs for the 0 inputs of the table, but does not take them"),
        ({"columns": [{"kind": "number"}]}, "the file lacks 'name', 'fill_value', 'add_indicator'"),
        (
            {"columns": [{"kind": "number", "name": "x", "fill_value": 1.0, "add_indicator": True}]},
            "for the 2 inputs of the table",
        ),
        (
            {"columns": [{"kind": "os.system"}]},
            "or 'dropped', got 'os.system'",
        ),
        ({"columns": [{"kind": "category", "name": "x", "categories": ["a", "a"], "n_others": 0}]}, "categories is"),
        ({"target": {"task": "os.system"}}, "task must be 'classification' or 'regression', got 'os.system'"),
        ({"target": {"task": "classification", "name": "x", "classes": [None]}}, "classes is [None]"),
        ({"target": {"task": "classification", "name": "x", "classes": ["a", "a"]}}, "classes is ['a', 'a']"),
        ({"target": {"task": "classification", "name": "x", "classes": ["a", 1]}}, "classes is ['a', 1]"),
        ({"target": {"task": "classification", "name": "x", "classes": ["a"]}}, "must return 1 outputs"),
        ({"target": {"task": "regression", "name": "x", "mean": 0.0, "scale": 0.0}}, "scale is 0.0"),
        ({"scores": {}}, "it lacks the score 'accuracy'"),
        ({"baseline": {"accuracy": 1.0}}, "it lacks the score 'f1_macro'"),
        ({"data": "\x1b[2J"}, "data is"),
        ({"rows": {"training": 3}}, "rows lacks"),
    ],
)
def test_a_hostile_description_is_refused_by_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], fault: str
) -> None:
    path = tmp_path / "net.safetensors"
    arrays, metadata = read_tensors(folder / "out" / "net.safetensors")
    write_tensors(path, arrays, {**metadata, KEY: json.dumps(json.loads(metadata[KEY]) | change)})
    assert main(["show", str(path)]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"portanet show: {path} cannot be loaded: ")
    assert fault in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("library", ["pandas", "sklearn", "matplotlib"])
def test_an_absent_library_is_named(library: str, folder: Path) -> None:
    code = f"import sys; sys.modules[{library!r}] = None; from portanet.__main__ import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "show", str(folder / "out" / "net.safetensors")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert library in done.stderr
    assert done.stderr.endswith("pip install 'portanet[table]'\n")


@pytest.mark.parametrize("command", ["train", "predict", "show"])
def test_help_needs_no_optional_library(command: str) -> None:
    code = "import sys; sys.modules['pandas'] = None; from portanet.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", code, command, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"usage: portanet {command}")
