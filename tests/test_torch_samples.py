"""Agreement with PyTorch on PyTorch's own samples of arguments and inputs, where it is installed."""

import json
import warnings
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.backends import get_backend
from tests.reference.torch_counterparts import COUNTERPARTS
from tests.reference.torch_samples import LIST, Moved, Skipped, TorchSamples, changes, ours, short

# PyTorch warns of slow padding, for instance.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:torch")

ERRORS = {"float64": (1e-10, 1e-14), "float32": (1e-5, 1e-6)}
"""
Largest errors: relative to the number, plus relative to the largest number of its array or 1, whichever is larger. The
second is for sums that cancel, such as 1 - y² of a saturated tanh.
"""

# Names, devices, and whether the engine runs the layer.
RUNS = [
    *((name, device, False) for name in COUNTERPARTS for device in ("cpu", "strict")),
    *((name, "cpu", True) for name, there in COUNTERPARTS.items() if issubclass(there.kind, pn.Layer)),
]


@cache
def collected(torch: Any) -> TorchSamples | str:
    """The samples, or why there are none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's internals warn of themselves
        try:
            return TorchSamples(torch)
        except Moved as missing:
            return str(missing)


@pytest.fixture
def samples(torch: Any) -> TorchSamples:
    found = collected(torch)
    if isinstance(found, str):
        pytest.skip(found)
    return found


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("name", "device", "engine"), RUNS, ids=["-".join((n, d, *["engine"] * engine)) for n, d, engine in RUNS]
)
def test_every_sample_agrees(samples: TorchSamples, name: str, device: str, engine: bool, dtype: str) -> None:
    relative, cancelled = ERRORS[dtype]
    assert samples.samples.get(name), f"PyTorch has no samples of {name}"
    n_compared = 0
    for sample in samples.samples[name]:
        try:
            sample.ours()
        except Skipped:  # the next test compares their number with the list
            continue
        given, expected = samples.theirs(sample, dtype)
        results = ours(sample, given, get_backend(device), dtype, engine=engine)
        if "inference" in results:
            expected["inference"] = expected["y"]
        assert results.keys() == expected.keys()
        for key, values in results.items():
            right = expected[key].astype(dtype) if expected[key].dtype.kind == "f" else expected[key]
            atol = cancelled * max(1.0, np.max(np.abs(right), initial=0.0))
            message = f"{key} of {sample}"
            np.testing.assert_allclose(values, right, rtol=relative, atol=atol, strict=True, err_msg=message)
        n_compared += 1
    if not n_compared:
        pytest.skip("PortaNet can run none of the samples: torch_samples_skipped.json says why")


def test_skipped_samples_are_those_in_the_list(samples: TorchSamples) -> None:
    listed, version = json.loads(LIST.read_text()), short(samples.torch.__version__)
    if listed["PyTorch"] != version:
        pytest.skip(f"the list is that of PyTorch {listed['PyTorch']}, and PyTorch is {version}")
    differences = changes(listed["skipped"], samples.skipped())
    assert not differences, "\n".join((*differences, "`python -m tests.reference.torch_samples` writes the list anew"))


def test_changes_name_new_reasons_and_numbers_that_grew_or_shrank() -> None:
    listed = {"nn.A": {"grew": 1, "same": 2}, "nn.B": {"gone": 3}}
    found = {"nn.A": {"grew": 2, "same": 2, "new": 1}}
    assert changes(listed, found) == [
        "nn.A, 'grew': 2 samples are skipped, the list has 1",
        "nn.A, 'new': 1 samples are skipped, the list has 0",
        "nn.B, 'gone': 0 samples are skipped, the list has 3",
    ]


@pytest.mark.parametrize(
    ("owner", "name"), [(None, "module_db"), ("module_db", "module_inputs_func"), ("optim_db", "optim_inputs_func")]
)
def test_what_pytorch_lacks_is_named(
    torch: Any, samples: TorchSamples, monkeypatch: pytest.MonkeyPatch, owner: str | None, name: str
) -> None:
    lists = {name: import_module(module) for module, name in samples.LISTS}
    monkeypatch.delattr(getattr(lists[owner], owner)[0] if owner else lists[name], name)
    with pytest.raises(Moved, match=name):
        TorchSamples(torch)
