"""Agreement with PyTorch: with the results that are kept, and, where it is installed, with those it gives now."""

from pathlib import Path

import numpy as np
import pytest
from reference.cases import CASES

from portanet.backends import get_backend

with np.load(Path(__file__).parent / "reference" / "reference.npz") as file:
    FROZEN = dict(file)


def frozen(case):
    prefix = f"{case}/"
    return {key.removeprefix(prefix): values for key, values in FROZEN.items() if key.startswith(prefix)}


def assert_agree(results, expected):
    assert results.keys() == expected.keys()
    for name, values in results.items():
        # The absolute part is rounding: 1 - y² of a saturated tanh is the difference of two numbers near 1.
        np.testing.assert_allclose(values, expected[name], rtol=1e-10, atol=1e-14, strict=True, err_msg=name)


def test_the_file_holds_these_cases():
    names = [str(case) for case in CASES]
    assert len(names) == len(set(names))
    assert {key.rpartition("/")[0] for key in FROZEN} == set(names)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_frozen(backend, case):
    assert_agree(case.ours(backend), frozen(case))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_live(case):
    torch = pytest.importorskip("torch", reason="PyTorch is what is compared with")
    live = case.theirs(torch)
    assert_agree(live, frozen(case))
    assert_agree(case.ours(get_backend("cpu")), live)
