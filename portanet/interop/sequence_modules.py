"""Modules of PyTorch for sequences: which layers each becomes."""

from typing import Any

import numpy as np

from portanet import layers
from portanet.graph import Flow, Node, channels_first_axes, import_node, imports
from portanet.interop.modules import host, of_module
from portanet.interop.sequence_builders import parts
from portanet.layers.base import Layer
from portanet.layers.recurrent import Recurrent
from portanet.parameters import Parameter

RECURRENT: dict[str, type[Recurrent]] = {"RNN": layers.RNN, "GRU": layers.GRU, "LSTM": layers.LSTM}
"""Layers by the names of modules."""

ALL_STATES, LAST_STATE = "torch.all_states", "torch.last_state"
"""Operators that take all states, or the last one, of a recurrent module."""


def _set(flow: Flow, **arrays: tuple[Parameter | None, Any]) -> None:
    """Give parameters the values of tensors, transposed if they are matrices."""
    for name, (array, tensor) in arrays.items():
        values = host(tensor).T
        if array is None or array.shape != values.shape:
            raise ValueError(f"its {name} has shape {values.shape}, not {None if array is None else array.shape}")
        flow.arrays[array] = values


def _set_linear(flow: Flow, layer: layers.Linear, weight: Any, bias: Any) -> None:
    _set(flow, weight=(layer.weight, weight), **({} if bias is None else {"bias": (layer.bias, bias)}))


@of_module("Embedding")
def import_embedding(flow: Flow, node: Node, module: Any) -> None:
    """Take the vectors of ids."""
    weight = host(module.weight)
    if module.max_norm is not None:
        raise node.error(f"its max_norm is {module.max_norm}, not None")
    if module.scale_grad_by_freq:
        raise node.error("its scale_grad_by_freq is True: PortaNet does not divide gradients by counts of ids")
    if module.padding_idx is not None and np.any(weight[module.padding_idx] != 0):
        raise node.error("its vector of padding_idx is not zero")
    flow.need_channels_last(node)
    flow.add(layers.Embedding(*weight.shape, padding_idx=module.padding_idx), weight=weight)
    flow.axes = tuple(range(len(flow.shape) + 1))


@of_module(*RECURRENT)
def import_recurrent(flow: Flow, node: Node, module: Any) -> None:
    """Append a layer, or both directions of one, for each layer of the module; the last one returns all states."""
    if not module.batch_first or len(node.inputs) > 1:
        why = "it takes a first state" if module.batch_first else "its batch_first is False: it takes (T, N, C)"
        raise node.error(why)
    if getattr(module, "proj_size", 0) or getattr(module, "nonlinearity", "tanh") != "tanh":
        raise node.error("its proj_size is not 0, or its nonlinearity not 'tanh'")
    flow.need_channels_last(node)
    for i in range(module.num_layers):
        if i and module.dropout:
            flow.add(layers.Dropout(module.dropout))
        layer = RECURRENT[type(module).__name__](flow.shape[-1], module.hidden_size, return_sequences=True)
        both = layers.Bidirectional(layer) if module.bidirectional else None
        for direction, suffix in zip((layer,) if both is None else both.branches, ("", "_reverse"), strict=False):
            _set_states(flow, direction, module, f"_l{i}{suffix}")
        flow.add(layer if both is None else both)


def _set_states(flow: Flow, layer: Any, module: Any, suffix: str) -> None:
    """Give one direction its weights; a module without biases has zeros."""
    _set(flow, **{name: (getattr(layer, name), getattr(module, name + suffix)) for name in ("weight_ih", "weight_hh")})
    for name in ("bias_ih", "bias_hh"):
        array = getattr(layer, name)
        zeros = np.zeros(array.shape, flow.arrays[layer.weight_ih].dtype)
        flow.arrays[array] = host(getattr(module, name + suffix)) if module.bias else zeros


@imports(ALL_STATES)
def import_all_states(flow: Flow, node: Node) -> None:
    """Leave the value as it is: the layers return all states."""


@imports(LAST_STATE)
def import_last_state(flow: Flow, node: Node) -> None:
    """Let the last layer return its last state only."""
    last = flow.layers[-1] if flow.layers else None
    if not isinstance(last, Recurrent) or last.go_backwards:
        raise node.error("it takes the last position of what is not one direction of an RNN, GRU or LSTM")
    flow.layers[-1] = _copied(flow, last, return_sequences=False)
    flow.shape, flow.axes = flow.shape[-1:], (0, 1)


def _copied(flow: Flow, layer: Any, **arguments: Any) -> Layer:
    """Return a recurrent layer, or both directions of one, with other arguments and the same weights."""
    if isinstance(layer, layers.Bidirectional):
        first: Any = layer.layer
        copy: Any = layers.Bidirectional(type(first)(**first.arguments() | arguments))
        pairs = [*zip(copy.branches, layer.branches, strict=True)]
    else:
        copy = type(layer)(**layer.arguments() | arguments)
        pairs = [(copy, layer)]
    for new, old in pairs:
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            flow.arrays[getattr(new, name)] = flow.arrays.pop(getattr(old, name))
    return copy  # type: ignore[no-any-return]


