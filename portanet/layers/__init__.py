"""Layers, one file a family."""

from typing import TYPE_CHECKING, Any

from portanet.layers.activations import (
    GELU,
    GLU,
    Activation,
    LogSigmoid,
    LogSoftmax,
    Mish,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    TanH,
)
from portanet.layers.adaptive import (
    AdaptiveAvgPool1D,
    AdaptiveAvgPool2D,
    AdaptiveAvgPool3D,
    AdaptiveMaxPool1D,
    AdaptiveMaxPool2D,
    AdaptiveMaxPool3D,
)
from portanet.layers.attention import MultiHeadAttention, TransformerBlock
from portanet.layers.base import Layer
from portanet.layers.combine import AutoEncoder, Parallel, Residual
from portanet.layers.conv import Conv1D, Conv2D, Conv3D, ConvTranspose1D, ConvTranspose2D, ConvTranspose3D
from portanet.layers.embedding import Embedding, PositionalEmbedding, PositionalEncoding
from portanet.layers.graph import Graph
from portanet.layers.linear import Linear
from portanet.layers.merge import Add, Concatenate, Dot, Multiply
from portanet.layers.norm import BatchNorm, GroupNorm, InstanceNorm, LayerNorm, RMSNorm
from portanet.layers.padding import Pad
from portanet.layers.piecewise import CELU, ELU, SELU, Hardswish, Hardtanh, LeakyReLU, PReLU, ReLU, ReLU6
from portanet.layers.pooling import (
    AvgPool1D,
    AvgPool2D,
    AvgPool3D,
    GlobalAvgPool,
    GlobalMaxPool,
    MaxPool1D,
    MaxPool2D,
    MaxPool3D,
)
from portanet.layers.preprocessing import Normalize, Rescale
from portanet.layers.random import (
    Dropout,
    GaussianNoise,
    RandomCrop,
    RandomFlip,
    RandomRotation,
    RandomTranslation,
    RandomZoom,
    SpatialDropout,
)
from portanet.layers.recurrent import GRU, LSTM, RNN, Bidirectional, Recurrent
from portanet.layers.sequential import Sequential
from portanet.layers.shape import Flatten, Reshape
from portanet.layers.upsample import Upsample
from portanet.names import unknown_name

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "GRU",
    "LSTM",
    "RNN",
    "SELU",
    "Activation",
    "AdaptiveAvgPool1D",
    "AdaptiveAvgPool2D",
    "AdaptiveAvgPool3D",
    "AdaptiveMaxPool1D",
    "AdaptiveMaxPool2D",
    "AdaptiveMaxPool3D",
    "Add",
    "AutoEncoder",
    "AvgPool1D",
    "AvgPool2D",
    "AvgPool3D",
    "BatchNorm",
    "Bidirectional",
    "Concatenate",
    "Conv1D",
    "Conv2D",
    "Conv3D",
    "ConvTranspose1D",
    "ConvTranspose2D",
    "ConvTranspose3D",
    "Dot",
    "Dropout",
    "Embedding",
    "Flatten",
    "GaussianNoise",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "Graph",
    "GroupNorm",
    "Hardswish",
    "Hardtanh",
    "InstanceNorm",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSigmoid",
    "LogSoftmax",
    "MaxPool1D",
    "MaxPool2D",
    "MaxPool3D",
    "Mish",
    "MultiHeadAttention",
    "Multiply",
    "Normalize",
    "PReLU",
    "Pad",
    "Parallel",
    "PositionalEmbedding",
    "PositionalEncoding",
    "RMSNorm",
    "RandomCrop",
    "RandomFlip",
    "RandomRotation",
    "RandomTranslation",
    "RandomZoom",
    "ReLU",
    "ReLU6",
    "Recurrent",
    "Rescale",
    "Reshape",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "SpatialDropout",
    "TanH",
    "TransformerBlock",
    "Upsample",
]

if not TYPE_CHECKING:  # a type checker would take every name for one of this module

    def __getattr__(name: str) -> Any:
        raise unknown_name(__name__, name, __all__)
