"""Attention and transformer blocks: beside PyTorch, with padding, is_causal, in blocks, and bad input."""

from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.kernels import attention
from portanet.layers.padding_mask import padding_mask

RNG = np.random.default_rng(0)
X, MEMORY = RNG.normal(size=(3, 6, 8)), RNG.normal(size=(3, 5, 8))
LENGTHS = np.asarray([6, 2, 4])
PADDED = X * (np.arange(6) < LENGTHS[:, None])[..., None]


def placed(layer: pn.Layer) -> Any:
    return layer.initialize(seed=0, dtype="float64")


def to_torch(torch: Any, layer: Any, peer: Any) -> None:
    """Give the attention of PyTorch the same weights."""
    projections = layer.q_proj, layer.k_proj, layer.v_proj
    peer.in_proj_weight.data = torch.tensor(np.concatenate([p.weight.data.T for p in projections]))
    peer.in_proj_bias.data = torch.tensor(np.concatenate([p.bias.data for p in projections]))
    peer.out_proj.weight.data = torch.tensor(layer.out_proj.weight.data.T.copy())
    peer.out_proj.bias.data = torch.tensor(layer.out_proj.bias.data)


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_self_attention_is_that_of_pytorch(is_causal: bool, masked: bool) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    given = PADDED if masked else X
    kept = np.any(given != 0, axis=-1)
    layer = placed(pn.MultiHeadAttention(8, 2, is_causal=is_causal, mask_zeros=masked))
    peer = torch.nn.MultiheadAttention(8, 2, batch_first=True, dtype=torch.float64)
    to_torch(torch, layer, peer)
    x = torch.tensor(given, requires_grad=True)
    seen = torch.triu(torch.ones(6, 6, dtype=torch.bool), diagonal=1) if is_causal else None
    expected, _ = peer(x, x, x, key_padding_mask=torch.tensor(~kept), attn_mask=seen, need_weights=False)
    y, pullback = layer.vjp(given)
    np.testing.assert_allclose(y[kept], expected.detach().numpy()[kept], rtol=1e-10, atol=1e-13)
    assert not y[~kept].any()
    dy = RNG.normal(size=y.shape) * kept[..., None]
    expected.backward(torch.tensor(dy))
    np.testing.assert_allclose(pullback(dy), x.grad.numpy(), rtol=1e-10, atol=1e-13)
    grad = np.concatenate([p.weight.grad.T for p in (layer.q_proj, layer.k_proj, layer.v_proj)])
    np.testing.assert_allclose(grad, peer.in_proj_weight.grad.numpy(), rtol=1e-10, atol=1e-12)


