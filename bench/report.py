"""``python -m bench report``: bench/RESULTS.md, from the files of results."""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from os.path import relpath
from pathlib import Path
from typing import Any

from bench import compare, files, results
from bench.command import Refused, show
from bench.networks import NETWORKS
from bench.peers.competitors import OURS
from bench.peers.ratios import INFERENCE_MEAN, SKLEARN, STEP_MEAN, best, best_ratio, mean, share, verdict
from bench.text import counted, duration, factor, markdown, mebibytes, percent

REPORT = Path(__file__).parent / "RESULTS.md"
NOTES, PICTURE = "notes.md", "compare.png"
MEAN = "geometric mean of those with a goal"
HEAD = """\
# Results

Written by `python -m bench report` from the files in `bench/results`; nothing here is typed by hand but the notes.
Ratios are PortaNet's time over the other's: below 1, PortaNet is the faster. Each is the median of ratios that were
taken moments apart, with its quartiles. The times are medians over the same rounds, each side by itself, so that one
over the other may differ from the ratio where the machine's speed changed between rounds. "Best" is the variant of
PyTorch that leaves PortaNet the largest ratio. The floor is the time of the network's matrix products alone; a share of
60 % says that they would take 60 % of the step, and more than 100 % that the step does them in another way, with fewer
multiplications, or that the floor was taken in a slower moment."""


def add_to(commands: Any) -> None:
    """Describe the command to the parser."""
    parser = commands.add_parser(
        "report",
        help="write bench/RESULTS.md",
        description="Write bench/RESULTS.md from the JSON files of a folder, its notes.md, which is included as it is, "
        "and its compare.png.",
    )
    parser.add_argument("--results", type=Path, default=results.FOLDER, metavar="DIR", help="default: bench/results")
    parser.add_argument("--out", type=Path, default=REPORT, metavar="FILE", help="default: bench/RESULTS.md")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Write the report."""
    files.check_writable(options.out)
    files.write(options.out, report(options.results, options.out).encode())
    show(f"written: {options.out}")


def report(folder: Path, out: Path) -> str:
    """Make a report of a folder's results, with paths as seen from the file that it goes to."""
    peers = [results.read(path, "peers") for path in sorted(folder.glob("peers-*.json"))]
    suites = [results.read(path, "suite") for path in sorted(folder.glob("suite-*.json"))]
    if not peers and not suites:
        raise Refused(f"there are no files of results in {folder}: run python -m bench peers")
    notes, picture = folder / NOTES, folder / PICTURE
    parts = [HEAD, *([files.read_text(notes).strip()] if notes.exists() else [])]
    parts += [part for file in peers for part in peers_parts(file)]
    parts += suite_parts(suites, relpath(picture, out.parent) if picture.exists() else "") if suites else []
    return "\n\n".join(parts) + "\n"


def peers_parts(file: Mapping[str, Any]) -> list[str]:
    """Write the chapter of a file of kind "peers"."""
    networks: Mapping[str, Any] = file["networks"]
    sections = {
        "Training step against PyTorch": steps(networks),
        "Inference against PyTorch": inference(networks),
        "Training step against scikit-learn": sklearn(networks),
        "Peak memory of a training process": memory(networks),
        "Before the first step": costs(file["costs"]),
        "Who did not take part": absent(networks),
    }
    return [
        f"## Beside other libraries: {file['machine']['gpu'] or file['machine']['cpu']}",
        f"{measured_on(file)} {counted(file['rounds'], 'round')} of {file['seconds']:g} s.{unfinished(file)}",
        *(f"### {title}\n\n{section}" for title, section in sections.items() if section),
    ]


