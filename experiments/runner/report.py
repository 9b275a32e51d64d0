"""The page of all results: reported figures, our figures, and pictures."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from experiments.runner.record import Experiment
from experiments.runner.results import RESULT
from experiments.runner.text import duration, ours, seeds
from portanet.files import FileFormatError, read_json

TITLES = {
    "000": "Source 000: a modular network from scratch",
    "001": "Source 001: an extension of source 000",
    "003": "Sources 002 and 003: course work on MNIST, a report and its exercise sheet",
    "004": "Source 004: dense and convolutional networks, HOG features",
    "ours": "Ours",
}
HEAD = ("experiment", "what", "figure", "reported", "ours", "met", "training")
NOTE = """\
Our figure is the mean over the seeds ± their standard deviation. A reported figure is met if our mean is at least as
good. Runs of minutes may have one seed only, and then no standard deviation. A reported figure without ≥ or ≤ is shown
but not judged. Goals that no source reports, among them all of "Ours", are our own. The training time is that of one
seed, including evaluations; the pictures are those of the first seed. `python -m experiments run ID` repeats an
experiment, and `python -m experiments report` writes this page."""

Result = dict[str, Any]
Pair = tuple[Experiment, Result]


def read(experiments: Sequence[Experiment], folder: Path) -> tuple[list[Pair], list[str]]:
    """Return the experiments that have a full result in the folder, with the result; and a sentence for each fault."""
    pairs, faults = [], []
    for experiment in experiments:
        path = folder / experiment.id / "result.json"
        try:
            result = read_json(path, RESULT)
            if result["id"] != experiment.id:
                raise FileFormatError(path, f"it holds the result of {result['id']}")
            pairs += [] if result["quick"] else [(experiment, result)]
        except FileNotFoundError:
            continue
        except (OSError, FileFormatError) as error:
            faults.append(str(error))
    return pairs, faults


def judged(pairs: Sequence[Pair]) -> list[tuple[str, str, dict[str, Any]]]:
    """Return id, name and comparison of each figure that is judged."""
    figures = [(result["id"], name, figure) for _, result in pairs for name, figure in result["figures"].items()]
    return [(id, name, figure) for id, name, figure in figures if figure["met"] is not None]


def write(experiments: Sequence[Experiment], pairs: Sequence[Pair], folder: str) -> str:
    """
    Write the page.

    Parameters
    ----------
    experiments : sequence of Experiment
        All experiments; the page lists those without a result.
    pairs : sequence of tuple of Experiment and dict
        Result of :func:`read`. Remarks come from the experiment, everything else from the result.
    folder : str
        Folder of the results, relative to the page.

    Returns
    -------
    str
        Markdown.
    """
    parts = ["# Results", *_summary(experiments, pairs)]
    for group in sorted({experiment.group for experiment, _ in pairs}):
        members = [pair for pair in pairs if pair[0].group == group]
        parts += [f"## {TITLES.get(group, f'Source {group}')}", _table(members)]
        for pair in members:
            parts += _section(*pair, folder)
    return "\n\n".join(parts) + "\n"


def _summary(experiments: Sequence[Experiment], pairs: Sequence[Pair]) -> Iterator[str]:
    results, figures = [result for _, result in pairs], judged(pairs)
    yield f"**{sum(figure['met'] for *_, figure in figures)} of {len(figures)} figures are met.**"
    if missed := [f"- [{id}](#{id}), {name}: {_by(figure)}" for id, name, figure in figures if not figure["met"]]:
        yield "\n".join(["Not met; each experiment explains why:", "", *missed])
    finished = {result["id"] for result in results}
    if missing := [experiment.id for experiment in experiments if experiment.id not in finished]:
        yield f"Not run yet: {', '.join(missing)}."
    if changed := [experiment.id for experiment, result in pairs if not _is_current(experiment, result)]:
        yield f"Changed since they were run: {', '.join(changed)}."
    dates = sorted({result["date"][:10] for result in results})
    total = sum(result["seconds"]["training"] * len(result["seeds"]) for result in results)
    versions = {f"{name} {version}" for result in results for name, version in result["versions"].items()}
    yield "\n".join(
        [
            f"- run on: {_distinct(result['device']['description'] for result in results)}",
            f"- machine: {_distinct(result['device']['machine'] for result in results)}",
            f"- with: {', '.join(sorted(versions))}",
            f"- date: {' to '.join(dict.fromkeys((dates[0], dates[-1])))}",
            f"- training of all seeds: {duration(total)}",
        ]
    )
    yield NOTE


def _is_current(experiment: Experiment, result: Result) -> bool:
    stored = {name: figure["reported"] for name, figure in result["figures"].items() if figure["reported"] is not None}
    return {name: reported.value for name, reported in experiment.reported.items()} == stored and all(
        getattr(experiment, name) == result[name] for name in ("data", "what", "choices")
    )


def _distinct(values: Iterator[str]) -> str:
    return "; ".join(dict.fromkeys(values))


def _table(pairs: Sequence[Pair]) -> str:
    rows: list[Sequence[str]] = []
    for experiment, result in pairs:
        theirs = f" (authors: {experiment.reported_time})" if experiment.reported_time else ""
        seconds = result["seconds"]["training"]
        time = f"{duration(seconds) if seconds else '-'}{theirs}"
        compared = {name: figure for name, figure in result["figures"].items() if figure["reported"] is not None}
        lines = [(name, reported(figure), ours(figure), met(figure)) for name, figure in compared.items()]
        lines = lines or [("pictures", "-", "-", "-")]
        rows.append((f"[{experiment.id}](#{experiment.id})", result["what"], *lines[0], time))
        rows += [("", "", *line, "") for line in lines[1:]]
    return markdown_table(HEAD, rows)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [[cell.replace("|", r"\|") for cell in line] for line in (header, ["---"] * len(header), *rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def reported(figure: dict[str, Any]) -> str:
    """Return a reported figure, with the direction in which ours may be better."""
    sign = {"higher": "≥ ", "lower": "≤ ", None: ""}[figure["better"]]
    return f"{sign}{figure['reported']:g}"


def met(figure: dict[str, Any]) -> str:
    """Say whether a reported figure is met, and by how much it is missed."""
    return {True: "yes", False: f"**no**, {_by(figure)}", None: "-"}[figure["met"]]


def _by(figure: dict[str, Any]) -> str:
    return f"by {abs(figure['ours'] - figure['reported']):.2g}"


def _section(experiment: Experiment, result: Result, folder: str) -> Iterator[str]:
    yield f"### {experiment.id}"
    yield result["what"]
    sizes = " / ".join(dict.fromkeys(f"{network['parameters']:,}" for network in result["networks"]))
    facts = [f"source {result['source']}", f"data: {result['data']}", *([f"{sizes} parameters"] if sizes else [])]
    yield f"*{'; '.join([*facts, seeds(result)])}*"
    if result["choices"]:
        yield f"**Choices.** {result['choices']}"
    if experiment.remark:
        yield f"**Remark.** {experiment.remark}"
    others = {name: figure for name, figure in result["figures"].items() if figure["reported"] is None}
    if others:
        yield f"**Also measured.** {'; '.join(f'{name}: {ours(figure)}' for name, figure in others.items())}."
    for name, caption in result["pictures"].items():
        yield f"![{caption}]({folder}/{experiment.id}/{name})\\\n*{caption}*"
