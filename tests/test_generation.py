"""Continuing sequences: greedy, drawn, and by beams."""

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.layers.causal import layer_that_looks_ahead


def chain(p: Any) -> Any:
    """A net whose next token depends on the last one alone, with these probabilities."""
    net = pn.Sequential(pn.Embedding(len(p), len(p))).initialize(dtype="float64")
    embedding: Any = net[0]
    with np.errstate(divide="ignore"):
        embedding.weight.data[...] = np.maximum(np.log(np.asarray(p)), -1e9)
    return net


P = [[0.1, 0.5, 0.4], [0.4, 0.3, 0.3], [0.02, 0.08, 0.9]]


def test_greedy_takes_the_most_probable_token() -> None:
    assert pn.generate(chain(P), [[0], [2]], 3).tolist() == [[0, 1, 0, 1], [2, 2, 2, 2]]


def test_beams_find_the_most_probable_sequence() -> None:
    paths = list(product(range(3), repeat=4))
    best = max(paths, key=lambda path: np.prod([P[a][b] for a, b in zip((0, *path), path, strict=False)]))
    assert pn.generate(chain(P), [[0]], 4, num_beams=9).tolist() == [[0, *best]]
    assert pn.generate(chain(P), [[0]], 4).tolist() != [[0, *best]]


def test_draws_have_the_probabilities() -> None:
    found = pn.generate(chain(P), [[0]] * 4000, 1, temperature=1.0)[:, 1]
    np.testing.assert_allclose(np.bincount(found) / 4000, P[0], atol=0.03)
    cold = pn.generate(chain(P), [[0]] * 4000, 1, temperature=0.5)[:, 1]
    squared = np.square(P[0]) / np.square(P[0]).sum()
    np.testing.assert_allclose(np.bincount(cold) / 4000, squared, atol=0.03)


def test_draws_come_from_the_most_probable_tokens_only() -> None:
    found = pn.generate(chain(P), [[0]] * 300, 1, temperature=5.0, top_k=2)[:, 1]
    assert set(found) == {1, 2}


def test_one_seed_draws_one_sequence() -> None:
    first, second, other = (pn.generate(chain(P), [[0]], 20, temperature=1.0, random_state=s) for s in (3, 3, 4))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_an_ended_sequence_stays_ended() -> None:
    found = pn.generate(chain(P), [[0], [2]], 5, eos_token_id=2)
    assert found.tolist() == [[0, 1, 0, 1, 0, 1], [2, 2, 2, 2, 2, 2]]
    for num_beams in (1, 3):
        assert pn.generate(chain(P), [[2]], 5, eos_token_id=2, num_beams=num_beams).tolist() == [[2, 2]]


def test_beams_may_end_at_different_lengths() -> None:
    found = pn.generate(chain(P), [[1]], 4, eos_token_id=2, num_beams=3)
    assert found.tolist() == [[1, 2, 2]] or found[0, -1] == 2


def test_the_net_is_given_the_last_tokens_only() -> None:
    net = pn.Sequential(pn.Embedding(5, 4), pn.GRU(4, 8), pn.Linear(8, 5)).initialize(seed=1)
    found = pn.generate(net, [[1, 2]], 6, max_context=3)
    for end in range(2, 8):
        expected = net(found[:, max(0, end - 3) : end]).argmax(axis=-1)
        assert found[0, end] == expected[0]


def test_a_net_that_is_not_finite_is_refused() -> None:
    net = chain(P)
    net[0].weight.data[...] = np.nan
    with pytest.raises(ValueError, match="net returned NaN: its weights are not finite"):
        pn.generate(net, [[0]], 2)


