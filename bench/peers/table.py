"""What the terminal shows of measurements."""

from collections.abc import Mapping
from typing import Any

from bench.networks import Network
from bench.peers.ratios import best_ratio, share, verdict
from bench.text import columns, duration, factor, mebibytes, percent


def of_network(network: Network, result: Mapping[str, Any]) -> str:
    """
    Set the competitors of a network under one another, the fastest first.

    Parameters
    ----------
    network : Network
        Which.
    result : mapping
        Of :func:`bench.peers.race.run_network`.
    """
    return "\n".join(_task(network, task, result) for task in result["absent"])


def of_costs(costs: Mapping[str, Mapping[str, Any]]) -> str:
    """Set what libraries cost under one another, as :func:`bench.peers.costs.all_costs` gives it."""
    rows = [
        (name, duration(row["import"]), duration(row["first_step"]), mebibytes(row["installed"]))
        for name, row in costs.items()
    ]
    return columns([("library", "import", "start to first step", "installed"), *rows])


def _task(network: Network, task: str, result: Mapping[str, Any]) -> str:
    times, memory = result["tasks"].get(task, {}), result["memory"] if task == "step" else {}
    rows = [(f"{network.id}, {task}", "time", "PortaNet / it", "quartiles", "floor / it", "peak memory")]
    for name, row in sorted(times.items(), key=lambda item: float(item[1]["seconds"])):
        floor = share(times, name)
        rows.append(
            (
                f"  {name}",
                duration(row["seconds"]),
                factor(row["ratio"]) if "ratio" in row else "",
                " to ".join(map(factor, row.get("quartiles", ()))),
                "" if floor is None else percent(floor),
                mebibytes(memory[name]) if name in memory else "",
            )
        )
    absent = [f"  {name}: {reason}" for name, reason in result["absent"][task].items()]
    return "\n".join([columns(rows), *absent, *_summary(times, network.goal if task == "step" else None)])


def _summary(times: Mapping[str, Any], goal: float | None) -> list[str]:
    ratio = best_ratio(times)
    if ratio is None:
        return []
    judged = f", at most {goal:.2f} is {verdict(ratio, goal)}" if goal else ""
    return [f"  against the best of PyTorch: {factor(ratio)}{judged}"]
