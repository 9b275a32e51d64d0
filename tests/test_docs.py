"""The Python examples of the README and of the folder docs run."""

import dataclasses
import io
import json
import re
import sys
import warnings
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

import portanet
from portanet.backends import registry
from tests.cases import concrete

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
DOCUMENTS = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
BLOCK = re.compile(r"^```python(?: (\w+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
"""
A block of Python; "python torch" needs PyTorch, and is left out where it is not installed.

So are the blocks of Keras, which the tests do not install: there, PortaNet's side of a comparison runs alone.
"""
NUMBER = re.compile(r"(?<![\w.])-?\d+\.?\d*(?:e-?\d+)?")


def name_of(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


def small_mnist() -> portanet.datasets.Dataset:
    """Return some digits of scikit-learn in the shape of MNIST: the tests do not train on 60,000 images."""
    digits = portanet.datasets.load("digits")

    def enlarged(images: np.ndarray) -> np.ndarray:
        return np.pad(np.repeat(np.repeat(images, 3, axis=1), 3, axis=2), ((0, 0), (2, 2), (2, 2), (0, 0)))

    return dataclasses.replace(
        digits,
        x_train=enlarged(digits.x_train[:400]),
        y_train=digits.y_train[:400],
        x_test=enlarged(digits.x_test[:100]),
        y_test=digits.y_test[:100],
    )


def small_mnist_of_keras() -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Return the same as Keras's ``mnist.load_data``: images of bytes, without an axis of channels."""
    data = small_mnist()
    pairs = (data.x_train, data.y_train), (data.x_test, data.y_test)
    return tuple(((255 * x[..., 0]).astype("uint8"), y) for x, y in pairs)


def printed_as_said(text: str, line: str) -> bool:
    """Whether the numbers after ``#`` in a line are those that it printed, to the digits that are given."""
    comment = line.partition("#")[2]
    said, printed = NUMBER.findall(comment), NUMBER.findall(text)
    rounded = [f"{float(n):.{len(m.partition('.')[2])}f}" for n, m in zip(printed, said, strict=False)]
    return not said or (rounded == said and (len(printed) == len(said) or "..." in comment))


def test_what_a_line_prints_is_what_its_comment_says() -> None:
    assert printed_as_said("0.7781", "print(y)  # 0.78")
    assert printed_as_said("[5 0 4 1]", "print(y)  # 5 0 ...")
    assert not printed_as_said("0.7781", "print(y)  # 0.77")
    assert not printed_as_said("[5 0 4]", "print(y)  # 5 0")
    assert not printed_as_said("5", "print(y)  # 5 0")


@pytest.fixture
def small_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Examples write files, register devices, set the default one, and load MNIST."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_default", None)
    monkeypatch.delenv("PORTANET_DEVICE", raising=False)
    load = portanet.datasets.load
    monkeypatch.setattr(portanet.datasets, "load", lambda name: small_mnist() if name == "mnist" else load(name))
    if find_spec("keras") is not None:
        monkeypatch.setattr(import_module("keras.datasets.mnist"), "load_data", small_mnist_of_keras)
    with mock.patch.dict(registry.registered), mock.patch.dict(registry._loaded):
        yield


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
@pytest.mark.usefixtures("small_world")
def test_examples_of_a_document_run(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    lines = text.splitlines()

    def checked_print(*values: object, **options: Any) -> None:
        line = lines[sys._getframe(1).f_lineno - 1]
        file = io.StringIO()
        print(*values, **options, file=file)
        assert document.name == "keras.md" or printed_as_said(file.getvalue(), line), f"{line} prints {file.getvalue()}"

    names = {"__name__": "__main__", "print": checked_print}
    with warnings.catch_warnings():
        for block in BLOCK.finditer(text):
            if block[1] is None or find_spec(block[1]) is not None:
                warnings.simplefilter("default" if block[1] == "keras" else "error")  # Keras warns of itself
                lines_before = "\n" * text.count("\n", 0, block.start(2))  # so that a traceback names the line
                exec(compile(lines_before + block[2], str(document), "exec"), names)


def test_blocks_name_the_libraries_that_they_need() -> None:
    needed = {block[1] for path in DOCUMENTS for block in BLOCK.finditer(path.read_text(encoding="utf-8"))}
    assert needed == {None, "keras", "torch", "array_api_strict"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_block_of_code_is_closed_and_of_a_known_language(document: Path) -> None:
    """A misspelt fence would leave its block out of the tests."""
    fences = re.findall(r"^ *```(.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    opened = [info.split(" ")[0] for info in fences[::2]]
    assert set(opened) <= {"python", "sh", "", "toml", "{include}", "{toctree}"}
    assert not any(fences[1::2])


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_lines_of_code_fit_a_page(document: Path) -> None:
    lines = [line for block in BLOCK.finditer(document.read_text(encoding="utf-8")) for line in block[2].splitlines()]
    assert not [line for line in lines if len(line) > 88]


@pytest.mark.parametrize(("page", "head", "n"), [("keras", "| Keras 3 |", 30), ("pytorch", "| PyTorch |", 15)])
def test_a_table_of_names_names_what_exists(page: str, head: str, n: int) -> None:
    text = (DOCS / "start" / f"{page}.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in text.partition(head)[2].splitlines() if line.startswith("| `")]
    names = {name for row in rows for name in re.findall(r"`([A-Z]\w*)", row[2])}
    assert len(names) >= n
    assert names <= set(portanet.__all__)


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("learn/losses.md", {kind.__name__ for kind in concrete(portanet.losses.Loss)}),
        ("howto/schedules.md", {*portanet.schedules.__all__} - {"Schedule"}),
    ],
)
def test_a_page_names_every_class_of_its_kind(page: str, names: set[str]) -> None:
    assert len(names) > 5
    assert names <= {*re.findall(r"`(\w+)", (DOCS / page).read_text(encoding="utf-8"))}


def test_the_page_of_measurements_says_whether_a_gpu_was_measured() -> None:
    results = [json.loads(path.read_text(encoding="utf-8")) for path in (ROOT / "bench" / "results").glob("*.json")]
    measured = any(result.get("machine", {}).get("gpu") for result in results)
    said = "| CUDA: results and times | no: it has not run on a GPU | |"
    assert (said in (DOCS / "internals" / "measured.md").read_text(encoding="utf-8")) is not measured


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_a_picture_that_a_page_draws_is_shown_there(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert not [name for name in re.findall(r'savefig\("(\w+\.png)"', text) if f"(../images/{name})" not in text]


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "CONTRIBUTING.md"], ids=name_of)
def test_links_of_a_document_lead_to_files(document: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    links = re.findall(r"\]\(([^)#]+)\)", text)
    missing = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert not missing


def test_every_page_is_in_the_contents_of_its_section() -> None:
    for index in sorted(DOCS.glob("*/index.md")):
        listed = re.findall(r"^(\w+)$", index.read_text(encoding="utf-8").partition("```{toctree}")[2], re.MULTILINE)
        assert sorted(listed) == sorted(path.stem for path in index.parent.glob("*.md") if path != index)
