"""``python -m bench report``: writes bench/RESULTS.md from the files of results."""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from os.path import relpath
from pathlib import Path
from typing import Any, TypeAlias

from bench import compare, estimators, files, fit, prediction, results, scaling
from bench.command import CommandError, print_lines
from bench.networks import NETWORKS
from bench.peers import busy
from bench.peers.competitors import OURS, PRECISIONS
from bench.peers.ratios import INFERENCE_MEANS, SKLEARN, STEP_MEAN, best, best_ratio, gemm_share, mean, verdict
from bench.peers.table import quartiles_cell
from bench.text import counted, duration, factor, markdown, mebibytes, percent
from portanet.files import as_file_errors

Chapter: TypeAlias = Callable[[Mapping[str, Any]], list[str]]
"""Makes the parts of the page from a file."""

REPORT = Path(__file__).parent / "RESULTS.md"
NOTES, PICTURE = "notes.md", "compare.png"
MEAN = "geometric mean of the reports' networks with a goal"
HEAD = """\
# Results

This page is written by `python -m bench report` from the files in `bench/results`; only the notes are written by hand.

- **Ratio:** PortaNet's time divided by the other library's; below 1, PortaNet is faster. It is the median over the
  rounds of ratios within a round, where both libraries ran moments apart. The times are medians over the rounds of each
  library alone, so their quotient may differ from the ratio.
- **Noisy:** the quartiles of the ratio are more than 15 % of the ratio apart.
- **Best:** the fastest variant of PyTorch, the one with the largest ratio.
- **GEMM bound:** the time of the network's matrix products alone. "GEMM bound / ours" of 60 % means that the products
  would take 60 % of the step. It exceeds 100 % if the step needs fewer multiplications, as with Winograd's algorithm,
  or if the machine was slower while the bound was measured."""


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "report",
        help="write bench/RESULTS.md",
        description="Write bench/RESULTS.md from the JSON files, notes.md and pictures of a folder.",
    )
    parser.add_argument("--results", type=Path, default=results.FOLDER, metavar="DIR", help="default: bench/results")
    parser.add_argument("--out", type=Path, default=REPORT, metavar="FILE", help="default: bench/RESULTS.md")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Write the report."""
    files.check_writable(options.out)
    files.write(options.out, report(options.results, options.out).encode())
    print_lines(f"written: {options.out}")


def report(folder: Path, out: Path) -> str:
    """Return the report on a folder of results, with paths relative to the report ``out``."""
    chapters: dict[str, Chapter] = {
        "peers": peers_parts,
        "fit": fit_parts,
        "busy": busy_parts,
        "mechanisms": mechanism_parts,
        "estimators": estimator_parts,
        "scaling": scaling_parts,
    }
    written = {kind: _read_chapters(folder, out, kind, chapter) for kind, chapter in chapters.items()}
    suites = [compare.read(path) for path in sorted(folder.glob("suite-*.json"))]
    if not written["peers"] and not suites:
        raise CommandError(f"there are no files of results in {folder}; run: python -m bench peers")
    notes, picture = folder / NOTES, folder / PICTURE
    parts = [HEAD, *([files.read_text(notes).strip()] if notes.exists() else [])]
    parts += [part for chapter in written.values() for part in chapter]
    parts += suite_parts(suites, relpath(picture, out.parent) if picture.exists() else "") if suites else []
    return "\n\n".join(parts) + "\n"


def _read_chapters(folder: Path, out: Path, kind: str, chapter: Chapter) -> list[str]:
    """
    Return the chapters on all files of a kind, each with the picture that lies beside its file.

    Numbers of which no table can be made are a fault of the file.
    """
    parts = []
    for path in sorted(folder.glob(f"{kind}-*.json")):
        file = results.read(path, kind)
        with as_file_errors(path):
            parts += chapter(file)
        if (picture := path.with_suffix(".png")).exists():
            parts.append(f"![{kind}]({relpath(picture, out.parent)})")
    return parts


def peers_parts(file: Mapping[str, Any]) -> list[str]:
    """Return the chapter on a file of kind "peers"."""
    networks: Mapping[str, Any] = file["networks"]
    sections = {
        "Training step against PyTorch": steps(networks),
        "Inference against PyTorch": inference(networks),
        "Training step against scikit-learn": sklearn(networks),
        "Peak memory of a training process": memory(networks, "memory"),
        "Memory on the GPU after the first step": memory(networks, "gpu_memory"),
        "Before the first step": costs(file["costs"]),
        "Competitors left out": absent(networks),
    }
    return [
        f"## Comparison with other libraries: {file['machine']['gpu'] or file['machine']['cpu']}",
        f"{machine_line(file)} {counted(file['rounds'], 'round')} of {file['seconds']:g} s.{precision(file)}"
        f"{unfinished(file)}",
        *(f"### {title}\n\n{section}" for title, section in sections.items() if section),
    ]


def machine_line(file: Mapping[str, Any]) -> str:
    """Return machine, versions and date in one line."""
    machine = file["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in file["versions"].items())
    gpu = f"{machine['gpu']}; " if machine["gpu"] else ""
    return (
        f"{gpu}{machine['cpu']}, {machine['cores']} usable cores, {machine['memory_gib']:g} GiB, {machine['system']}; "
        f"threads: {file['threads']}; load before the run: {file['load']:g}; {versions}; {file['date']}."
    )


def precision(file: Mapping[str, Any]) -> str:
    """Name the precision of products and convolutions on a GPU."""
    known = file["machine"]["gpu"] and file.get("precision") in PRECISIONS
    return f" Products and convolutions of all libraries are in {file['precision']}." if known else ""


def unfinished(file: Mapping[str, Any]) -> str:
    """Name the networks that an interrupted run did not time."""
    missing = [id for id in file.get("asked", ()) if id not in file["networks"]]
    return f" The run was interrupted before {', '.join(missing)}." if missing else ""


def steps(networks: Mapping[str, Any]) -> str:
    """Return the table of training steps, the number of goals met, and the networks on which PortaNet is slower."""
    rows, ratios, met, slower = [], {}, 0, []
    for id, result in networks.items():
        times = result["tasks"].get("step", {})
        name, ratio, goal = best(times), best_ratio(times), _goal(id)
        if name is None or ratio is None:
            continue
        shares = [share_cell(times, library) for library in (OURS, name)]
        rows.append([id, *pair(times, name), name, *judged(ratio, goal), quartiles_cell(times[name]), *shares])
        if goal is not None:
            ratios[id] = ratio
            met += ratio <= goal
        slower += [id] * (ratio > 1)
    if not rows:
        return ""
    if (average := _mean(ratios)) is not None:
        rows.append([MEAN, "", "", "", *judged(average, STEP_MEAN if _complete(ratios) else None), "", "", ""])
    header = ["network", "PortaNet", "PyTorch", "best", "ratio", "at most", "goal", "quartiles"]
    summary = (
        f"Goals of single networks that are met: {met} of {len(ratios)}. "
        f"Networks on which PortaNet is slower: {', '.join(slower) or 'none'}."
    )
    return f"{summary}\n\n{markdown([*header, 'GEMM bound / ours', 'GEMM bound / theirs'], rows)}"


def inference(networks: Mapping[str, Any]) -> str:
    """Return the table of inference at every batch size."""
    rows, ratios = [], {}
    for id, result in networks.items():
        for task, times in result["tasks"].items():
            name, ratio = best(times), best_ratio(times)
            if task == "step" or name is None or ratio is None:
                continue
            batch, share = task.rpartition("-")[2], share_cell(times, OURS)
            row = [id, batch, *pair(times, name), name, *judged(ratio, None), quartiles_cell(times[name]), share]
            rows.append(row)
            if _goal(id) is not None:
                ratios[id, batch] = ratio
    if not rows:
        return ""
    for batches, goal in INFERENCE_MEANS.items():
        some = {(id, batch): ratio for (id, batch), ratio in ratios.items() if batch in batches.split()}
        complete = _complete(id for id, _ in some)
        value = mean(ratio for (id, _), ratio in some.items() if _is_of_report(id))
        rows.append([MEAN, batches, "", "", "", *judged(value, goal if complete else None), "", ""])
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
        "GEMM bound / ours",
    ]
    return markdown(header, rows)


def sklearn(networks: Mapping[str, Any]) -> str:
    """Return the table of training steps against scikit-learn."""
    rows = []
    for id, result in networks.items():
        times = result["tasks"].get("step", {})
        ratio = best_ratio(times, "sklearn")
        if ratio is not None:
            classifies = id in NETWORKS and NETWORKS[id].target == "labels"
            kind, goal = ("MLPClassifier", SKLEARN) if classifies else ("MLPRegressor", None)
            rows.append([id, kind, *pair(times, "sklearn"), *judged(ratio, goal), quartiles_cell(times["sklearn"])])
    header = ["network", "estimator", "PortaNet", "scikit-learn", "ratio", "at most", "goal", "quartiles"]
    return markdown(header, rows) if rows else ""


def memory(networks: Mapping[str, Any], key: str) -> str:
    """Return the table of a kind of memory; for PyTorch, that of the variant with the smallest."""
    rows = []
    for id, result in networks.items():
        sizes: Mapping[str, int] = result.get(key, {})
        theirs = min((size for name, size in sizes.items() if name.startswith("torch")), default=None)
        if OURS in sizes and theirs is not None:
            sklearn = mebibytes(sizes["sklearn"]) if "sklearn" in sizes else ""
            rows.append([id, mebibytes(sizes[OURS]), mebibytes(theirs), sklearn, verdict(sizes[OURS], theirs)])
    header = ["network", "PortaNet", "PyTorch", "scikit-learn", "goal: not above PyTorch's"]
    return markdown(header, rows) if rows else ""


def costs(libraries: Mapping[str, Any]) -> str:
    """Return the table of the costs before the first step."""
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
    """List the competitors that were left out, and why."""
    counts: dict[str, int] = {}
    for result in networks.values():
        for reasons in result["absent"].values():
            for name, reason in reasons.items():
                line = f"{name}: {reason}"
                counts[line] = counts.get(line, 0) + 1
    return "\n".join(f"- {line} ({counted(times, 'time')})" for line, times in counts.items())


def fit_parts(file: Mapping[str, Any]) -> list[str]:
    """Return the chapter on a file of kind "fit"."""
    return [
        f"## Steps a second of fit: {file['machine']['gpu'] or file['machine']['cpu']}",
        f"{machine_line(file)}{unfinished(file)}",
        f"Training on random data that are on the device, in epochs of {counted(file['steps'], 'step')}; the median of "
        f"{counted(file['epochs'], 'epoch')}, without the one before them: `python -m bench fit`.",
        markdown(fit.HEADER, fit.table_rows(file["networks"])),
    ]


def busy_parts(file: Mapping[str, Any]) -> list[str]:
    """Return the chapter on a file of kind "busy"."""
    rows = [
        [id, name, duration(row["quiet"]), *(factor(v) for k in busy.SPINNING for v in row["busy"][str(k)]["ratios"])]
        for id, result in file["networks"].items()
        for name, row in result["competitors"].items()
    ]
    ours = [result["competitors"][OURS] for result in file["networks"].values()]
    header = ["network", "library", "quiet, one thread"]
    header += [f"{k} a core, {threads}" for k in busy.SPINNING for threads in ("all threads", "one")]
    return [
        f"## On a busy machine: {file['machine']['cpu']}",
        f"{machine_line(file)} {counted(file['rounds'], 'round')} of {file['seconds']:g} s.{unfinished(file)}",
        "Mean training steps while 1 and 3 processes spin on each core, divided by the fair share of a core and by the "
        "step of one thread on the quiet machine: 1 means that nothing is lost. Goals for PortaNet: at most "
        f"{busy.MAX_RATIO:g}, met on {sum(map(busy.is_fair, ours))} of {counted(len(ours), 'network')}; and no more "
        f"than with one thread, met on {sum(map(busy.equals_one_thread, ours))}.",
        markdown(header, rows),
    ]


def mechanism_parts(file: Mapping[str, Any]) -> list[str]:
    """Return the chapter on a file of kind "mechanisms"."""
    networks: dict[str, dict[str, Any]] = {}  # by mechanism and network
    for id, result in file["networks"].items():
        for name, row in result["mechanisms"].items():
            networks.setdefault(name, {})[id] = row
    rows = []
    for name, by_network in networks.items():
        # The largest ratio of all would often be a noisy one.
        id, clearest = max(by_network.items(), key=lambda item: item[1]["quartiles"][0])
        average = mean(row["ratio"] for row in by_network.values()) or 1.0
        rows.append([f"`{name}`", factor(average), factor(clearest["ratio"]), quartiles_cell(clearest), id])
    header = ["mechanism", "geometric mean", "clearest gain", "quartiles", "on"]
    return [
        "## What each mechanism gains",
        f"{machine_line(file)} {counted(file['rounds'], 'round')} of {file['seconds']:g} s.{unfinished(file)}",
        "Time of a training step without the mechanism, divided by the time with it: `python -m bench mechanisms`. "
        "Above 1, the mechanism makes the step faster. The clearest gain has the largest lower quartile; where that is "
        "below 1, no gain was seen. `engine` stands for rewriting, threads, first writes and graphs together.",
        markdown(header, rows),
    ]


def estimator_parts(file: Mapping[str, Any]) -> list[str]:
    """Return the chapter on a file of kind "estimators"."""
    return [
        f"## Networks for scikit-learn: {file['machine']['cpu']}",
        machine_line(file),
        "`NetClassifier` and `NetRegressor`, which standardize their inputs, beside scikit-learn's `MLPClassifier` "
        "and `MLPRegressor`, alone and after a `StandardScaler`, all at their defaults: the mean score of "
        f"{estimators.FOLDS} folds (accuracy; R² for diabetes), the median time of a fit, "
        "and the median ratio of the times. Two scores are equal if their means differ by at most 2.8 standard errors "
        "of the differences, which hold 95 %. The table `mixed` is drawn at random: `python -m bench estimators`.",
        markdown(estimators.HEADER, estimators.table_rows(file["datasets"])),
    ]


def scaling_parts(file: Mapping[str, Any]) -> list[str]:
    """Return the chapter on a file of kind "scaling"."""
    found: Mapping[str, Any] = file["networks"]
    assumed = "{} Gbit/s and {} µs for a message"
    cpu, gpu = (
        assumed.format(f"{8 * link.bandwidth / 1e9:g}", f"{link.latency * 1e6:g}")
        for link in (prediction.CPU_LINK, prediction.GPU_LINK)
    )
    return [
        f"## More than one process: {file['machine']['cpu']}",
        machine_line(file),
        "A training step of one process with one core; of two processes with one core each, where each has a whole "
        "batch (weak) or half of it (strong); and of one process with two threads. A gain is the ratio of examples a "
        "second to one core. The exchange is an all-reduce of the gradient alone, as a share of the weak step: it is "
        "the most that exchanging while other layers are computed could save. `python -m bench scaling`.",
        markdown(scaling.HEADER, scaling.table_rows(found)),
        f"**Predicted, not measured:** how many times as many examples a second as one node a cluster of such nodes "
        f"trains on, if each has a whole batch. The step is that of two threads. Between nodes, {cpu} are assumed.",
        markdown(prediction.NODES_HEADER, prediction.node_rows(found)),
        f"**Predicted, not measured:** how long a step on one GPU must be at least, so that each of several GPUs keeps "
        f"{prediction.EFFICIENCY:.0%} of its speed. Between GPUs, {gpu} are assumed.",
        markdown(prediction.GPUS_HEADER, prediction.gpu_rows(found)),
    ]


def suite_parts(files: Sequence[Mapping[str, Any]], picture: str) -> list[str]:
    """Return the chapter on files of kind "suite"."""
    medians = compare.gather(files)
    header, *rows = compare.rows(medians)
    crossovers = compare.crossover_lines(medians)
    return [
        "## Single layers and networks",
        "Medians of `python -m pytest bench`.",
        *map(machine_line, files),
        *(["\n".join(f"- {line}" for line in crossovers)] if crossovers else []),
        *([f"![CPU and GPU]({picture})"] if picture else []),
        f"<details><summary>{len(rows)} cases</summary>\n\n{markdown(header, rows)}\n\n</details>",
    ]


def pair(times: Mapping[str, Any], name: str) -> list[str]:
    """Return cells: PortaNet's time and the competitor's."""
    return [duration(times[library]["seconds"]) for library in (OURS, name)]


def judged(ratio: float | None, goal: float | None) -> list[str]:
    """Return cells: ratio, goal, and whether the goal is met."""
    return ["" if ratio is None else factor(ratio), "" if goal is None else f"{goal:.2f}", verdict(ratio, goal)]


def share_cell(times: Mapping[str, Any], name: str) -> str:
    """Return a cell: the GEMM bound as a percentage of a competitor's time."""
    value = gemm_share(times, name)
    return "" if value is None else percent(value)


def _goal(id: str) -> float | None:
    return NETWORKS[id].goal if id in NETWORKS else None


def _is_of_report(id: str) -> bool:
    """Whether a network is one of the reports, whose ids start with a number."""
    return id[0].isdigit()


def _mean(ratios: Mapping[str, float]) -> float | None:
    return mean(ratio for id, ratio in ratios.items() if _is_of_report(id))


def _complete(ids: Iterable[str]) -> bool:
    """Whether all networks of the reports with a goal are present, so that the goal for their mean applies."""
    return set(ids) >= {id for id, network in NETWORKS.items() if network.goal is not None and _is_of_report(id)}
