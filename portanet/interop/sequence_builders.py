"""Which PyTorch module each layer for sequences becomes; all take (N, T, C) inside."""

from typing import Any

from portanet import layers
from portanet.interop.table import Binding, Context, PaddedBinding, RowsBinding, builds
from portanet.layers.base import Layer


def _refuse_mask(layer: Any) -> None:
    if layer.mask_zeros:
        raise ValueError(f"{layer!r} has no counterpart in PyTorch: its mask_zeros must be False")


@builds(layers.Embedding)
def build_embedding(context: Context, layer: layers.Embedding) -> Any:
    """The vector of ``padding_idx`` is zero."""
    from portanet.interop import torch_modules

    module = context.nn.Embedding(layer.num_embeddings, layer.embedding_dim, padding_idx=layer.padding_idx)
    kind = Binding if layer.padding_idx is None else PaddedBinding
    context.bindings.append(kind(layer.weight, module, "weight", layer.weight.shape, (0, 1)))
    if context.ndim is None:
        raise ValueError(f"the number of axes at {layer!r} is not known: give input_shape")
    context.ndim, context.channels = context.ndim + 1, layer.embedding_dim
    return torch_modules.ChannelsFirst(module)


@builds(layers.PositionalEncoding)
def build_positional_encoding(context: Context, layer: layers.PositionalEncoding) -> Any:
    """A module of PortaNet's."""
    from portanet.interop import torch_modules

    _refuse_mask(layer)
    return torch_modules.ChannelsLast(torch_modules.PositionalEncoding(layer.embedding_dim))


@builds(layers.PositionalEmbedding)
def build_positional_embedding(context: Context, layer: layers.PositionalEmbedding) -> Any:
    """A module of PortaNet's."""
    from portanet.interop import torch_modules

    _refuse_mask(layer)
    module = torch_modules.PositionalEmbedding(layer.max_len, layer.embedding_dim)
    context.bind(layer, module)
    return torch_modules.ChannelsLast(module)


@builds(layers.RNN, layers.GRU, layers.LSTM)
def build_recurrent(context: Context, layer: Any) -> Any:
    """The weights (in, out) are (out, in) in PyTorch; the gates have the same order."""
    return _recurrent(context, (layer,), go_backwards=layer.go_backwards)


@builds(layers.Bidirectional)
def build_bidirectional(context: Context, layer: layers.Bidirectional) -> Any:
    """One module with both directions."""
    return _recurrent(context, layer.branches)


def _recurrent(context: Context, directions: tuple[Any, ...], *, go_backwards: bool = False) -> Any:
    from portanet.interop import torch_modules

    first = directions[0]
    _refuse_mask(first)
    kind = getattr(context.nn, type(first).__name__)
    module = kind(first.input_size, first.hidden_size, batch_first=True, bidirectional=len(directions) > 1)
    for layer, suffix in zip(directions, ("_l0", "_l0_reverse"), strict=False):
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            kept = getattr(layer, name)
            axes = (1, 0) if len(kept.shape) == 2 else (0,)
            context.bindings.append(Binding(kept, module, name + suffix, kept.shape, axes))
    context.ndim, context.channels = 3 if first.return_sequences else 2, first.hidden_size * len(directions)
    states = torch_modules.States(module, return_sequences=first.return_sequences, go_backwards=go_backwards)
    return torch_modules.ChannelsLast(states)


@builds(layers.MultiHeadAttention)
def build_attention(context: Context, layer: layers.MultiHeadAttention) -> Any:
    """Of a sequence to itself."""
    from portanet.interop import torch_modules

    _refuse_mask(layer)
    module = context.nn.MultiheadAttention(
        layer.embed_dim, layer.num_heads, dropout=layer.dropout, bias=layer.bias, batch_first=True
    )
    _bind_attention(context, layer, module)
    return torch_modules.ChannelsLast(torch_modules.SelfAttention(module, is_causal=layer.is_causal))


def _bind_attention(context: Context, layer: layers.MultiHeadAttention, module: Any) -> None:
    """PyTorch has the three projections of the input in one array."""
    for i, projection in enumerate((layer.q_proj, layer.k_proj, layer.v_proj)):
        rows = slice(i * layer.embed_dim, (i + 1) * layer.embed_dim)
        for name, axes in (("weight", (1, 0)), ("bias", (0,))):
            if (kept := getattr(projection, name)) is not None:
                context.bindings.append(RowsBinding(kept, module, f"in_proj_{name}", kept.shape, axes, rows))
    context.bind(layer.out_proj, module.out_proj, weight=(1, 0))


@builds(layers.TransformerBlock)
def build_transformer_block(context: Context, layer: layers.TransformerBlock) -> Any:
    """PyTorch's layer with the normalization first."""
    from portanet.interop import torch_modules

    _refuse_mask(layer)
    module = context.nn.TransformerEncoderLayer(
        *(layer.d_model, layer.num_heads, layer.dim_feedforward, layer.dropout),
        activation="gelu",
        batch_first=True,
        norm_first=True,
    )
    norm1, attention, *_ = parts(layer.attention)
    norm2, linear1, _, _, linear2, _ = parts(layer.feed_forward)
    _bind_attention(context, attention, module.self_attn)
    for inner, other in ((norm1, module.norm1), (norm2, module.norm2)):
        context.bind(inner, other)
    for inner, other in ((linear1, module.linear1), (linear2, module.linear2)):
        context.bind(inner, other, weight=(1, 0))
    return torch_modules.ChannelsLast(torch_modules.SelfAttention(module, is_causal=layer.is_causal))


def parts(residual: layers.Residual) -> list[Any]:
    """Return the layers of the branch of one half of a transformer block."""
    branch: Layer = residual.branch
    return [inner for _, inner in branch.named_children()]
