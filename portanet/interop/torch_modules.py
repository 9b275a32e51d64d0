"""PyTorch modules for layers that PyTorch lacks. This module imports PyTorch."""

from typing import Any

import numpy as np
import torch
from torch import nn


class Residual(nn.Module):
    """``x + branch(x)``, or ``projection(x) + branch(x)``."""

    def __init__(self, branch: nn.Module, projection: nn.Module | None):
        super().__init__()
        self.branch, self.projection = branch, projection

    def forward(self, x: Any) -> Any:
        """Return the sum."""
        return (x if self.projection is None else self.projection(x)) + self.branch(x)


class Parallel(nn.Sequential):
    """Outputs of several branches, joined along the channels."""

    def forward(self, x: Any) -> Any:
        """Return the outputs, joined."""
        return torch.cat([branch(x) for branch in self], dim=1)


class AutoEncoder(nn.Module):
    """``decoder(encoder(x))``."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, x: Any) -> Any:
        """Return the reconstruction."""
        return self.decoder(self.encoder(x))


class ChannelsLast(nn.Module):
    """A module that takes (N, ..., C), within others that take (N, C, ...)."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, x: Any) -> Any:
        """Return the output in the order (N, C, ...)."""
        return self.module(x.movedim(1, -1)).movedim(-1, 1)


class ReshapeChannelsLast(nn.Module):
    """
    Give every example a new shape, in the order of (N, ..., C).

    Inputs of fewer than ``min_ndim`` axes have no channels.
    """

    def __init__(self, *shape: int, min_ndim: int = 3):
        super().__init__()
        self.shape, self.min_ndim = shape, min_ndim

    def forward(self, x: Any) -> Any:
        """Return the output in the order (N, C, ...)."""
        rows = x.movedim(1, -1) if x.ndim >= self.min_ndim else x
        y = rows.reshape(len(x), *self.shape)
        return y.movedim(-1, 1) if y.ndim > 2 else y


class Rescale(nn.Module):
    """``scale x + offset``."""

    def __init__(self, scale: float, offset: float):
        super().__init__()
        self.scale, self.offset = scale, offset

    def forward(self, x: Any) -> Any:
        """Return the scaled input."""
        return x * self.scale + self.offset


class Normalize(nn.Module):
    """``(x - mean) / std`` of each channel."""

    mean: Any
    std: Any

    def __init__(self, num_features: int):
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(np.zeros(num_features, "float32")))
        self.register_buffer("std", torch.from_numpy(np.ones(num_features, "float32")))

    def forward(self, x: Any) -> Any:
        """Return the normalized input."""
        shape = (-1, *(1,) * (x.ndim - 2))
        return (x - self.mean.reshape(shape)) / self.std.reshape(shape)
