import pytest

from portanet.kernels.slices import partition, slices


@pytest.mark.parametrize(("n", "size"), [(1, 1), (1, 5), (6, 2), (7, 2), (7, 7), (7, 8), (10_000, 333)])
def test_slices_cover_the_range_in_order_and_only_the_last_is_short(n: int, size: int) -> None:
    found = list(slices(n, size))
    assert [i for part in found for i in range(n)[part]] == list(range(n))
    assert all(part.stop - part.start == size for part in found[:-1])
    assert 0 < found[-1].stop - found[-1].start <= size


def test_an_empty_range_has_no_slices() -> None:
    assert not list(slices(0, 3))
    assert not partition(0, 3)


@pytest.mark.parametrize(("n", "parts"), [(1, 1), (6, 2), (7, 2), (7, 7), (11, 3), (1000, 999)])
def test_a_partition_covers_the_range_in_order_with_parts_of_equal_length(n: int, parts: int) -> None:
    found = partition(n, parts)
    assert len(found) == parts
    assert [i for part in found for i in range(n)[part]] == list(range(n))
    lengths = {part.stop - part.start for part in found}
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize(("parts", "expected"), [(-1, 1), (0, 1), (4, 4), (5, 4), (100, 4)])
def test_the_number_of_parts_is_cut_to_between_1_and_n(parts: int, expected: int) -> None:
    found = partition(4, parts)
    assert len(found) == expected
    assert all(part.stop > part.start for part in found)
