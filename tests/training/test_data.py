from typing import Any

import pytest

from portanet.training.data import batch_slices, hold_out


@pytest.mark.parametrize(
    ("n", "batch_size", "sizes"), [(4, 1, [1, 1, 1, 1]), (5, 2, [2, 3]), (6, 4, [4, 2]), (1, 8, [1]), (3, 2, [3])]
)
def test_batch_slices(n: int, batch_size: int, sizes: list[int]) -> None:
    batches = batch_slices(n, batch_size)
    assert [here.stop - here.start for here in batches] == sizes
    assert [i for here in batches for i in range(n)[here]] == list(range(n))


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
