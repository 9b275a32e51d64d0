"""Batches of arrays for loops of one's own."""

from typing import Any

import numpy as np
import pytest

from portanet.backends import Backend
from portanet.datasets import batches

X, Y = np.arange(10.0)[:, None], np.arange(10)


def seen(data: Any) -> list[int]:
    return [int(i) for _, part in data for i in part]


def test_each_epoch_has_all_examples_in_a_new_order() -> None:
    data = batches(X, Y, batch_size=4)
    first, second = seen(data), seen(data)
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert [first, second] == [seen(again := batches(X, Y, batch_size=4)), seen(again)]
    assert seen(batches(X, Y, random_state=1)) != seen(batches(X, Y))


def test_arrays_stay_together(backend: Backend) -> None:
    for x, y in batches(backend.asarray(X), backend.asarray(Y), batch_size=3):
        assert type(x) is backend.array_type
        np.testing.assert_array_equal(backend.to_numpy(x)[:, 0], backend.to_numpy(y))


def test_the_last_batch_may_be_shorter_or_left_out() -> None:
    assert [len(y) for _, y in batches(X, Y, batch_size=4)] == [4, 4, 2]
    assert [len(y) for _, y in batches(X, Y, batch_size=4, drop_last=True)] == [4, 4]
    assert len(batches(X, Y, batch_size=4)) == 3
    assert len(batches(X, Y, batch_size=4, drop_last=True)) == 2
    assert seen(batches(X, Y, batch_size=4, shuffle=False)) == list(range(10))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((), {}, "arrays is empty"),
        ((X, Y[:3]), {}, "equally many examples"),
        ((X[:0],), {}, "equally many examples"),
        ((X,), {"batch_size": 0}, "batch_size must be"),
        ((X,), {"random_state": -1}, "random_state must be"),
    ],
)
def test_arguments_are_checked(arguments: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        batches(*arguments, **options)


def test_batches_that_are_all_left_out_are_refused() -> None:
    with pytest.raises(ValueError, match=r"batch_size=11 with drop_last leaves no batch of 10 examples: lower it"):
        batches(X, Y, batch_size=11, drop_last=True)


def test_a_repr_tells_what_the_batches_are() -> None:
    shown = repr(batches(X, Y, batch_size=4))
    assert shown == "<Batches of 2 arrays of 10 examples: batch_size=4, shuffle=True, drop_last=False>"