def measured_on(file: Mapping[str, Any]) -> str:
    """Describe machine, versions and date in a line."""
    machine = file["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in file["versions"].items())
    gpu = f"{machine['gpu']}; " if machine["gpu"] else ""
    return (
        f"{gpu}{machine['cpu']}, {machine['cores']} usable cores, {machine['memory_gib']:g} GiB, {machine['system']}; "
        f"threads: {file['threads']}; load before the run: {file['load']:g}; {versions}; {file['date']}."
    )


def unfinished(file: Mapping[str, Any]) -> str:
    """Say which networks an interrupted run did not come to."""
    lacking = [id for id in file.get("asked", ()) if id not in file["networks"]]
    return f" The run ended before it came to {', '.join(lacking)}." if lacking else ""


def steps(networks: Mapping[str, Any]) -> str:
    """Table of training steps, how many goals are met, and where PortaNet is the slower."""
    rows, ratios, met, slower = [], {}, 0, []
    for id, result in networks.items():
        times = result["tasks"].get("step", {})
        name, ratio, goal = best(times), best_ratio(times), _goal(id)
        if name is None or ratio is None:
            continue
        shares = [share_of(times, who) for who in (OURS, name)]
        rows.append([id, *pair(times, name), name, *judged(ratio, goal), quartiles(times[name]), *shares])
        if goal is not None:
            ratios[id] = ratio
            met += ratio <= goal
        slower += [id] * (ratio > 1)
    if not rows:
        return ""
    rows.append(
        [MEAN, "", "", "", *judged(mean(ratios.values()), STEP_MEAN if _complete(ratios) else None), "", "", ""]
    )
    header = ["network", "PortaNet", "PyTorch", "best", "ratio", "at most", "goal", "quartiles", "floor / ours"]
    summary = (
        f"Goals of single networks that are met: {met} of {len(ratios)}. "
        f"Networks for which PortaNet is the slower: {', '.join(slower) or 'none'}."
    )
    return f"{summary}\n\n{markdown([*header, 'floor / theirs'], rows)}"


def inference(networks: Mapping[str, Any]) -> str:
    """Table of inference at every batch size."""
    rows, ratios = [], {}
    for id, result in networks.items():
        for task, times in result["tasks"].items():
            name, ratio = best(times), best_ratio(times)
            if task == "step" or name is None or ratio is None:
                continue
            batch, floor = task.rpartition("-")[2], share_of(times, OURS)
            rows.append([id, batch, *pair(times, name), name, *judged(ratio, None), quartiles(times[name]), floor])
            if _goal(id) is not None:
                ratios[id, batch] = ratio
    if not rows:
        return ""
    goal = INFERENCE_MEAN if _complete(id for id, _ in ratios) else None
    rows.append([MEAN, "", "", "", "", *judged(mean(ratios.values()), goal), "", ""])
    header = [
        "network",
        "batch",
        "PortaNet",
        "PyTorch",
        "best",
        "ratio",
        "at most",
        "goal",
        "quartiles",
        "floor / ours",
    ]
    return markdown(header, rows)


def sklearn(networks: Mapping[str, Any]) -> str:
    """Table of training steps beside scikit-learn's."""
    rows = []
    for id, result in networks.items():
        times = result["tasks"].get("step", {})
        ratio = best_ratio(times, "sklearn")
        if ratio is not None:
            classifies = id in NETWORKS and NETWORKS[id].target == "labels"
            kind, goal = ("MLPClassifier", SKLEARN) if classifies else ("MLPRegressor", None)
            rows.append([id, kind, *pair(times, "sklearn"), *judged(ratio, goal), quartiles(times["sklearn"])])
    header = ["network", "beside", "PortaNet", "scikit-learn", "ratio", "at most", "goal", "quartiles"]
    return markdown(header, rows) if rows else ""


def memory(networks: Mapping[str, Any]) -> str:
    """Table of peak memory; of PyTorch, that of its leanest variant."""
    rows = []
    for id, result in networks.items():
        sizes: Mapping[str, int] = result["memory"]
        theirs = min((size for name, size in sizes.items() if name.startswith("torch")), default=None)
        if OURS in sizes and theirs is not None:
            sklearn = mebibytes(sizes["sklearn"]) if "sklearn" in sizes else ""
            rows.append([id, mebibytes(sizes[OURS]), mebibytes(theirs), sklearn, verdict(sizes[OURS], theirs)])
    header = ["network", "PortaNet", "PyTorch", "scikit-learn", "goal: not above PyTorch's"]
    return markdown(header, rows) if rows else ""


def costs(libraries: Mapping[str, Any]) -> str:
    """Table of what is paid before the first step."""
    rows = [
        [
            name,
            duration(row["import"]),
            duration(row["first_step"]),
            mebibytes(row["installed"]),
            ", ".join(row["requires"]),
        ]
        for name, row in libraries.items()
    ]
    header = ["library", "import", "start to first step", "installed", "the size includes"]
    return markdown(header, rows) if rows else ""


def absent(networks: Mapping[str, Any]) -> str:
    """List who took no part, and why."""
    where: dict[str, int] = {}
    for result in networks.values():
        for reasons in result["absent"].values():
            for name, reason in reasons.items():
                line = f"{name}: {reason}"
                where[line] = where.get(line, 0) + 1
    return "\n".join(f"- {line} ({counted(times, 'time')})" for line, times in where.items())


def suite_parts(files: Sequence[Mapping[str, Any]], picture: str) -> list[str]:
    """Write the chapter of files of kind "suite"."""
    medians = compare.gather(files)
    header, *rows = compare.rows(medians)
    crossovers = compare.crossover_lines(medians)
    return [
        "## Pieces and networks by themselves",
        "Medians of `python -m pytest bench`.",
        *map(measured_on, files),
        *(["\n".join(f"- {line}" for line in crossovers)] if crossovers else []),
        *([f"![CPU and GPU]({picture})"] if picture else []),
        f"<details><summary>{len(rows)} cases</summary>\n\n{markdown(header, rows)}\n\n</details>",
    ]


def pair(times: Mapping[str, Any], name: str) -> list[str]:
    """Cells: our time and another's."""
    return [duration(times[who]["seconds"]) for who in (OURS, name)]


def judged(ratio: float | None, goal: float | None) -> list[str]:
    """Cells: ratio, goal, and whether it is met."""
    return ["" if ratio is None else factor(ratio), "" if goal is None else f"{goal:.2f}", verdict(ratio, goal)]


def quartiles(row: Mapping[str, Any]) -> str:
    """Cell: between which numbers the middle half of the ratios is."""
    return " to ".join(map(factor, row["quartiles"]))


def share_of(times: Mapping[str, Any], name: str) -> str:
    """Cell: which share of a competitor's time the floor is."""
    value = share(times, name)
    return "" if value is None else percent(value)


def _goal(id: str) -> float | None:
    return NETWORKS[id].goal if id in NETWORKS else None


def _complete(ids: Iterable[str]) -> bool:
    """Whether all networks with a goal are there, so that the goal for their mean can be judged."""
    return set(ids) >= {id for id, network in NETWORKS.items() if network.goal is not None}
