"""
A network to be timed, as plain data: what every competitor can read without importing another's library.

Nothing here knows PortaNet; `bench.networks` makes recipes of PortaNet's networks.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, TypeAlias

import numpy as np

Target: TypeAlias = Literal["labels", "values", "input"]
Config: TypeAlias = dict[str, Any]
"""The constructor call of a layer, loss or optimizer: ``{"type": "Linear", "in_features": 4, ...}``."""


@dataclass(frozen=True)
class Recipe:
    """
    How to build a network and feed it.

    Parameters
    ----------
    id : str
        As in :mod:`bench.networks`.
    layers : tuple of dict
        Constructor calls, in order; channels-last.
    loss, optimizer : dict
        Constructor calls.
    batch_size : int
        Examples a training step.
    input_shape : tuple of int
        Of one example.
    shapes : tuple of tuple of int
        Of the output of each layer, for one example.
    target : {"labels", "values", "input"}
        What the loss compares the output with: class indices, numbers of the output's shape, or the input.
    """

    id: str
    layers: tuple[Config, ...]
    loss: Config
    optimizer: Config
    batch_size: int
    input_shape: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    target: Target

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Of one example."""
        return self.shapes[-1]

    def to_json(self) -> dict[str, Any]:
        """Return what :mod:`json` can write."""
        return asdict(self)

    @classmethod
    def from_json(cls, read: dict[str, Any]) -> Self:
        """Undo :meth:`to_json`."""
        shapes = {"input_shape": tuple(read["input_shape"]), "shapes": tuple(map(tuple, read["shapes"]))}
        return cls(**{**read, "layers": tuple(read["layers"]), **shapes})

    def examples(self, n: int) -> np.ndarray:
        """
        Draw inputs, float32 of shape (n, *input_shape): in [0, 1) with a mean of 0.2, as dark as pictures of digits.

        On brighter noise SGD with the learning rates of the networks diverges, and a step with infinities or with
        denormal numbers takes another time.
        """
        return (np.random.default_rng(0).random((n, *self.input_shape)) ** 4).astype(np.float32)

    def targets(self, x: np.ndarray) -> np.ndarray:
        """Draw a target for each of the inputs ``x``."""
        rng = np.random.default_rng(1)
        if self.target == "labels":
            return rng.integers(self.output_shape[-1], size=len(x))
        return x if self.target == "input" else rng.random((len(x), *self.output_shape)).astype(np.float32)
