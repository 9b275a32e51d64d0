"""PyTorch modules for layers that PyTorch lacks. This module imports PyTorch."""

import math
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


class ChannelsFirst(nn.Module):
    """A module that returns (N, ..., C), within others that take (N, C, ...)."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, x: Any) -> Any:
        """Return the output in the order (N, C, ...)."""
        return self.module(x).movedim(-1, 1)


class States(nn.Module):
    """All states (N, T, H) of a recurrent module of one layer, or the last one (N, H) of each direction, joined."""

    def __init__(self, module: nn.Module, *, return_sequences: bool, go_backwards: bool):
        super().__init__()
        self.module = module
        self.return_sequences, self.go_backwards = return_sequences, go_backwards

    def forward(self, x: Any) -> Any:
        """Return the states."""
        y, last = self.module(x.flip(1) if self.go_backwards else x)
        if self.return_sequences:
            return y.flip(1) if self.go_backwards else y
        h = last[0] if isinstance(last, tuple) else last
        return h.movedim(0, 1).flatten(1)


class SelfAttention(nn.Module):
    """Attention of a sequence (N, T, C) to itself, or a layer of a transformer; it may see no later positions."""

    def __init__(self, module: nn.Module, *, is_causal: bool):
        super().__init__()
        self.module, self.is_causal = module, is_causal

    def forward(self, x: Any) -> Any:
        """Return the output."""
        mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1) if self.is_causal else None
        if isinstance(self.module, nn.MultiheadAttention):
            return self.module(x, x, x, need_weights=False, attn_mask=mask, is_causal=self.is_causal)[0]
        return self.module(x, src_mask=mask, is_causal=self.is_causal)


class PositionalEncoding(nn.Module):
    """``x + p`` with sine waves p, x (N, T, C)."""

    def __init__(self, embedding_dim: int):
        super().__init__()
        self.embedding_dim = embedding_dim

    def forward(self, x: Any) -> Any:
        """Return the sum."""
        even = torch.arange(0, self.embedding_dim, 2, dtype=x.dtype, device=x.device)
        positions = torch.arange(x.shape[1], dtype=x.dtype, device=x.device)
        angles = positions[:, None] * torch.exp(even * (-math.log(10000.0) / self.embedding_dim))
        waves = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
        return x + waves[:, : self.embedding_dim]


class PositionalEmbedding(nn.Module):
    """``x + W[:T]``, x (N, T, C)."""

    def __init__(self, max_len: int, embedding_dim: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(max_len, embedding_dim))

    def forward(self, x: Any) -> Any:
        """Return the sum."""
        return x + self.weight[: x.shape[1]]


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
