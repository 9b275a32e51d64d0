"""Which PyTorch module each layer for sequences becomes; its inner module takes (N, T, C)."""

from typing import Any

from portanet import layers
from portanet.interop.table import Binding, Context, PaddedBinding, RowsBinding, builds
from portanet.layers.base import Layer


def _check_arguments(layer: Any) -> None:
    for name in ("mask_zeros", "return_state"):
        if getattr(layer, name, False):
            raise ValueError(f"{layer!r} has no counterpart in PyTorch: its {name} must be False")


@builds(layers.Embedding)
def build_embedding(context: Context, layer: layers.Embedding) -> Any:
    """Return the module, in which the vector of ``padding_idx`` is zero."""
    module = context.nn.Embedding(layer.num_embeddings, layer.embedding_dim, padding_idx=layer.padding_idx)
    kind = Binding if layer.padding_idx is None else PaddedBinding
    context.bindings.append(kind(layer.weight, module, "weight", layer.weight.shape, (0, 1)))
    context.ndim, context.channels = context.ndim_at(layer) + 1, layer.embedding_dim
    return context.torch_modules.ChannelsFirst(module)


@builds(layers.PositionalEncoding)
def build_positional_encoding(context: Context, layer: layers.PositionalEncoding) -> Any:
    """Return a module of PortaNet's: PyTorch has none."""
    _check_arguments(layer)
    return context.torch_modules.ChannelsLast(context.torch_modules.PositionalEncoding(layer.embedding_dim))


@builds(layers.PositionalEmbedding)
def build_positional_embedding(context: Context, layer: layers.PositionalEmbedding) -> Any:
    """Return a module of PortaNet's: PyTorch has none."""
    _check_arguments(layer)
    module = context.torch_modules.PositionalEmbedding(layer.max_len, layer.embedding_dim)
    context.bind(layer, module)
    return context.torch_modules.ChannelsLast(module)


@builds(layers.RNN, layers.GRU, layers.LSTM)
def build_recurrent(context: Context, layer: Any) -> Any:
    """Transpose the weights (in, out) to (out, in); the gates have the same order in PyTorch."""
    return _recurrent(context, (layer,), go_backwards=layer.go_backwards)


@builds(layers.Bidirectional)
def build_bidirectional(context: Context, layer: layers.Bidirectional) -> Any:
    """Return one module with both directions."""
    return _recurrent(context, layer.branches)


def _recurrent(context: Context, directions: tuple[Any, ...], *, go_backwards: bool = False) -> Any:
    first = directions[0]
    _check_arguments(first)
    kind = getattr(context.nn, type(first).__name__)
    module = kind(first.input_size, first.hidden_size, batch_first=True, bidirectional=len(directions) > 1)
    for layer, suffix in zip(directions, ("_l0", "_l0_reverse"), strict=False):
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            array = getattr(layer, name)
            axes = (1, 0) if len(array.shape) == 2 else (0,)
            context.bindings.append(Binding(array, module, name + suffix, array.shape, axes))
    context.ndim, context.channels = 3 if first.return_sequences else 2, first.hidden_size * len(directions)
    states = context.torch_modules.States(module, return_sequences=first.return_sequences, go_backwards=go_backwards)
    return context.torch_modules.ChannelsLast(states)


@builds(layers.MultiHeadAttention)
def build_attention(context: Context, layer: layers.MultiHeadAttention) -> Any:
    """Return the attention of a sequence to itself."""
    _check_arguments(layer)
    module = context.nn.MultiheadAttention(
        layer.embed_dim, layer.num_heads, dropout=layer.dropout, bias=layer.bias, batch_first=True
    )
    _bind_attention(context, layer, module)
    return context.torch_modules.ChannelsLast(context.torch_modules.SelfAttention(module, is_causal=layer.is_causal))


def _bind_attention(context: Context, layer: layers.MultiHeadAttention, module: Any) -> None:
    """Bind the three projections to rows of one tensor."""
    for i, projection in enumerate((layer.q_proj, layer.k_proj, layer.v_proj)):
        rows = slice(i * layer.embed_dim, (i + 1) * layer.embed_dim)
        for name, axes in (("weight", (1, 0)), ("bias", (0,))):
            if (array := getattr(projection, name)) is not None:
                context.bindings.append(RowsBinding(array, module, f"in_proj_{name}", array.shape, axes, rows))
    context.bind(layer.out_proj, module.out_proj, weight=(1, 0))


@builds(layers.TransformerBlock)
def build_transformer_block(context: Context, layer: layers.TransformerBlock) -> Any:
    """Return PyTorch's layer with the normalization first."""
    _check_arguments(layer)
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
    return context.torch_modules.ChannelsLast(context.torch_modules.SelfAttention(module, is_causal=layer.is_causal))


def parts(residual: layers.Residual) -> list[Any]:
    """Return the layers of the branch of one half of a transformer block."""
    branch: Layer = residual.branch
    return [inner for _, inner in branch.named_children()]
