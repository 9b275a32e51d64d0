import re
from contextlib import suppress

import pytest

import portanet as pn
from portanet.backends import get_float32_matmul_precision
from portanet.backends.precision import float32_matmul_precision_as


def test_float32_matmul_as_restores_the_precision_before_it() -> None:
    with float32_matmul_precision_as("bfloat16"):
        assert get_float32_matmul_precision() == "bfloat16"
        with suppress(ZeroDivisionError), float32_matmul_precision_as("float32"):
            assert get_float32_matmul_precision() == "float32"
            raise ZeroDivisionError
        assert get_float32_matmul_precision() == "bfloat16"
    assert get_float32_matmul_precision() == "float32"


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match=re.escape("precision must be 'float32', 'tf32' or 'bfloat16', got 'float16'")):
        pn.set_float32_matmul_precision("float16")  # type: ignore[arg-type]
    assert get_float32_matmul_precision() == "float32"
    with pytest.raises(ValueError, match=r"float32_matmul_precision must be .*, got 'half'"):
        pn.Trainer(pn.Linear(1, 1), pn.MSELoss(), pn.SGD(), float32_matmul_precision="half")  # type: ignore[arg-type]
