"""The competitors."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

OURS, GEMM_BOUND = "portanet", "gemm-bound"

PRECISIONS = ("float32", "tf32")
"""
Of products and convolutions on a GPU, for all libraries alike.

Left to themselves they differ: PyTorch's convolutions and JAX's products are in TF32, other products in float32.
"""


@dataclass(frozen=True)
class Competitor:
    """
    A library, and the options to run networks with.

    Parameters
    ----------
    module : str
        Module of :mod:`bench.peers`.
    library : str
        Import name of the library.
    options : mapping
        Keyword arguments for the functions of the module.
    devices : tuple of str
        Devices on which the competitor runs by default.
    """

    module: str
    library: str
    options: Mapping[str, Any] = field(default_factory=dict)
    devices: tuple[str, ...] = ("cpu", "cuda")


COMPETITORS: Mapping[str, Competitor] = {
    OURS: Competitor("portanet", "portanet"),
    GEMM_BOUND: Competitor("gemm_bound", "numpy", devices=("cpu",)),
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
