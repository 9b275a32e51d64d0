"""Batches of arrays for loops of one's own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from portanet.backends import Backend, take_rows
from portanet.datasets import batches
from portanet.distributed import Communicator, run_threads

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


@pytest.mark.parametrize("n", [40, 41, 43])
def test_processes_share_each_batch(n: int) -> None:
    def parts(communicator: Communicator) -> list[np.ndarray]:
        found = batches(np.arange(n), batch_size=4, random_state=3, communicator=communicator)
        assert len(found) == len([*found])
        found.set_epoch(1)
        return [part for (part,) in found]

    whole = batches(np.arange(n), batch_size=12, random_state=3)
    whole.set_epoch(1)
    expected = [part for (part,) in whole if len(part) >= 3]
    found = [np.concatenate(of_ranks) for of_ranks in zip(*run_threads(parts, 3), strict=True)]
    for batch, same in zip(found, expected, strict=True):
        np.testing.assert_array_equal(batch, same)


def test_a_process_reads_only_its_rows_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def take(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
        assert array.base is not None  # the map of the file, and no copy of it
        read.extend(rows.tolist())
        return take_rows(array, rows)

    monkeypatch.setattr("portanet.datasets.batching.take_rows", take)
    np.arange(24.0).tofile(tmp_path / "x.bin")

    def task(communicator: Communicator) -> None:
        if communicator.rank == 1:
            x = np.memmap(tmp_path / "x.bin", dtype="float64", mode="r")
            assert [len(part) for (part,) in batches(x, batch_size=4, communicator=communicator)] == [4, 4, 4]

    run_threads(task, 2)
    assert len(set(read)) == len(read) == 12


@pytest.mark.parametrize(
    ("n", "options", "message"),
    [
        (2, {}, "arrays hold 2 examples for 3 processes"),
        (9, {"random_state": None}, "random_state=None draws another order in each process: give a number"),
        (9, {"batch_size": 4, "drop_last": True}, "leaves no batch of 9 examples"),
    ],
)
def test_what_processes_cannot_share_is_refused(n: int, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run_threads(lambda communicator: batches(np.arange(n), communicator=communicator, **options), 3)
