"""Who takes part."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

OURS, FLOOR = "portanet", "floor"


@dataclass(frozen=True)
class Contender:
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


CONTENDERS: Mapping[str, Contender] = {
    OURS: Contender("portanet", "portanet"),
    FLOOR: Contender("floor", "numpy", devices=("cpu",)),
    "torch-eager": Contender("torch", "torch"),
    "torch-fused": Contender("torch", "torch", {"fused": True}),
    "torch-channels-last": Contender("torch", "torch", {"fused": True, "channels_last": True}),
    "torch-compile": Contender("torch", "torch", {"fused": True, "compiled": "default"}, devices=("cpu",)),
    "torch-graph": Contender("torch", "torch", {"fused": True, "graph": True}, devices=("cuda",)),
    "torch-reduce-overhead": Contender(
        "torch", "torch", {"fused": True, "compiled": "reduce-overhead"}, devices=("cuda",)
    ),
    "sklearn": Contender("sklearn", "sklearn", devices=("cpu",)),
    "jax": Contender("jax", "jax"),
}
