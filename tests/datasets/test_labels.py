import numpy as np
import pytest

from portanet import one_hot
from portanet.backends import Backend


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["uint8", "int64"])
def test_one_hot_rows(backend: Backend, kind: str, dtype: str) -> None:
    labels = np.asarray([[2, 0, 1], [3, 3, 0]], kind)
    rows = one_hot(backend.asarray(labels), 4, dtype)
    assert rows.device == backend.device
    rows = backend.to_numpy(rows)
    assert rows.dtype == dtype
    np.testing.assert_array_equal(rows, np.eye(4)[labels])


def test_a_list_gives_numpy() -> None:
    assert one_hot([1, 0], 2).tolist() == [[0.0, 1.0], [1.0, 0.0]]


@pytest.mark.parametrize(
    ("labels", "dtype", "message"),
    [
        ([0, 3], "float32", "labels must be in \\[0, 3\\), but some are not"),
        ([0, -1], "float32", "labels must be in"),
        ([0.0, 1.0], "float32", "labels must be integers, got dtype float64"),
        ([0, 1], "int64", "dtype must be 'float32' or 'float64', got 'int64'"),
    ],
)
def test_invalid_labels_are_refused(labels: list[float], dtype: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        one_hot(labels, 3, dtype)


def test_more_classes_than_the_dtype_of_the_labels_has_numbers() -> None:
    labels = np.asarray([[0, 9], [255, 9]], "uint8")[:, 0]
    assert one_hot(labels, 300).argmax(axis=1).tolist() == [0, 255]
