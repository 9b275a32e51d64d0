"""Numbers on the pages are those of the code, and what the pages call measured has files of results."""

import json
import re
from pathlib import Path

import pytest

from portanet.backends.numpy import process
from portanet.backends.numpy.core import conv
from portanet.distributed import base

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
BENCHMARKS = [json.loads(path.read_text(encoding="utf-8")) for path in (ROOT / "bench" / "results").glob("*.json")]


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("internals/kernels.md", f"up to {process.MAX_FREE_BYTES >> 20} MiB of freed memory"),
        ("internals/kernels.md", f"arrays of up to {process.MAX_ARRAY_BYTES >> 20} MiB"),
        ("internals/kernels.md", f"With {conv.MIN_IMAGES} images or more, the batch is last in memory"),
        ("howto/distributed.md", f"does not answer for {base.TIMEOUT:g} seconds"),
    ],
)
def test_number_of_a_page_is_that_of_the_code(page: str, text: str) -> None:
    assert text in " ".join((DOCS / page).read_text(encoding="utf-8").split())


def measured(claim: str) -> str:
    """Return what the page says about a claim: "yes" or "no", and more."""
    page = (DOCS / "internals" / "measured.md").read_text(encoding="utf-8")
    (answer,) = re.findall(rf"^\| {re.escape(claim)}[^|]*\| ([^|]*) \|", page, re.MULTILINE)
    return str(answer)


def test_what_is_called_measured_has_files_of_results() -> None:
    kinds = {file["kind"] for file in BENCHMARKS}
    machines = [file["machine"] for file in BENCHMARKS]
    assert measured("times of training steps").startswith("yes") == ("peers" in kinds)
    assert measured("what each mechanism gains").startswith("yes") == ("mechanisms" in kinds)
    assert measured("times on a machine with other work").startswith("yes") == ("busy" in kinds)
    assert measured("several processes on one machine").startswith("yes") == ("scaling" in kinds)
    assert measured("CUDA: results and times").startswith("yes") == any(machine["gpu"] for machine in machines)
    assert measured("more than two cores").startswith("yes") == any(machine["cores"] > 2 for machine in machines)
    assert measured("Windows, macOS").startswith("yes") == any("Linux" not in machine["system"] for machine in machines)


def test_each_experiment_of_a_report_has_three_seeds() -> None:
    assert measured("accuracies and losses of the reports") == "yes, with three seeds each"
    folders = [*(ROOT / "experiments" / "results").glob("0*")]
    assert folders
    assert {len([*folder.glob("seed-*.json")]) for folder in folders} == {3}
