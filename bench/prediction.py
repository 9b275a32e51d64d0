"""
What a cluster would reach, predicted from the steps that were measured in one process.

A step of n nodes takes ``computation + 2 (n - 1) / n bytes / bandwidth + 2 latency log₂ n``: an all-reduce of the
gradient by recursive halving and doubling, after the computation.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from bench.text import duration


class Link(NamedTuple):
    """How fast two nodes exchange data."""

    bandwidth: float
    """Bytes a second."""
    latency: float
    """Seconds of a message."""


CPU_LINK, GPU_LINK = Link(12.5e9, 1e-5), Link(50e9, 1e-5)
"""Assumed: 100 Gbit/s between machines, and 400 Gbit/s between GPUs."""

NODES, GPUS = (8, 32, 128, 512), (8, 16, 32, 64)

EFFICIENCY = 0.9
"""The share of its own speed that a GPU keeps, in the table for GPUs."""

NODES_HEADER = ("network", *(f"{n} nodes" for n in NODES))
GPUS_HEADER = ("network", *(f"{n} GPUs" for n in GPUS))


def exchange_seconds(n_bytes: float, n: int, link: Link) -> float:
    """
    Return the predicted time of an all-reduce.

    Examples
    --------
    >>> exchange_seconds(12.5e6, 1, CPU_LINK), round(exchange_seconds(12.5e6, 8, CPU_LINK), 5)
    (0.0, 0.00181)
    """
    return 2 * (n - 1) / n * n_bytes / link.bandwidth + 2 * link.latency * math.log2(n)


def gain(step: float, n_bytes: float, n: int, link: Link) -> float:
    """
    Return how many times as many examples a second n nodes train on, if each has a whole batch.

    Examples
    --------
    >>> round(gain(0.01, 12.5e6, 8, CPU_LINK), 1)
    6.8
    """
    return n * step / (step + exchange_seconds(n_bytes, n, link))


def node_rows(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the gains of each network on CPU nodes, whose step is that of two threads here."""
    rows = []
    for name, cases in found.items():
        step, n_bytes = cases["two threads"]["step"], cases["two threads"]["bytes"]
        rows.append((name, *(f"{gain(step, n_bytes, n, CPU_LINK):.0f}" for n in NODES)))
    return rows


def gpu_rows(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the shortest step of each network with which GPUs keep :data:`EFFICIENCY` of their speed."""
    share = EFFICIENCY / (1 - EFFICIENCY)
    rows = []
    for name, cases in found.items():
        exchanges = [exchange_seconds(cases["two threads"]["bytes"], n, GPU_LINK) for n in GPUS]
        rows.append((name, *(duration(share * seconds) for seconds in exchanges)))
    return rows


def figure(found: Mapping[str, Any]) -> Any:
    """
    Draw the predicted gains, on CPU nodes from the measured step, on GPUs over the length of a step.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(11.0, 4.2), layout="constrained")
    nodes, gpus = drawing.subplots(1, 2)
    counts, steps = [2**i for i in range(10)], [10 ** (-5 + i / 20) for i in range(61)]
    for i, (name, cases) in enumerate(found.items()):
        step, n_bytes = cases["two threads"]["step"], cases["two threads"]["bytes"]
        nodes.plot(counts, [gain(step, n_bytes, n, CPU_LINK) for n in counts], ".-", color=f"C{i}", label=name)
        for n, style in ((GPUS[0], "-"), (GPUS[-1], "--")):
            label = f"{name}, {n} GPUs"
            kept = [gain(seconds, n_bytes, n, GPU_LINK) / n for seconds in steps]
            gpus.plot([1e3 * seconds for seconds in steps], kept, style, color=f"C{i}", label=label)
    nodes.plot(counts, counts, ":", color="black", linewidth=0.8, label="as many as nodes")
    nodes.set(xscale="log", yscale="log", title="predicted, not measured: CPU nodes", xlabel="nodes")
    nodes.set(ylabel="examples a second / those of one node")
    gpus.set(xscale="log", title="predicted, not measured: GPUs", xlabel="time of a step on one GPU (ms)")
    gpus.set(ylabel="share of its speed that a GPU keeps", ylim=(0, 1))
    for axes in (nodes, gpus):
        axes.title.set_fontsize("medium")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, handlelength=3)
    nodes.yaxis.set_major_formatter("{x:g}")
    return drawing
