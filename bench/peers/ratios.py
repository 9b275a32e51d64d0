"""
PortaNet's time over that of others, and the goals for it.

Ratios are formed within a round, where the competitors ran moments apart, and their median counts: a machine that slows
down between two rounds slows both sides.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from bench.peers.competitors import COMPETITORS, FLOOR, OURS

STEP_MEAN = 0.55
"""Geometric mean of the training steps against PyTorch: at most this; the goal of each stands in `bench.networks`."""
INFERENCE_MEAN = 0.60
"""Geometric mean of inference against PyTorch, at batch sizes 1 and 1000: at most this."""
SKLEARN = 0.50
"""A training step against MLPClassifier, for each dense classifier: at most this."""

Times: TypeAlias = Mapping[str, Any]
"""Competitor by competitor, what :func:`compare` says."""


def compare(blocks: dict[str, list[float]]) -> dict[str, Any]:
    """
    Median time of each competitor, and PortaNet's time over it.

    Parameters
    ----------
    blocks : dict of str to list of float
        For each competitor the median time in each round, in seconds.

    Returns
    -------
    dict
        For each competitor ``"seconds"``, and for all but PortaNet ``"ratio"``: the median over the rounds of PortaNet's
        time over the other's, with its ``"quartiles"``.
    """
    results: dict[str, dict[str, Any]] = {name: {"seconds": statistics.median(times)} for name, times in blocks.items()}
    for name, times in blocks.items():
        if name != OURS:
            ratios = [a / b for a, b in zip(blocks[OURS], times, strict=True)]
            results[name] |= {"ratio": statistics.median(ratios), "quartiles": quartiles(ratios)}
    return results


def quartiles(values: Sequence[float]) -> list[float]:
    """First and third quartile; of a single value, itself."""
    if len(values) == 1:
        return [values[0]] * 2
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return [low, high]


def best(times: Times, library: str = "torch") -> str | None:
    """
    Name the competitor of a library that leaves PortaNet the largest ratio, or None if none took part.

    Examples
    --------
    >>> best({"torch-eager": {"ratio": 0.5}, "torch-fused": {"ratio": 0.6}, "portanet": {}})
    'torch-fused'
    """
    theirs = [name for name in times if name in COMPETITORS and COMPETITORS[name].library == library]
    return max(theirs, key=lambda name: times[name]["ratio"], default=None)


def best_ratio(times: Times, library: str = "torch") -> float | None:
    """PortaNet's time over that of the best competitor of a library, or None if none took part."""
    name = best(times, library)
    return None if name is None else float(times[name]["ratio"])


def share(times: Times, name: str | None) -> float | None:
    """Which share of a competitor's time the matrix products would take that its network asks for."""
    if name is None or name not in times or FLOOR not in times:
        return None
    return float(times[FLOOR]["seconds"] / times[name]["seconds"])


def mean(ratios: Iterable[float | None]) -> float | None:
    """Geometric mean of the ratios that there are."""
    known = [ratio for ratio in ratios if ratio is not None]
    return statistics.geometric_mean(known) if known else None


def verdict(ratio: float | None, goal: float | None) -> str:
    """
    Say whether a goal is met.

    Examples
    --------
    >>> verdict(0.5, 0.6), verdict(0.7, 0.6), verdict(0.7, None)
    ('met', 'NOT met', '')
    """
    if ratio is None or goal is None:
        return ""
    return "met" if ratio <= goal else "NOT met"
