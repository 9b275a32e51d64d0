from typing import Any

import numpy as np
import pytest

from portanet import get_backend
from portanet.backends import Backend
from portanet.datasets import train_test_split

rng = np.random.default_rng(0)
COUNTS = [1, 2, 9, 10, 11, 95, 172]
LABELS = rng.permutation(np.repeat(np.arange(7), COUNTS))
X = np.arange(300.0)[:, np.newaxis] * [1.0, -1.0]

MASKED = np.ma.array([1.0, 2.0], mask=[False, True])

FORTY = list(map(int, "1202200220122222222022112222111112112212"))
FROZEN = [
    (0.25, 0, True, [2, 3, 4, 10, 11, 18, 23, 24, 27, 34]),
    (0.25, 0, False, [1, 2, 3, 4, 11, 18, 23, 24, 27, 34]),
    (0.1, 7, True, [0, 4, 19, 20]),
    (0.1, 7, False, [0, 4, 20, 28]),
    (0.4, 3, True, [2, 3, 4, 9, 11, 12, 17, 20, 21, 23, 25, 29, 30, 32, 33, 38]),
    (0.4, 3, False, [2, 3, 4, 11, 12, 17, 20, 21, 22, 23, 25, 29, 30, 32, 33, 38]),
]


@pytest.mark.parametrize(("test_size", "random_state", "stratified", "expected"), FROZEN)
def test_a_random_state_always_gives_the_same_split(
    test_size: float, random_state: int, stratified: bool, expected: list[int]
) -> None:
    stratify = FORTY if stratified else None
    _, test = train_test_split(np.arange(40), test_size=test_size, random_state=random_state, stratify=stratify)
    assert test.tolist() == expected


@pytest.mark.parametrize("test_size", [0.005, 0.1, 0.3, 0.5, 0.9, 1, 150, 299])
@pytest.mark.parametrize("stratified", [True, False])
def test_parts_are_a_partition_and_pairs_stay_together(backend: Backend, test_size: float, stratified: bool) -> None:
    x, labels = backend.asarray(X), backend.asarray(LABELS)
    parts = train_test_split(x, labels, test_size=test_size, stratify=labels if stratified else None)
    assert all(part.device == backend.device for part in parts)
    x_train, x_test, y_train, y_test = map(backend.to_numpy, parts)
    assert len(x_test) == len(y_test) == (round(test_size * 300) if test_size < 1 else test_size)
    chosen = np.concatenate([x_train, x_test])[:, 0].astype(int)
    assert sorted(chosen) == list(range(300))
    np.testing.assert_array_equal(np.concatenate([x_train, x_test]), X[chosen])
    np.testing.assert_array_equal(np.concatenate([y_train, y_test]), LABELS[chosen])


@pytest.mark.parametrize("shuffle", [True, False])
def test_parts_keep_the_order_of_the_examples(shuffle: bool) -> None:
    for part in train_test_split(X, shuffle=shuffle):
        assert np.all(np.diff(part[:, 0]) > 0)


@pytest.mark.parametrize("form", ["indices", "uint8", "one-hot", "strings"])
@pytest.mark.parametrize("test_size", [0.005, 0.1, 0.29, 0.5, 0.9, 100])
def test_stratify_keeps_class_fractions_to_within_one_example(test_size: float, form: str) -> None:
    labels = {
        "indices": LABELS - 3,
        "uint8": LABELS.astype("uint8"),
        "one-hot": np.eye(7, dtype="float32")[LABELS],
        "strings": np.asarray(list("abcdefg"))[LABELS],
    }
    fraction = test_size if test_size < 1 else test_size / 300
    for seed in range(5):
        x_test = train_test_split(X, test_size=test_size, random_state=seed, stratify=labels[form])[1]
        counts = np.bincount(LABELS[x_test[:, 0].astype(int)], minlength=7)
        assert np.all(np.abs(counts - fraction * np.asarray(COUNTS)) < 1)


@pytest.mark.parametrize("labels", [list("aab"), np.asarray(list("aab"), dtype=object), [b"a", b"a", b"b"], [1, 1, 0]])
def test_a_class_may_have_one_example(labels: Any) -> None:
    train, test = train_test_split(np.arange(3), test_size=1, stratify=labels)
    assert sorted([*train, *test]) == [0, 1, 2]


@pytest.mark.parametrize("values", [list("abcd"), np.asarray([None, "a", 1, ()], dtype=object), np.ma.arange(4)])
def test_examples_need_not_be_numbers(values: Any) -> None:
    train, test = train_test_split(values, shuffle=False)
    assert [*train, *test] == list(values)


def test_every_example_of_a_class_may_be_drawn() -> None:
    splits = (train_test_split(X, test_size=0.1, random_state=seed, stratify=LABELS) for seed in range(100))
    drawn = np.concatenate([x_test[:, 0] for _, x_test in splits])
    assert np.all(np.bincount(drawn.astype(int), minlength=300)[LABELS > 1] > 0)


