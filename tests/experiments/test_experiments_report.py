"""The page of results: of made-up experiments, and the committed page."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

import experiments
from experiments.__main__ import main
from experiments.runner import Experiment, Reported, Study, at_least, at_most, discover, pages, report
from experiments.runner.run import Run

image = pytest.importorskip("matplotlib.image", reason="experiments draw with matplotlib")

COMMITTED = Path(experiments.__file__).parent / "results"
SITE = Path(experiments.__file__).parents[1] / "docs" / "results" / "reports"


def claim(id: str, figures: dict[str, float], reported: dict[str, Reported], **fields: str) -> Experiment:
    def function(run: Run) -> dict[str, float]:
        from matplotlib.figure import Figure

        run.picture("a picture", Figure(), f"What {id} shows")
        return {name: value + run.seed / 100 for name, value in figures.items()}

    about = {"source": "nobody", "data": "nothing", "what": f"what {id} does", "choices": "", **fields}
    return Experiment(id, **about, reported=reported, function=function)


CLAIMS = [
    claim("001-met", {"share": 0.5, "loss": 1234.5}, {"share": at_least(0.51)}, reported_time="2 hours"),
    claim("003-missed", {"loss": 0.3, "weight|1|": 7}, {"loss": at_most(0.3), "weight|1|": Reported(8)}, remark="Why."),
    claim("003-pictures", {"seen": 1}, {}, choices="Some."),
    claim("own", {"share": 1.0}, {"share": at_least(0.5)}),
    claim("own-not-run", {}, {}),
    claim("own-quick", {"share": 1.0}, {"share": at_least(0.5)}),
]


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the page of CLAIMS, with three seeds each."""
    monkeypatch.setattr("experiments.__main__.discover", lambda: {each.id: each for each in CLAIMS})
    out = tmp_path / "of-a-run"
    for each in CLAIMS:
        study = Study(each, "cpu", out / each.id, quick=each.id == "own-quick")
        if each.id != "own-not-run":
            for seed in (0, 1, 2):
                study.measure(seed, draw=seed == 0)
            study.summarise()
    capsys.readouterr()
    assert main(["report", "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'RESULTS.md'}: 4 of 6 experiments; 2 of 3 figures met\n"
    return (tmp_path / "RESULTS.md").read_text(encoding="utf-8")


def test_summary(page: str) -> None:
    assert "**2 of 3 figures are met.**" in page
    assert "- [003-missed](#003-missed), loss: by 0.01\n" in page
    assert "Not run yet: own-not-run, own-quick." in page
    assert "Changed since" not in page
    assert re.search(r"^- run on: NumPy [\d.]+ on \w+; compiled kernels .+$", page, re.MULTILINE)
    assert re.search(r"^- date: \d{4}-\d\d-\d\d$", page, re.MULTILINE)


def test_one_table_per_source_with_one_row_per_figure(page: str) -> None:
    assert [title for title in page.splitlines() if title.startswith("## ")] == [
        "## Source 001: an extension of source 000",
        "## Sources 002 and 003: course work on MNIST, a report and its exercise sheet",
        "## Ours",
    ]
    rows = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith(("| exp", "| ---"))]
    assert rows == [
        "| [001-met](#001-met) | what 001-met does | share | ≥ 0.51 | 0.51 ± 0.01 | yes | - (authors: 2 hours) |",
        "| [003-missed](#003-missed) | what 003-missed does | loss | ≤ 0.3 | 0.31 ± 0.01 | **no**, by 0.01 | - |",
        r"|  |  | weight\|1\| | 8 | 7.01 ± 0.01 | - |  |",
        "| [003-pictures](#003-pictures) | what 003-pictures does | pictures | - | - | - | - |",
        "| [own](#own) | what own does | share | ≥ 0.5 | 1.01 ± 0.01 | yes | - |",
    ]
    assert len({row.replace(r"\|", "").count("|") for row in rows}) == 1


def test_section_of_an_experiment(page: str) -> None:
    _, missed = page.split("### 003-missed\n")
    missed, pictures = missed.split("### 003-pictures\n")
    assert "**Remark.** Why." in missed
    assert "seeds 0, 1, 2*" in missed
    assert "**Choices.** Some." in pictures
    assert "**Also measured.** seen: 1.01 ± 0.01." in pictures
    assert "**Also measured.** loss: 1235 ± 0.01." in page


def test_links_are_valid(page: str, tmp_path: Path) -> None:
    pictures = re.findall(r"!\[(.+)\]\((.+)\)\\\n\*(.+)\*\n", page)
    assert len(pictures) == 4
    for alt_text, path, caption in pictures:
        assert alt_text == caption
        assert (tmp_path / path).is_file()
    titles = re.findall(r"^### (.+)$", page, re.MULTILINE)
    assert set(re.findall(r"\]\(#(.+?)\)", page)) == set(titles)


@pytest.mark.parametrize(
    ("now", "current"),
    [
        (claim("own", {}, {"share": at_least(0.5)}, remark="new", source="else"), True),
        (claim("own", {}, {"share": at_least(0.6)}), False),
        (claim("own", {}, {"share": at_least(0.5)}, choices="new"), False),
    ],
)
def test_changed_experiments_are_listed(now: Experiment, current: bool, tmp_path: Path) -> None:
    study = Study(CLAIMS[3], "cpu", tmp_path / "own")
    study.measure(0)
    study.summarise()
    text = report.write([now], report.read([now], tmp_path)[0], "results")
    assert ("Changed since they were run: own." not in text) is current


def test_without_results_no_page_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--out", str(tmp_path / "empty")]) == 1
    assert "empty has no results of full runs: python -m experiments run all --out " in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


Committed = tuple[list[Experiment], list[tuple[Experiment, dict[str, Any]]]]


@pytest.fixture
def committed() -> Committed:
    known = list(discover().values())
    pairs, faults = report.read(known, COMMITTED)
    assert not faults
    if not pairs:
        pytest.skip("there are no results in experiments/results")
    return known, pairs


def test_committed_page_matches_the_results(committed: Committed) -> None:
    page = (COMMITTED.parent / "RESULTS.md").read_text(encoding="utf-8")
    assert page == report.write(*committed, COMMITTED.name)


def test_committed_pages_of_the_site_match_the_results(committed: Committed) -> None:
    written = pages.write_pages(committed[1], COMMITTED, SITE)
    assert {path: path.read_text(encoding="utf-8") for path in written} == written


def test_every_experiment_of_a_report_is_on_one_page(committed: Committed) -> None:
    for experiment, _ in committed[1]:
        count = sum(
            text.count(f"### {experiment.id}\n") for text in pages.write_pages(committed[1], COMMITTED, SITE).values()
        )
        assert count == (experiment.group != "ours"), experiment.id


def test_missed_figures_have_a_remark(committed: Committed) -> None:
    remarked = {experiment.id for experiment, _ in committed[1] if experiment.remark}
    assert {id for id, _, figure in report.judged(committed[1]) if not figure["met"]} <= remarked


def test_short_runs_have_three_seeds(committed: Committed) -> None:
    short = [result for _, result in committed[1] if result["seconds"]["all"] < 60]
    assert [result["id"] for result in short if len(result["seeds"]) < 3] == []


def test_committed_pictures_are_small_and_not_blank(committed: Committed) -> None:
    assert sum(path.stat().st_size for path in COMMITTED.rglob("*") if path.is_file()) < 15e6
    for _, result in committed[1]:
        folder = COMMITTED / result["id"]
        assert {path.name for path in folder.glob("*.png")} == result["pictures"].keys()
        for name in result["pictures"]:
            assert image.imread(folder / name)[..., :3].std() > 0.05, f"{name} is blank"


@pytest.mark.parametrize(
    "change",
    [
        {"figures": {"share": {}}},
        {"figures": {"share": {"ours": 1.0, "spread": None, "reported": None, "better": None, "met": True}}},
        {"figures": {"share": {"ours": 1.0, "spread": None, "reported": 1.0, "better": "best", "met": None}}},
        {"figures": {"share": {"ours": 1.0, "spread": None, "reported": 1.0, "met": None}}},
        {"id": "own"},
        {"seeds": 3},
        {"seconds": {"training": float("nan"), "all": 1}},
        {"versions": None},
        {"pictures": {"../../../mine.png": ""}},
        {"networks": [{"parameters": "many"}]},
        {"date": 3},
        {"device": {"name": "cpu", "description": "\x1b[2J", "machine": ""}},
    ],
    ids=str,
)
def test_a_damaged_result_is_named_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], change: dict[str, Any]
) -> None:
    monkeypatch.setattr("experiments.__main__.discover", lambda: {each.id: each for each in CLAIMS})
    out = tmp_path / "results"
    for each in CLAIMS[:2]:
        study = Study(each, "cpu", out / each.id)
        study.measure(0)
        study.summarise()
    damaged = out / CLAIMS[0].id / "result.json"
    damaged.write_text(json.dumps(json.loads(damaged.read_text(encoding="utf-8")) | change), encoding="utf-8")
    capsys.readouterr()
    assert main(["report", "--out", str(out)]) == 0
    captured = capsys.readouterr()
    assert captured.err.startswith(f"experiments: {damaged} cannot be loaded: ")
    assert captured.err.endswith("; it does not count\n")
    assert captured.err.count("\n") == 1
    assert "1 of 6 experiments" in captured.out