def test_cross_attention_is_that_of_pytorch() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    layer = placed(pn.MultiHeadAttention(8, 4))
    peer = torch.nn.MultiheadAttention(8, 4, batch_first=True, dtype=torch.float64)
    to_torch(torch, layer, peer)
    x, memory = (torch.tensor(a, requires_grad=True) for a in (X, MEMORY))
    expected, _ = peer(x, memory, memory, need_weights=False)
    y, pullback = layer.vjp((X, MEMORY))
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-10, atol=1e-13)
    dy = RNG.normal(size=y.shape)
    expected.backward(torch.tensor(dy))
    dx, dmemory = pullback(dy)
    np.testing.assert_allclose(dx, x.grad.numpy(), rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(dmemory, memory.grad.numpy(), rtol=1e-10, atol=1e-13)


def test_a_transformer_block_is_the_encoder_layer_of_pytorch() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    block = placed(pn.TransformerBlock(8, 2, dim_feedforward=12))
    options = {"activation": "gelu", "batch_first": True, "norm_first": True, "dropout": 0.0}
    peer = torch.nn.TransformerEncoderLayer(8, 2, 12, dtype=torch.float64, **options)
    norm1, layer, _ = block.attention.branch
    norm2, linear1, _, _, linear2, _ = block.feed_forward.branch
    to_torch(torch, layer, peer.self_attn)
    for ours, theirs in ((linear1, peer.linear1), (linear2, peer.linear2)):
        theirs.weight.data, theirs.bias.data = torch.tensor(ours.weight.data.T.copy()), torch.tensor(ours.bias.data)
    for ours, theirs in ((norm1, peer.norm1), (norm2, peer.norm2)):
        ours.weight.data[...] = RNG.normal(size=8)
        theirs.weight.data = torch.tensor(ours.weight.data)
    x = torch.tensor(X, requires_grad=True)
    expected = peer(x)
    y, pullback = block.vjp(X)
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-10, atol=1e-12)
    dy = RNG.normal(size=y.shape)
    expected.backward(torch.tensor(dy))
    np.testing.assert_allclose(pullback(dy), x.grad.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("is_causal", [False, True])
def test_padding_of_a_block_is_as_if_it_were_not_there(is_causal: bool) -> None:
    masked, plain = (placed(pn.TransformerBlock(8, 2, is_causal=is_causal, mask_zeros=mask)) for mask in (True, False))
    y, pullback = masked.vjp(PADDED)
    dy = RNG.normal(size=y.shape)
    dx = pullback(dy)
    for i, length in enumerate(LENGTHS):
        short = slice(i, i + 1), slice(0, length)
        expected, pull = plain.vjp(X[short])
        np.testing.assert_allclose(y[short], expected, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(dx[short], pull(dy[short]), rtol=1e-9, atol=1e-12)
        assert not y[i, length:].any()
        assert not dx[i, length:].any()
    np.testing.assert_allclose(masked.flat.grad, plain.flat.grad, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    "layer", [pn.MultiHeadAttention(8, 2, mask_zeros=True), pn.TransformerBlock(8, 2, mask_zeros=True)]
)
def test_a_sequence_of_padding_alone_gives_zeros(layer: pn.Layer) -> None:
    y, pullback = placed(layer).vjp(np.zeros((2, 3, 8)))
    assert not y.any()
    dx = pullback(np.ones_like(y))
    assert np.isfinite(dx).all()
    assert not layer.flat.grad.any()


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_blocks_of_queries_give_what_one_block_gives(is_causal: bool, masked: bool) -> None:
    q, k, v, dy = (RNG.normal(size=(3, 6, 4)) for _ in range(4))
    kept = padding_mask(PADDED, "float64").transpose(0, 2, 1) if masked else None
    whole, pull_whole = attention(q, k, v, mask=kept, is_causal=is_causal)
    parts, pull_parts = attention(q, k, v, mask=kept, is_causal=is_causal, block_size=4)
    np.testing.assert_allclose(parts, whole, rtol=1e-13)
    for one, other in zip(pull_parts(dy), pull_whole(dy), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)


def test_a_query_sees_no_padding_before_it() -> None:
    q, k, v = (RNG.normal(size=(2, length, 4)) for length in (5, 3, 3))
    kept = np.asarray([[[0.0, 0.0, 1.0]], [[1.0, 0.0, 1.0]]])
    y, _ = attention(q, k, v, mask=kept, is_causal=True)
    assert not y[0, :2].any()
    np.testing.assert_allclose(y[0, 2:], np.broadcast_to(v[0, 2], (3, 4)))
    np.testing.assert_allclose(y[1, :2], np.broadcast_to(v[1, 0], (2, 4)))


def test_scores_of_1e30_do_not_overflow() -> None:
    q = np.asarray([[[1e15, 0.0], [0.0, -1e15]]], dtype="float32")
    y, pullback = attention(q, q, q)
    assert np.isfinite(y).all()
    assert all(np.isfinite(gradient).all() for gradient in pullback(np.ones_like(y)))


def test_dropout_drops_weights_in_training_alone() -> None:
    layer = placed(pn.MultiHeadAttention(8, 2, dropout=0.5))
    one, other = (layer.vjp(X)[0] for _ in range(2))
    assert not np.allclose(one, other)
    mean = np.mean([layer.vjp(X)[0] for _ in range(4000)], axis=0)
    np.testing.assert_allclose(mean, layer(X), atol=0.05)  # what is kept is scaled up
    np.testing.assert_array_equal(layer(X), placed(pn.MultiHeadAttention(8, 2))(X))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pn.MultiHeadAttention(8, 3), "num_heads must divide embed_dim=8, got 3"),
        (lambda: pn.TransformerBlock(8, 3), "num_heads must divide embed_dim=8, got 3"),
        (lambda: placed(pn.MultiHeadAttention(4, 2))(X), r"needs x of shape \(N, ..., 4\), got \(N, 6, 8\)"),
        (lambda: placed(pn.TransformerBlock(8, 2))(X[:, 0]), r"needs x of shape \(N, T, 8\), got \(N, 8\)"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_causal_output_does_not_depend_on_what_follows() -> None:
    block = placed(pn.TransformerBlock(8, 2, is_causal=True))
    changed = X.copy()
    changed[:, 4:] = 7.0
    np.testing.assert_allclose(block(changed)[:, :4], block(X)[:, :4], rtol=1e-12)
