from typing import Any

import pytest

import portanet as pn
from portanet.training.data import batch_slices, hold_out


@pytest.mark.parametrize(
    ("n", "batch_size", "sizes"), [(4, 1, [1, 1, 1, 1]), (5, 2, [2, 2, 1]), (6, 4, [4, 2]), (1, 8, [1]), (3, 2, [2, 1])]
)
def test_batch_slices(n: int, batch_size: int, sizes: list[int]) -> None:
    batches = batch_slices(pn.Linear(1, 1), n, batch_size)
    assert [here.stop - here.start for here in batches] == sizes
    assert [i for here in batches for i in range(n)[here]] == list(range(n))


def test_an_example_that_is_left_over_joins_where_batch_norm_is_trained() -> None:
    net = pn.Sequential(pn.Linear(1, 1), pn.Sequential(pn.BatchNorm(1)))
    assert batch_slices(net, 5, 2) == [slice(0, 2), slice(2, 5)]
    net[1].freeze()
    assert batch_slices(net, 5, 2) == [slice(0, 2), slice(2, 4), slice(4, 5)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((3.0, 3.0), "x is a single number: give an array with one row an example"),
        (([1.0, 2.0], 3.0), "y is a single number"),
        ((["a", "b"], [0, 1]), "x has dtype <U1: give numbers"),
    ],
)
def test_hold_out_refuses_what_has_no_examples(data: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hold_out(data, 0.5)
