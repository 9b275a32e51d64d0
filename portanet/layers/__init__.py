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
from portanet.layers.combine import AutoEncoder, Parallel, Residual
from portanet.layers.conv import Conv1D, Conv2D, Conv3D, ConvTranspose1D, ConvTranspose2D
from portanet.layers.linear import Linear
from portanet.layers.norm import BatchNorm, GroupNorm, LayerNorm, Normalize
from portanet.layers.pooling import AvgPool1D, AvgPool2D, GlobalAvgPool, GlobalMaxPool, MaxPool1D, MaxPool2D, Upsample
from portanet.layers.random import (
    Dropout,
    GaussianNoise,
    RandomCrop,
    RandomFlip,
    RandomRotation,
    RandomShift,
    RandomZoom,
    SpatialDropout,
)
from portanet.layers.sequential import Sequential
from portanet.layers.shape import Flatten, Reshape

__all__ = [
    "ELU",
    "GELU",
    "Activation",
    "AutoEncoder",
    "AvgPool1D",
    "AvgPool2D",
    "BatchNorm",
    "Conv1D",
    "Conv2D",
    "Conv3D",
    "ConvTranspose1D",
    "ConvTranspose2D",
    "Dropout",
    "Flatten",
    "GaussianNoise",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "GroupNorm",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "MaxPool1D",
    "MaxPool2D",
    "Normalize",
    "Parallel",
    "RandomCrop",
    "RandomFlip",
    "RandomRotation",
    "RandomShift",
    "RandomZoom",
    "ReLU",
    "Reshape",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "SpatialDropout",
    "TanH",
    "Upsample",
]
