"""The page of benchmarks in short, with its figures; made from the files of results in ``bench/results``."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from pictures import save_light_and_dark

from bench import estimators, results, scaling
from bench.networks import NETWORKS, Network
from bench.peers.ratios import best, best_ratio, mean
from bench.report import machine_line
from bench.text import duration, markdown

LIBRARIES = {"torch": "PyTorch", "sklearn": "scikit-learn", "jax": "JAX"}
TASKS = {
    "step": "Training step",
    "inference-1": "Inference of one example",
    "inference-1000": "Inference of 1000 examples",
}
HEAD = """\
# Numbers

How fast PortaNet is, beside other libraries on the same machine and on the same networks. A plot shows how many times
as long as PortaNet a library takes: right of the line at 1, PortaNet is faster. Of PyTorch, the fastest variant counts,
`torch.compile` included. [All benchmarks in full](benchmarks.md) has the method, the spread and what was tried and
dropped; `python -m bench --help` says how to repeat them.

The libraries are measured in turn, in many short rounds. A point is the median over the rounds, so it differs a little
from the quotient of the times in a table, which are medians themselves. A network whose name begins with a number is
one of the [report](reports/000.md) of that number; [the layers of all](#the-networks) are at the end.
"""


def write(page: Path, folder: Path = results.FOLDER) -> None:
    """Write the page, and its figures beside it."""
    parts = [HEAD]
    for path in sorted(folder.glob("peers-*.json")):
        parts += peers(results.read(path, "peers"), page, path.stem)
    if not any(results.read(path, "peers")["machine"]["gpu"] for path in folder.glob("peers-*.json")):
        parts.append("## On a GPU\n\nNo GPU has been measured yet.")
    for path in sorted(folder.glob("estimators-*.json")):
        parts += scikit_learn(results.read(path, "estimators"))
    for path in sorted(folder.glob("scaling-*.json")):
        parts += processes(results.read(path, "scaling"), page, path.stem)
    parts += networks(sorted(folder.glob("peers-*.json")))
    page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def peers(file: Mapping[str, Any], page: Path, name: str) -> Iterator[str]:
    """Yield the parts on a comparison with other libraries."""
    yield f"## Beside other libraries: {file['machine']['gpu'] or file['machine']['cpu']}"
    yield f"*{machine_line(file)}*"
    for task, title in TASKS.items():
        networks = {id: row["tasks"][task] for id, row in file["networks"].items() if task in row["tasks"]}
        if not networks:
            continue
        measured = [library for library in LIBRARIES if any(best(times, library) for times in networks.values())]
        factors = {
            LIBRARIES[library]: {
                id: 1 / ratio for id, times in networks.items() if (ratio := best_ratio(times, library))
            }
            for library in measured
        }
        yield f"### {title}"
        yield " ".join(
            f"{library} takes {mean(row.values()):.2f} times as long, on the geometric mean of {len(row)} networks."
            for library, row in factors.items()
        )
        picture = page.with_name(f"{name}-{task}.png")
        alt = f"{title}: time of other libraries divided by PortaNet's"
        yield shown(dots(factors, list(networks)), picture, alt)
        rows = [
            [id, duration(times["portanet"]["seconds"]), *(cell(times, library) for library in measured)]
            for id, times in networks.items()
        ]
        yield markdown(["network", "PortaNet", *(LIBRARIES[library] for library in measured)], rows)
    missing = [
        title
        for library, title in LIBRARIES.items()
        if not any(best(times, library) for row in file["networks"].values() for times in row["tasks"].values())
    ]
    if missing:
        yield f"Not measured on this machine: {', '.join(missing)}."


def cell(times: Mapping[str, Any], library: str) -> str:
    """Return the time of the fastest variant of a library."""
    name = best(times, library)
    return "" if name is None else duration(times[name]["seconds"])


def scikit_learn(file: Mapping[str, Any]) -> Iterator[str]:
    """Yield the parts on networks in scikit-learn."""
    yield "## Networks in scikit-learn"
    yield f"*{machine_line(file)}*"
    yield (
        "`NetClassifier` and `NetRegressor` beside `MLPClassifier` and `MLPRegressor`, all at their defaults. "
        "PortaNet's standardize their inputs. Scikit-learn's do not, so they are shown alone and after a "
        f"`StandardScaler`. Shown are the mean score of {estimators.FOLDS} folds (accuracy, and R² for diabetes), and "
        "the median time of a fit."
    )
    yield markdown(estimators.HEADER, estimators.table_rows(file["datasets"]))


def processes(file: Mapping[str, Any], page: Path, name: str) -> Iterator[str]:
    """Yield the parts on several processes."""
    yield "## Two processes"
    yield f"*{machine_line(file)}*"
    yield (
        "How many times as many examples a second as one core: two processes with a whole batch each (weak) or half a "
        "batch each (strong), and one process with two threads."
    )
    networks = file["networks"]
    gains = {
        "two processes, weak": {id: 2 * row["one core"]["step"] / row["weak"]["step"] for id, row in networks.items()},
        "two processes, strong": {id: row["one core"]["step"] / row["strong"]["step"] for id, row in networks.items()},
        "two threads": {id: row["one core"]["step"] / row["two threads"]["step"] for id, row in networks.items()},
    }
    figure = dots(gains, list(networks), xlabel="examples a second / those of one core")
    yield shown(figure, page.with_name(f"{name}.png"), "Gain of two processes and of two threads")
    yield markdown(scaling.HEADER, scaling.table_rows(networks))


def networks(paths: Sequence[Path]) -> Iterator[str]:
    """Yield the layers of the networks that are compared with other libraries."""
    measured = {id for path in paths for id in results.read(path, "peers")["networks"]}
    yield "## The networks"
    yield "Each row has the shape of an example, the size of a batch in training, and the layers."
    yield markdown(
        ["network", "example", "batch", "layers"],
        [
            [network.id, " x ".join(map(str, network.input_shape)), str(network.batch_size), layers(network)]
            for network in NETWORKS.values()
            if network.id in measured
        ],
    )


def layers(network: Network) -> str:
    """Return the layers of a network, which may break between two lines."""
    return ", ".join(f"`{layer!r}`" for layer in network.layers())


def dots(rows: Mapping[str, Mapping[str, float]], ids: list[str], *, xlabel: str = "time / PortaNet's time") -> Figure:
    """Draw one point for each network and each row, on a logarithmic axis."""
    figure = Figure(figsize=(4.5, 1.7 + 0.24 * len(ids)), layout="constrained")  # narrow, so that phones can show it
    axes = figure.subplots()
    for (name, row), marker in zip(rows.items(), "osD", strict=False):
        axes.scatter(list(row.values()), [ids.index(id) for id in row], marker=marker, s=28, label=name, zorder=3)
    axes.axvline(1, color="grey", linewidth=1)
    axes.set(xlabel=xlabel, yticks=range(len(ids)), yticklabels=ids, ylim=(len(ids) - 0.4, -0.6), xscale="log")
    ticks = [tick for tick in (0.5, 1, 2, 3, 5, 10, 20, 50, 100, 200, 500) if tick <= 1.2 * axes.get_xlim()[1]]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    figure.legend(loc="outside upper center")
    return figure


def shown(figure: Figure, picture: Path, alt: str) -> str:
    """Save a figure, and return the Markdown that shows it."""
    save_light_and_dark(figure, picture)
    return f"![{alt}]({picture.name})"
