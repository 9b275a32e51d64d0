"""Who takes part."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

OURS, FLOOR = "portanet", "floor"


@dataclass(frozen=True)
class Competitor:
    """
    A way to run networks.

    Parameters
    ----------
    module : str
        File of :mod:`bench.peers`.
    library : str
        What it runs them with, as one imports it.
    options : mapping
        Arguments of the file's functions.
    devices : tuple of str
        Where it is worth a try.
    """

    module: str
    library: str
    options: Mapping[str, Any] = field(default_factory=dict)
    devices: tuple[str, ...] = ("cpu", "cuda")


COMPETITORS: Mapping[str, Competitor] = {
    OURS: Competitor("portanet", "portanet"),
    FLOOR: Competitor("floor", "numpy", devices=("cpu",)),
    "torch-eager": Competitor("torch", "torch"),
    "torch-fused": Competitor("torch", "torch", {"fused": True}),
    "torch-channels-last": Competitor("torch", "torch", {"fused": True, "channels_last": True}),
    "torch-compile": Competitor("torch", "torch", {"fused": True, "compiled": "default"}, devices=("cpu",)),
    "torch-graph": Competitor("torch", "torch", {"fused": True, "graph": True}, devices=("cuda",)),
    "torch-reduce-overhead": Competitor(
        "torch", "torch", {"fused": True, "compiled": "reduce-overhead"}, devices=("cuda",)
    ),
    "sklearn": Competitor("sklearn", "sklearn", devices=("cpu",)),
    "jax": Competitor("jax", "jax"),
}
