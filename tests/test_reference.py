"""Agreement with PyTorch: with the results that are kept, and, where it is installed, with those it gives now."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from portanet.backends import Backend, get_backend
from tests.reference.cases import CASES, GRID, Case

with np.load(Path(__file__).parent / "reference" / "reference.npz") as file:
    FROZEN = dict(file)


def frozen(case: Case) -> dict[str, Any]:
    prefix = f"{case}/"
    return {key.removeprefix(prefix): values for key, values in FROZEN.items() if key.startswith(prefix)}


def assert_agree(case: Case, results: dict[str, Any], expected: dict[str, Any]) -> None:
    assert results.keys() == expected.keys()
    for name, values in results.items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-10, atol=case.atol, strict=True, err_msg=name)


def test_the_file_holds_these_cases() -> None:
    names = [str(case) for case in CASES]
    assert len(names) == len(set(names))
    assert {key.rpartition("/")[0] for key in FROZEN} == set(names)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_frozen(backend: Backend, case: Case) -> None:
    assert_agree(case, case.ours(backend), frozen(case))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_live(torch: Any, case: Case) -> None:
    live = case.theirs(torch)
    assert_agree(case, live, frozen(case))
    assert_agree(case, case.ours(get_backend("cpu")), live)


@pytest.mark.parametrize("device", ["cpu", "strict"])
@pytest.mark.parametrize("case", GRID, ids=str)
def test_grid(torch: Any, case: Case, device: str) -> None:
    assert_agree(case, case.ours(get_backend(device)), case.theirs(torch))
