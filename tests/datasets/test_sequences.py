"""Sequences of unequal length: padding, and batches of similar length."""

from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.datasets import bucket_batches, pad_sequences

RNG = np.random.default_rng(0)
LENGTHS = RNG.integers(1, 40, size=203)
TEXTS = [RNG.integers(1, 9, size=length) for length in LENGTHS]
LABELS = np.arange(203)


def test_padding_stands_after_each_sequence() -> None:
    padded = pad_sequences(TEXTS)
    assert padded.shape == (203, LENGTHS.max())
    for row, text in zip(padded, TEXTS, strict=True):
        np.testing.assert_array_equal(row[: len(text)], text)
        assert not row[len(text) :].any()


def test_features_are_padded_and_long_sequences_cut() -> None:
    padded = pad_sequences([np.ones((5, 2)), np.ones((1, 2))], padding_value=-1.0, max_len=3)
    np.testing.assert_array_equal(padded, [[[1, 1]] * 3, [[1, 1], [-1, -1], [-1, -1]]])


@pytest.mark.parametrize("shuffle", [False, True])
def test_an_epoch_has_all_sequences_with_their_targets(shuffle: bool) -> None:
    data = bucket_batches(TEXTS, LABELS, batch_size=8, shuffle=shuffle)
    seen = []
    for x, y in data:
        seen += y.tolist()
        for row, i in zip(x, y, strict=True):
            np.testing.assert_array_equal(row[: LENGTHS[i]], TEXTS[i])
            assert not row[LENGTHS[i] :].any()
    assert sorted(seen) == LABELS.tolist()
    assert len(data) == len([*data]) == 26


def test_there_is_little_padding() -> None:
    cells = sum(x.size for x, _ in bucket_batches(TEXTS, LABELS, batch_size=8))
    assert cells < 1.2 * LENGTHS.sum() < 0.7 * pad_sequences(TEXTS).size


def test_epochs_differ_and_can_be_repeated() -> None:
    data = bucket_batches(TEXTS, LABELS)
    first, second = ([y.tolist() for _, y in data] for _ in range(2))
    assert first != second
    data.set_epoch(0)
    assert [y.tolist() for _, y in data] == first


def test_a_network_trains_on_them() -> None:
    labels = np.asarray([int((text == 3).any()) for text in TEXTS])
    net = pn.Sequential(pn.Embedding(9, 8, padding_idx=0), pn.GRU(8, 16, mask_zeros=True), pn.Linear(16, 2))
    trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.Adam(0.02), metrics="accuracy")
    history = trainer.fit(bucket_batches(TEXTS, labels, batch_size=16), epochs=25, progress=False)
    assert history["accuracy"][-1] > 0.9


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pad_sequences([]), "sequences must be a list of arrays, at least one"),
        (lambda: pad_sequences("text"), "sequences must be a list of arrays"),
        (lambda: pad_sequences([[1], [[1, 2]]]), r"sequences\[1\] has shape \(1, 2\), and sequences\[0\] \(1,\)"),
        (lambda: pad_sequences([[1]], padding_value=0.5), "padding_value must be an integer for integers, got 0.5"),
        (lambda: bucket_batches(TEXTS, LABELS[1:]), "target must hold 203 rows"),
    ],
)
def test_what_does_not_fit_is_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
