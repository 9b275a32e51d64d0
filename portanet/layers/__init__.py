"""Layers, one file a family."""

from portanet.layers.activations import (
    ELU,
    GELU,
    Activation,
    LeakyReLU,
    LogSoftmax,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    TanH,
)
from portanet.layers.base import Layer
from portanet.layers.dropout import Dropout
from portanet.layers.linear import Linear
from portanet.layers.sequential import Sequential
from portanet.layers.shape import Flatten, Reshape

__all__ = [
    "ELU",
    "GELU",
    "Activation",
    "Dropout",
    "Flatten",
    "Layer",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "ReLU",
    "Reshape",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "TanH",
]
