"""Tables of measurements for the terminal."""

from collections.abc import Mapping
from typing import Any

from bench.networks import Network
from bench.peers.ratios import best, best_ratio, gemm_share, is_noisy, verdict
from bench.text import columns, duration, factor, mebibytes, percent


def network_table(network: Network, result: Mapping[str, Any]) -> str:
    """
    Return a table of the competitors for each task of a network, the fastest first.

    Parameters
    ----------
    network : Network
        The network.
    result : mapping
        Result of :func:`bench.peers.race.run_network`.
    """
    return "\n".join(_task(network, task, result) for task in result["absent"])


def costs_table(costs: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a table of the result of :func:`bench.peers.costs.all_costs`."""
    rows = [
        (name, duration(row["import"]), duration(row["first_step"]), mebibytes(row["installed"]))
        for name, row in costs.items()
    ]
    return columns([("library", "import", "start to first step", "installed"), *rows])


def quartiles_cell(row: Mapping[str, Any]) -> str:
    """
    Format the quartiles of a ratio, and mark a noisy ratio.

    Examples
    --------
    >>> quartiles_cell({"ratio": 0.8, "quartiles": [0.75, 0.85]})
    '0.750 to 0.850'
    >>> quartiles_cell({"ratio": 0.8, "quartiles": [0.7, 0.85]})
    '0.700 to 0.850 (noisy)'
    """
    return " to ".join(map(factor, row["quartiles"])) + " (noisy)" * is_noisy(row)


def _task(network: Network, task: str, result: Mapping[str, Any]) -> str:
    times, memory = result["tasks"].get(task, {}), result["memory"] if task == "step" else {}
    on_gpu = result.get("gpu_memory", {}) if task == "step" else {}
    header = ("time", "PortaNet / it", "quartiles", "GEMM bound / it", "peak memory")
    rows: list[tuple[str, ...]] = [(f"{network.id}, {task}", *header, *(["on the GPU"] if on_gpu else []))]
    for name, row in sorted(times.items(), key=lambda item: float(item[1]["seconds"])):
        share = gemm_share(times, name)
        rows.append(
            (
                f"  {name}",
                duration(row["seconds"]),
                factor(row["ratio"]) if "ratio" in row else "",
                quartiles_cell(row) if "ratio" in row else "",
                "" if share is None else percent(share),
                mebibytes(memory[name]) if name in memory else "",
                *((mebibytes(on_gpu[name]) if name in on_gpu else "",) if on_gpu else ()),
            )
        )
    absent = [f"  {name}: {reason}" for name, reason in result["absent"][task].items()]
    return "\n".join([columns(rows), *absent, *_summary(times, network.goal if task == "step" else None)])


def _summary(times: Mapping[str, Any], goal: float | None) -> list[str]:
    name, ratio = best(times), best_ratio(times)
    if name is None or ratio is None:
        return []
    goal_text = f", goal at most {goal:.2f}: {verdict(ratio, goal)}" if goal else ""
    noisy = " (noisy)" * is_noisy(times[name])
    return [f"  against the fastest variant of PyTorch: {factor(ratio)}{noisy}{goal_text}"]