@of_module("States")
def import_states(flow: Flow, node: Node, module: Any) -> None:
    """Read a recurrent module of one layer, which :func:`portanet.interop.to_torch` made."""
    _import_inner(flow, node, module.module)
    given = {"return_sequences": module.return_sequences, "go_backwards": module.go_backwards}
    flow.layers[-1] = _copied(flow, flow.layers[-1], **given)
    if not module.return_sequences:
        flow.shape, flow.axes = flow.shape[-1:], (0, 1)


def _import_inner(flow: Flow, node: Node, module: Any, **attributes: Any) -> None:
    """Append the layers of a module inside of another."""
    kind = f"torch.nn.{type(module).__name__}"
    import_node(flow, Node(node.title, kind, node.inputs, node.outputs, {"module": module, **attributes}, [None]))


@of_module("ChannelsFirst")
def import_channels_first(flow: Flow, node: Node, module: Any) -> None:
    """Read the module inside, which returns (N, ..., C)."""
    _import_inner(flow, node, module.module)
    flow.axes = channels_first_axes(flow.ndim)


@of_module("PositionalEncoding")
def import_positional_encoding(flow: Flow, node: Node, module: Any) -> None:
    """Add sine waves."""
    flow.need_channels_last(node)
    flow.add(layers.PositionalEncoding(module.embedding_dim))


@of_module("PositionalEmbedding")
def import_positional_embedding(flow: Flow, node: Node, module: Any) -> None:
    """Add vectors of positions."""
    flow.need_channels_last(node)
    weight = host(module.weight)
    flow.add(layers.PositionalEmbedding(*weight.shape), weight=weight)


@of_module("SelfAttention")
def import_self_attention(flow: Flow, node: Node, module: Any) -> None:
    """Read attention or a block of a transformer; with ``is_causal``, no later positions are seen."""
    _import_inner(flow, node, module.module, is_causal=module.is_causal)


@of_module("MultiheadAttention")
def import_attention(flow: Flow, node: Node, module: Any) -> None:
    """Append the attention of a sequence to itself."""
    _check_attention(node, module)
    flow.need_channels_last(node)
    layer = layers.MultiHeadAttention(
        *(module.embed_dim, module.num_heads),
        dropout=module.dropout,
        is_causal=node.get("is_causal", False),
        bias=module.in_proj_bias is not None,
    )
    _set_attention(flow, layer, module)
    flow.add(layer)


def _check_attention(node: Node, module: Any) -> None:
    if not module.batch_first:
        raise node.error("its batch_first is False: it takes (T, N, C)")
    if module.in_proj_weight is None or module.bias_k is not None or module.add_zero_attn:
        raise node.error("its kdim, vdim, add_bias_kv or add_zero_attn is not the default")


def _set_attention(flow: Flow, layer: layers.MultiHeadAttention, module: Any) -> None:
    """Divide the tensor that holds the three projections of the input."""
    weights = module.in_proj_weight.chunk(3)
    biases = (None,) * 3 if module.in_proj_bias is None else module.in_proj_bias.chunk(3)
    for projection, weight, bias in zip((layer.q_proj, layer.k_proj, layer.v_proj), weights, biases, strict=True):
        _set_linear(flow, projection, weight, bias)
    _set_linear(flow, layer.out_proj, module.out_proj.weight, module.out_proj.bias)


@of_module("TransformerEncoderLayer")
def import_transformer_layer(flow: Flow, node: Node, module: Any) -> None:
    """Refuse a layer whose normalization does not come first."""
    _check_attention(node, module.self_attn)
    _check_transformer_layer(node, module)
    flow.need_channels_last(node)
    layer = layers.TransformerBlock(
        *(module.linear1.in_features, module.self_attn.num_heads),
        dim_feedforward=module.linear1.out_features,
        dropout=module.dropout.p,
        is_causal=node.get("is_causal", False),
    )
    norm1, attention, *_ = parts(layer.attention)
    norm2, linear1, _, _, linear2, _ = parts(layer.feed_forward)
    _set_attention(flow, attention, module.self_attn)
    for inner, other in ((norm1, module.norm1), (linear1, module.linear1), (norm2, module.norm2)):
        _set_linear(flow, inner, other.weight, other.bias)
    _set_linear(flow, linear2, module.linear2.weight, module.linear2.bias)
    flow.add(layer)


def _check_transformer_layer(node: Node, module: Any) -> None:
    name = getattr(module.activation, "__name__", type(module.activation).__name__).lower()
    if not module.norm_first or name != "gelu" or getattr(module.activation, "approximate", "none") != "none":
        raise node.error(f"its norm_first is {module.norm_first} and its activation {name}, not True and gelu")
    if module.linear1.bias is None:
        raise node.error("its bias is False")
    if {module.norm1.eps, module.norm2.eps} != {1e-5}:
        raise node.error(f"its layer_norm_eps is {module.norm1.eps}, not 1e-05")
    probabilities = {module.dropout.p, module.dropout1.p, module.dropout2.p, module.self_attn.dropout}
    if len(probabilities) > 1:
        raise node.error(f"it has dropouts of different probabilities, {sorted(probabilities)}")


@of_module("TransformerEncoder")
def import_transformer(flow: Flow, node: Node, module: Any) -> None:
    """Append one layer after the other, and the normalization after them."""
    for inner in module.layers:
        _import_inner(flow, node, inner)
    if module.norm is not None:
        _import_inner(flow, node, module.norm)
