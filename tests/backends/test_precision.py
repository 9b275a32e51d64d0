import re
from contextlib import suppress

import pytest

import portanet as pn
from portanet.backends import float32_matmul
from portanet.backends.precision import float32_matmul_as


def test_float32_matmul_as_restores_the_precision_before_it() -> None:
    with float32_matmul_as("bfloat16"):
        assert float32_matmul() == "bfloat16"
        with suppress(ZeroDivisionError), float32_matmul_as("float32"):
            assert float32_matmul() == "float32"
            raise ZeroDivisionError
        assert float32_matmul() == "bfloat16"
    assert float32_matmul() == "float32"


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match=re.escape("precision must be 'float32', 'tf32' or 'bfloat16', got 'float16'")):
        pn.set_float32_matmul("float16")  # type: ignore[arg-type]
    assert float32_matmul() == "float32"
    with pytest.raises(ValueError, match="float32_matmul must be 'float32', 'tf32' or 'bfloat16', got 'half'"):
        pn.Trainer(pn.Linear(1, 1), pn.MSELoss(), pn.SGD(), float32_matmul="half")  # type: ignore[arg-type]
