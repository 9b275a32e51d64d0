import pytest

from portanet.training.data import batch_slices


@pytest.mark.parametrize(
    ("n", "batch_size", "sizes"), [(4, 1, [1, 1, 1, 1]), (5, 2, [2, 3]), (6, 4, [4, 2]), (1, 8, [1]), (3, 2, [3])]
)
def test_batch_slices(n: int, batch_size: int, sizes: list[int]) -> None:
    batches = batch_slices(n, batch_size)
    assert [here.stop - here.start for here in batches] == sizes
    assert [i for here in batches for i in range(n)[here]] == list(range(n))
