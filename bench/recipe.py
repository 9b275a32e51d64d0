"""
A network and its training step as plain data, which every competitor reads without importing PortaNet.

`bench.networks` turns PortaNet's networks into recipes.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, TypeAlias

import numpy as np

Target: TypeAlias = Literal["labels", "values", "input"]
Config: TypeAlias = dict[str, Any]
"""Constructor call of a layer, loss or optimizer: ``{"type": "Linear", "in_features": 4, ...}``."""


@dataclass(frozen=True)
class Recipe:
    """
    Layers, loss, optimizer and data of a network.

    Parameters
    ----------
    id : str
        Name in :mod:`bench.networks`.
    layers : tuple of dict
        Constructor calls, in order; channels-last.
    loss, optimizer : dict
        Constructor calls.
    batch_size : int
        Examples per training step.
    input_shape : tuple of int
        Shape of one example.
    shapes : tuple of tuple of int
        Output shape of each layer for one example.
    target : {"labels", "values", "input"}
        Target of the loss: class indices, values of the output's shape, or the input.
    n_ids : int, optional
        If given, inputs are integers from 0 to n_ids - 1.
    """

    id: str
    layers: tuple[Config, ...]
    loss: Config
    optimizer: Config
    batch_size: int
    input_shape: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    target: Target
    n_ids: int | None = None

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Output shape for one example."""
        return self.shapes[-1]

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary that :mod:`json` can write."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Return the recipe that :meth:`to_json` wrote."""
        shapes = {"input_shape": tuple(data["input_shape"]), "shapes": tuple(map(tuple, data["shapes"]))}
        return cls(**{**data, "layers": tuple(data["layers"]), **shapes})

    def examples(self, n: int) -> np.ndarray:
        """
        Draw random ids, or inputs in [0, 1), float32 of shape (n, *input_shape), with mean 0.2 as in images of digits.

        With a larger mean, SGD diverges at the learning rates of the networks, and infinities or denormal numbers
        change the time of a step.
        """
        if self.n_ids is not None:
            return np.random.default_rng(0).integers(self.n_ids, size=(n, *self.input_shape))
        return (np.random.default_rng(0).random((n, *self.input_shape)) ** 4).astype(np.float32)

    def targets(self, x: np.ndarray) -> np.ndarray:
        """Draw a random target for each of the inputs ``x``."""
        rng = np.random.default_rng(1)
        if self.target == "labels":
            return rng.integers(self.output_shape[-1], size=(len(x), *self.output_shape[:-1]))
        return x if self.target == "input" else rng.random((len(x), *self.output_shape)).astype(np.float32)
