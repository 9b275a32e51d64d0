import numpy as np
import pytest

from portanet.datasets.usps import decode

TEXT = b"6.0000 -1.0000 -0.6310 0.8620 \n0.0000 1.0000 0.0010 -0.9990 \n"
THOUSANDTHS = [[6000, -1000, -631, 862], [0, 1000, 1, -999]]


@pytest.mark.parametrize(
    "text",
    [
        *(TEXT, TEXT.replace(b"000", b""), TEXT.replace(b"\n", b"\r\n"), TEXT.rstrip(), TEXT.replace(b" ", b"  ")),
        b"\n" + TEXT.replace(b"\n", b"\n\n") + b" \n",
    ],
    ids=["as published", "short numbers", "CRLF", "no last newline", "wide spaces", "blank lines"],
)
def test_decode_ignores_white_space(text: bytes) -> None:
    found = decode(text, (2, 4), 10)
    assert found.dtype == np.dtype("<i2")
    np.testing.assert_array_equal(found, THOUSANDTHS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "expected 2 lines, found 0"),
        (TEXT + TEXT, "expected 2 lines, found 4"),
        (TEXT[:-10], "number of columns changed from 4 to 3"),
        (b"6 1 1\n5 1 1", "expected 2 lines of 4 numbers, found 2 of 3"),
        (b"6 1 1 1\n\n", "expected 2 lines, found 1"),
        (TEXT.replace(b"0.8620", b"0,8620"), "could not convert string '0,8620'"),
        (TEXT.replace(b"6.0000", b"10"), "expected labels from 0 to 9, found 0.0 to 10.0"),
        (TEXT.replace(b"6.0000", b"-1"), "expected labels from 0 to 9, found -1.0 to 0.0"),
        (TEXT.replace(b"6.0000", b"nan"), "expected labels from 0 to 9, found nan to nan"),
        (TEXT.replace(b"0.8620", b"8.620"), "expected pixels from -1 to 1, found -1.0 to 8.62"),
        (TEXT.replace(b"0.8620", b"-inf"), "expected pixels from -1 to 1, found -inf to 1.0"),
        (TEXT.replace(b"6", b"\xff"), "can't decode byte 0xff"),
    ],
)
def test_invalid_content_is_refused(text: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode(text, (2, 4), 10)
