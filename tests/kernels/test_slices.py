import pytest

from portanet.kernels.slices import slices


@pytest.mark.parametrize(("n", "size"), [(1, 1), (1, 5), (6, 2), (7, 2), (7, 7), (7, 8), (10_000, 333)])
def test_slices_cover_the_range_in_order_and_only_the_last_is_short(n: int, size: int) -> None:
    found = list(slices(n, size))
    assert [i for part in found for i in range(n)[part]] == list(range(n))
    assert all(part.stop - part.start == size for part in found[:-1])
    assert 0 < found[-1].stop - found[-1].start <= size


def test_an_empty_range_has_no_slices() -> None:
    assert not list(slices(0, 3))
