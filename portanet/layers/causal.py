"""Which layers need nothing of a sequence but the position itself, and what they keep of those before."""

from portanet.layers.activations import GLU, Activation
from portanet.layers.attention import MultiHeadAttention, TransformerBlock
from portanet.layers.base import Layer
from portanet.layers.combine import Parallel, Residual
from portanet.layers.embedding import Embedding, PositionalEmbedding, PositionalEncoding
from portanet.layers.graph import Graph
from portanet.layers.linear import Linear
from portanet.layers.merge import Merge
from portanet.layers.norm import BatchNorm, LayerNorm, RMSNorm
from portanet.layers.preprocessing import Normalize, Rescale
from portanet.layers.random import Dropout, GaussianNoise
from portanet.layers.recurrent import Recurrent
from portanet.layers.sequential import Sequential

POSITIONWISE = (
    *(Activation, BatchNorm, Dropout, Embedding, GaussianNoise, GLU, Graph, LayerNorm, Linear, Merge, Normalize),
    *(Parallel, PositionalEmbedding, PositionalEncoding, Rescale, Residual, RMSNorm, Sequential),
)
"""Layers whose output at a position depends on this position only, as that of the layers inside them does."""


def layer_that_looks_ahead(net: Layer, *, trust_own: bool = False) -> str | None:
    """
    Return the name of the first layer that cannot be given a sequence in parts; None if there is none.

    It sees later positions, or takes more than the sequence, such as another sequence or a given state. ``trust_own``
    says that layers of the user's own do neither.

    Examples
    --------
    >>> layer_that_looks_ahead(portanet.Sequential(portanet.Embedding(9, 4), portanet.GRU(4, 4)))
    >>> layer_that_looks_ahead(portanet.Sequential(portanet.Embedding(9, 4), portanet.Conv1D(4, 4, 3)))
    '1'
    """
    for name, layer in net.topology.layers.items():
        if isinstance(layer, Recurrent):
            fits = not (layer.go_backwards or layer.return_state)
        elif isinstance(layer, (MultiHeadAttention, TransformerBlock)):
            fits = layer.is_causal
        else:  # normalized over several axes, it sees several positions
            fits = isinstance(layer, POSITIONWISE) and not isinstance(getattr(layer, "normalized_shape", 0), tuple)
            fits = fits or (trust_own and not type(layer).__module__.startswith("portanet."))
        if isinstance(layer, Graph):
            joined = (inner for inner, takes, _ in layer.nodes if isinstance(takes, tuple))
            fits = all(isinstance(inner, (Merge, Graph)) for inner in joined)
        if not fits:
            return name
    return None
