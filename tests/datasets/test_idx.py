import gzip
import struct
from typing import Any

import numpy as np
import pytest

from portanet.datasets.idx import decode


def idx(array: Any, magic: int | None = None) -> bytes:
    magic = 2048 + array.ndim if magic is None else magic
    return struct.pack(f">{1 + array.ndim}I", magic, *array.shape) + array.tobytes()


IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
LABELS = np.asarray([3, 0, 9], dtype=np.uint8)


@pytest.mark.parametrize("array", [IMAGES, LABELS], ids=["images", "labels"])
def test_decode(array: Any) -> None:
    found = decode(idx(array), array.shape, 10)
    assert found.dtype == np.uint8
    assert found.flags.writeable
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected an IDX header of 16 bytes, found 0 bytes"),
        (idx(IMAGES)[:15], "expected an IDX header of 16 bytes, found 15 bytes"),
        (idx(IMAGES, magic=2049), "expected magic number 2051, found 2049"),
        (gzip.compress(idx(IMAGES), mtime=0), "expected magic number 2051, found 529205248"),
        (idx(IMAGES[:1]), r"expected an array of shape \(2, 3, 4\), found \(1, 3, 4\)"),
        (idx(IMAGES)[:-1], "expected 24 values, found 23"),
        (idx(IMAGES) + b"\0", "expected 24 values, found 25"),
    ],
)
def test_invalid_content_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode(content, IMAGES.shape, 10)


def test_labels_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="expected labels below 9, found 9"):
        decode(idx(LABELS), LABELS.shape, 9)
