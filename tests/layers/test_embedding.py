"""Vectors of integers and positions: beside PyTorch, in training, and bad input."""

from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.kernels import embedding as module
from portanet.kernels import embedding_gradient

RNG = np.random.default_rng(0)
IDS = RNG.integers(0, 7, size=(5, 6))


def placed(layer: pn.Layer) -> Any:
    return layer.initialize(seed=0, dtype="float64")


@pytest.mark.parametrize("padding_idx", [None, 0, 3])
def test_vectors_and_gradients_are_those_of_pytorch(padding_idx: int | None) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    layer = placed(pn.Embedding(7, 4, padding_idx=padding_idx))
    peer = torch.nn.Embedding(7, 4, padding_idx=padding_idx, dtype=torch.float64)
    peer.weight.data = torch.tensor(layer.weight.data.copy())
    if padding_idx is not None:
        peer.weight.data[padding_idx] = 0
    expected = peer(torch.tensor(IDS))
    y, pullback = layer.vjp(IDS)
    np.testing.assert_array_equal(y, expected.detach().numpy())
    dy = RNG.normal(size=y.shape)
    expected.backward(torch.tensor(dy))
    assert not pullback(dy).any()
    np.testing.assert_allclose(layer.weight.grad, peer.weight.grad.numpy(), rtol=1e-12, atol=1e-14)


def test_the_gradient_of_a_long_table_is_made_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    dy, ids = RNG.normal(size=(30, 4)), IDS.reshape(-1)
    expected = embedding_gradient.portable(dy, ids, 7)
    monkeypatch.setattr(module, "MAX_NUMBERS", 60)
    np.testing.assert_allclose(embedding_gradient.portable(dy, ids, 7), expected, rtol=1e-13)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([[1, 7]], r"needs ids in \[0, 7\), got 7"),
        ([[-1, 2]], r"needs ids in \[0, 7\), got -1"),
        ([[0.5]], "needs integers, got x of dtype float64"),
    ],
)
def test_ids_that_do_not_fit_are_refused(ids: Any, message: str) -> None:
    layer = placed(pn.Embedding(7, 4))
    with pytest.raises(ValueError, match=message):
        layer(np.asarray(ids))


@pytest.mark.parametrize(
    ("ids", "message"), [(IDS + 1, r"needs ids in \[0, 7\), got 7"), (IDS / 2, "x has dtype float32, but Embedding")]
)
def test_training_data_that_do_not_fit_are_refused(ids: np.ndarray, message: str) -> None:
    net = pn.Sequential(pn.Embedding(7, 4), pn.Flatten(), pn.Linear(24, 2))
    trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.SGD(0.1))
    before = net.get_weights()
    with pytest.raises(ValueError, match=message):
        trainer.fit(ids, np.zeros(5, dtype="int64"), progress=False)
    for name, values in net.get_weights().items():
        np.testing.assert_array_equal(values, before[name])


def test_padding_that_is_no_id_is_refused() -> None:
    with pytest.raises(ValueError, match="padding_idx must be below num_embeddings=7, got 7"):
        pn.Embedding(7, 4, padding_idx=7)


def test_lists_of_integers_are_taken() -> None:
    assert placed(pn.Embedding(7, 4))([[1, 2, 3]]).shape == (1, 3, 4)


def test_a_sequence_longer_than_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match=r"has vectors for 5 positions, got \(N, 6, 4\): raise max_len"):
        placed(pn.PositionalEmbedding(5, 4))(np.zeros((1, 6, 4)))


@pytest.mark.parametrize("dim", [4, 5])
def test_waves_follow_the_formula(dim: int) -> None:
    p = placed(pn.PositionalEncoding(dim))(np.zeros((1, 9, dim)))[0]
    for t in range(9):
        for i in range(dim):
            wave = np.cos if i % 2 else np.sin
            assert p[t, i] == pytest.approx(wave(t / 10000 ** ((i - i % 2) / dim)))


@pytest.mark.parametrize(
    "layer", [pn.PositionalEncoding(4, mask_zeros=True), pn.PositionalEmbedding(6, 4, mask_zeros=True)]
)
def test_padding_stays_zero(layer: pn.Layer) -> None:
    x = RNG.normal(size=(2, 6, 4))
    x[1, 3:] = 0
    y, pullback = placed(layer).vjp(x)
    assert not y[1, 3:].any()
    assert not pullback(np.ones_like(y))[1, 3:].any()


def test_a_network_learns_from_tokens() -> None:
    ids = np.random.default_rng(0).integers(1, 9, size=(256, 12))
    labels = (ids == 5).any(axis=1).astype("int64")
    net = pn.Sequential(pn.Embedding(9, 8), pn.GRU(16), pn.Linear(16, 2))
    trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.Adam(0.02), metrics="accuracy")
    history = trainer.fit(ids, labels, epochs=12, batch_size=32, progress=False)
    assert history["accuracy"][-1] > 0.95
