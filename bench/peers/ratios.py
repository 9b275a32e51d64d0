"""
Ratios of PortaNet's time to that of others, and the goals for them.

A ratio compares two times of the same round, which are moments apart, and the median over the rounds counts: a machine
that slows down between two rounds slows down both sides.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from bench.peers.competitors import COMPETITORS, GEMM_BOUND, OURS

STEP_MEAN = 0.38
"""Largest allowed geometric mean of training steps against PyTorch; `bench.networks` has the goal of each network."""
INFERENCE_MEANS = {"1": 0.40, "1000": 0.75, "1 and 1000": 0.55}
"""Largest allowed geometric means of inference against PyTorch, by batch size."""
SKLEARN = 0.25
"""Largest allowed ratio of a training step to that of MLPClassifier, for each dense classifier."""
NOISY = 0.15
"""A ratio is noisy if its quartiles are further apart than this fraction of it."""

Times: TypeAlias = Mapping[str, Any]
"""Result of :func:`compare`, by competitor."""


def compare(blocks: dict[str, list[float]]) -> dict[str, Any]:
    """
    Compute the median time of each competitor, and the ratio of PortaNet's time to it.

    Parameters
    ----------
    blocks : dict of str to list of float
        Median time of each competitor in each round, in seconds.

    Returns
    -------
    dict
        For each competitor ``"seconds"``; except for PortaNet also ``"ratio"``, the median over the rounds of
        PortaNet's time divided by the competitor's, and its ``"quartiles"``.
    """
    results: dict[str, dict[str, Any]] = {name: {"seconds": statistics.median(times)} for name, times in blocks.items()}
    for name, times in blocks.items():
        if name != OURS:
            results[name] |= paired_ratio(blocks[OURS], times)
    return results


def paired_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> dict[str, Any]:
    """
    Compute the median and the quartiles of ratios within a round.

    Examples
    --------
    >>> paired_ratio([1.0, 10.0, 3.0], [2.0, 20.0, 4.0])
    {'ratio': 0.5, 'quartiles': [0.5, 0.625]}
    """
    ratios = [a / b for a, b in zip(numerators, denominators, strict=True)]
    return {"ratio": statistics.median(ratios), "quartiles": quartiles(ratios)}


def quartiles(values: Sequence[float]) -> list[float]:
    """Return the first and the third quartile; of a single value, the value twice."""
    if len(values) == 1:
        return [values[0]] * 2
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return [low, high]


def is_noisy(row: Mapping[str, Any]) -> bool:
    """
    Whether the quartiles of a ratio are more than 15 % of the ratio apart.

    Examples
    --------
    >>> is_noisy({"ratio": 0.8, "quartiles": [0.75, 0.85]}), is_noisy({"ratio": 0.8, "quartiles": [0.7, 0.85]})
    (False, True)
    """
    low, high = row["quartiles"]
    return bool(high - low > NOISY * row["ratio"])


def best(times: Times, library: str = "torch") -> str | None:
    """
    Return the fastest competitor of a library, that with the largest ratio, or None if there is none.

    Examples
    --------
    >>> best({"torch-eager": {"ratio": 0.5}, "torch-fused": {"ratio": 0.6}, "portanet": {}})
    'torch-fused'
    """
    theirs = [name for name in times if name in COMPETITORS and COMPETITORS[name].library == library]
    return max(theirs, key=lambda name: times[name]["ratio"], default=None)


def best_ratio(times: Times, library: str = "torch") -> float | None:
    """Return PortaNet's ratio to the fastest competitor of a library, or None if there is none."""
    name = best(times, library)
    return None if name is None else float(times[name]["ratio"])


def gemm_share(times: Times, name: str | None) -> float | None:
    """Return the GEMM bound divided by a competitor's time, or None if one of them is missing."""
    if name is None or name not in times or GEMM_BOUND not in times:
        return None
    return float(times[GEMM_BOUND]["seconds"] / times[name]["seconds"])


def mean(ratios: Iterable[float | None]) -> float | None:
    """Return the geometric mean of the ratios that are not None, or None if there are none."""
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