def test_a_random_state_gives_the_same_split_on_every_backend(backend: Backend) -> None:
    x, labels = backend.asarray(X), backend.asarray(LABELS)
    x_test = train_test_split(x, random_state=3, stratify=labels)[1]
    np.testing.assert_array_equal(backend.to_numpy(x_test), train_test_split(X, random_state=3, stratify=LABELS)[1])


def test_random_states_differ_and_none_is_random() -> None:
    tests = [train_test_split(X, random_state=seed)[1].tolist() for seed in (0, 1, None, None)]
    assert len(set(map(str, tests))) == 4


def test_without_shuffle_the_last_examples_are_held_out() -> None:
    train, test = train_test_split(np.arange(10), test_size=0.3, shuffle=False)
    assert (train.tolist(), test.tolist()) == ([0, 1, 2, 3, 4, 5, 6], [7, 8, 9])


@pytest.mark.parametrize("options", [{}, {"test_size": 30}, {"shuffle": False}], ids=str)
def test_sizes_and_order_of_the_results_are_scikit_learns(options: dict[str, Any]) -> None:
    theirs = pytest.importorskip("sklearn.model_selection", reason="scikit-learn is the reference").train_test_split
    expected = [part.shape for part in theirs(X, LABELS, X, **options)]
    assert [part.shape for part in train_test_split(X, LABELS, X, **options)] == expected


def test_arrays_may_be_lists_and_on_different_devices() -> None:
    strict = get_backend("strict")
    x_train, _, y_train, _ = train_test_split(strict.asarray(X), LABELS.tolist())
    assert isinstance(x_train, strict.array_type)
    assert isinstance(y_train, np.ndarray)


@pytest.mark.parametrize("shuffle", [True, False])
def test_parts_share_no_memory_with_the_arrays(shuffle: bool) -> None:
    x = X.copy()
    for part in train_test_split(x, shuffle=shuffle):
        assert not np.shares_memory(part, x)


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ([], {}, "arrays is empty: give at least one"),
        ([X, LABELS[:10]], {}, "arrays must hold the same number of examples, got 300, 10"),
        ([X], {"test_size": 0.0}, "test_size must be a number above 0, got 0.0"),
        ([X], {"test_size": 1.0}, "test_size must leave examples in both parts, got 1.0"),
        ([X], {"test_size": 1e-3}, "test_size must leave examples in both parts"),
        ([X], {"test_size": -0.1}, "test_size must be a number above 0"),
        ([X], {"test_size": np.nan}, "test_size must be a number above 0, got nan"),
        ([X], {"test_size": 0}, "test_size must be a number above 0, got 0"),
        ([X], {"test_size": 300}, "test_size must leave examples in both parts, got 300"),
        ([X], {"stratify": LABELS[:10]}, "stratify must hold a label for each of 300 examples, got 10"),
        ([3.0], {}, r"arrays\[0\] must hold examples along its first axis, got 3.0"),
        ([X, iter("ab")], {}, r"arrays\[1\] is a str_ascii_iterator: convert it with list\(...\)"),
        ([X, [[1, 2], [3]]], {}, r"arrays\[1\] has rows of unequal length"),
        ([MASKED], {}, r"arrays\[0\] is a masked array with 1 masked values: replace them with filled"),
        ([[MASKED, MASKED]], {}, r"arrays\[0\] is a list with 2 masked values"),
        ([X], {"shuffle": "x"}, "shuffle must be True or False, got 'x'"),
        ([X], {"shuffle": None}, "shuffle must be True or False, got None"),
        ([X], {"stratify": True}, "stratify must hold examples along its first axis, got True"),
        ([X], {"stratify": rng.random(300)}, r"stratify must be .* got shape \(300,\) of dtype float64"),
        ([X], {"stratify": np.full(300, np.nan)}, r"stratify must be .* got shape \(300,\) of dtype float64"),
        ([X], {"stratify": np.full((300, 2), np.nan)}, r"stratify must be .* got shape \(300, 2\) of dtype float64"),
        ([X], {"stratify": np.eye(7)[LABELS] / 2}, "stratify must be class labels, integers or strings, or one-hot"),
        ([X], {"stratify": np.full((300, 1), "a")}, r"stratify must be .* got shape \(300, 1\) of dtype <U1"),
        ([X], {"stratify": ["a", None] * 150}, r"stratify must be .* got shape \(300,\) of dtype object"),
        ([X], {"stratify": np.ma.array(LABELS, mask=LABELS == 1)}, "stratify is a masked array with 2 masked values"),
        ([X], {"stratify": LABELS, "shuffle": False}, "stratify needs shuffle=True"),
    ],
)
def test_unfit_arguments_are_refused(arrays: list[Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train_test_split(*arrays, **options)