@pytest.mark.parametrize(
    ("ids", "options", "message"),
    [
        ([1, 2], {}, "ids must be integers of shape"),
        ([[0.5]], {}, "ids must be integers of shape"),
        ([[1]], {"temperature": -1.0}, "temperature must be"),
        ([[1]], {"num_beams": 2, "temperature": 1.0}, "num_beams=2 searches and draws nothing"),
        ([[7]], {}, r"needs ids in \[0, 3\), got 7"),
    ],
)
def test_bad_arguments_are_refused(ids: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pn.generate(chain(P), ids, 2, **options)


def test_a_net_that_returns_no_logits_is_refused() -> None:
    net = pn.Sequential(pn.Embedding(3, 3), pn.Reshape(1, 1, 3))
    with pytest.raises(ValueError, match="net must return logits"):
        pn.generate(net, [[1]], 1)


def transformer(*, mask_zeros: bool = False) -> pn.Layer:
    position = pn.PositionalEmbedding(20, 8, mask_zeros=mask_zeros)
    blocks = (pn.TransformerBlock(8, 2, is_causal=True, mask_zeros=mask_zeros, dropout=0.1) for _ in range(2))
    embedding = pn.Embedding(7, 8, padding_idx=0 if mask_zeros else None)
    return pn.Sequential(embedding, position, *blocks, pn.LayerNorm(8), pn.Linear(8, 7))


def recurrent(kind: Any) -> pn.Layer:
    return pn.Sequential(
        *(pn.Embedding(7, 8), kind(8, 8, return_sequences=True), pn.PositionalEncoding(8), kind(8, 8), pn.Linear(8, 7))
    )


CACHED: dict[str, Callable[[], pn.Layer]] = {
    "transformer": transformer,
    "transformer, mask": lambda: transformer(mask_zeros=True),
    **{kind.__name__: partial(recurrent, kind) for kind in (pn.RNN, pn.GRU, pn.LSTM)},
    "graph": lambda: pn.Graph(
        (pn.Sequential(pn.Embedding(7, 8), pn.PositionalEncoding(8)), "ids", "x"),
        (pn.MultiHeadAttention(8, 2, is_causal=True), "x", "a"),
        (pn.Add(), ("x", "a"), "sum"),
        (pn.Linear(8, 7), "sum", "y"),
    ),
}


@pytest.mark.parametrize("name", CACHED)
def test_caching_gives_the_same_tokens_and_runs_the_net_on_new_ones_only(
    backend: pn.backends.Backend, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = CACHED[name]().initialize(seed=3, device=backend, dtype="float64")
    for parameter in net.parameters():  # else all tokens are nearly equally probable
        parameter.data[...] = parameter.data * 3
    beginning = [[1, 2, 3], [4, 5, 6], [6, 0, 2]]
    lengths: list[int] = []
    predict = pn.Layer.predict

    def counted(self: pn.Layer, x: Any, **options: Any) -> Any:
        lengths.append(x.shape[1])
        return predict(self, x, **options)

    monkeypatch.setattr(pn.Layer, "predict", counted)
    options: list[dict[str, Any]] = [{}, {"temperature": 0.7}, {"num_beams": 3}, {"num_beams": 4, "eos_token_id": 5}]
    cached = [pn.generate(net, beginning, 8, **each) for each in options]
    assert lengths[:8] == [3, *[1] * 7]
    monkeypatch.setattr("portanet.generation.layer_that_looks_ahead", lambda net: "0")
    lengths.clear()
    for each, tokens in zip(options, cached, strict=True):
        np.testing.assert_array_equal(pn.generate(net, beginning, 8, **each), tokens)
    assert lengths[:8] == [3, 4, 5, 6, 7, 8, 9, 10]


@pytest.mark.parametrize(
    "layer",
    [
        *(pn.TransformerBlock(8, 2), pn.MultiHeadAttention(8, 2), pn.GRU(8, 8, go_backwards=True)),
        *(pn.Bidirectional(pn.GRU(8, 4, return_sequences=True)), pn.Conv1D(8, 8, 3, padding="same")),
    ],
    ids=repr,
)
def test_nets_that_look_ahead_are_run_on_the_whole_sequence(layer: pn.Layer) -> None:
    assert str(layer_that_looks_ahead(pn.Sequential(pn.Embedding(7, 8), layer))).startswith("1")
    assert layer_that_looks_ahead(transformer()) is None


def test_beyond_max_context_the_net_sees_the_last_tokens() -> None:
    net = transformer().initialize(seed=1, dtype="float64")
    tokens = pn.generate(net, [[1, 2, 3]], 9, max_context=5)[0]
    for i in range(3, 12):
        logits = net.predict(tokens[None, max(0, i - 5) : i])[0, -1]
        assert tokens[i] == logits.argmax()


def test_a_graph_that_takes_more_than_a_sequence_is_run_on_the_whole() -> None:
    embed = (pn.Embedding(7, 8), "ids", "x")
    attending = pn.Graph(
        *(embed, (pn.Linear(8, 8), "x", "m"), (pn.MultiHeadAttention(8, 2, is_causal=True), ("x", "m"), "y")),
    )
    started = pn.Graph(embed, (pn.Linear(8, 8), "x", "h"), (pn.Multiply(), ("x", "h"), "y"))
    assert layer_that_looks_ahead(attending) == ""
    assert layer_that_looks_ahead(started) is None


def test_top_k_without_temperature_is_refused() -> None:
    with pytest.raises(ValueError, match=r"give temperature=1\.0"):
        pn.generate(chain(P), [[0]], 2, top_k=2)
