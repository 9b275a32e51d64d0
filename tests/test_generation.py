"""Continuing sequences: greedy, drawn, and by beams."""

from itertools import product
from typing import Any

import numpy as np
import pytest

import portanet as pn


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
