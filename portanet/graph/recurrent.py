"""Weights of recurrent layers in the order of the gates of ONNX."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Gates:
    """
    The gates of an operator.

    Parameters
    ----------
    order : tuple of int
        For each gate in ONNX, that in PortaNet.
    attributes : dict of str to object
        With which the operator computes what the layer does.
    """

    order: tuple[int, ...]
    attributes: dict[str, Any] = field(default_factory=dict)


GATES = {
    "RNN": Gates((0,)),
    "GRU": Gates((1, 0, 2), {"linear_before_reset": 1}),
    "LSTM": Gates((0, 3, 1, 2)),
}
"""Gates by operator: r z n of a GRU are z r h in ONNX, and i f g o of an LSTM are i o f c."""


def to_onnx(kind: str, values: np.ndarray) -> np.ndarray:
    """
    Return a weight (in, gates * H) as ONNX's (gates * H, in), or a bias (gates * H) in its order.

    Examples
    --------
    >>> to_onnx("LSTM", np.asarray([1, 2, 3, 4]))
    array([1, 4, 2, 3])
    """
    blocks = values.T.reshape(len(GATES[kind].order), -1, *values.shape[:-1])
    return blocks[list(GATES[kind].order)].reshape(values.T.shape)
