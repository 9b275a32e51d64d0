"""The Python examples of the README and of the folder docs run."""

import re
import warnings
from pathlib import Path

import pytest

import portanet

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_examples_of_a_document_run(document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PORTANET_DEVICE", raising=False)
    text = document.read_text(encoding="utf-8")
    blocks = list(BLOCK.finditer(text))
    assert blocks
    names = {"__name__": "__main__"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for block in blocks:
            lines_before = "\n" * text.count("\n", 0, block.start(1))  # so that a traceback names the line
            exec(compile(lines_before + block[1], str(document), "exec"), names)


def test_the_table_of_keras_names_layers_that_exist() -> None:
    text = (ROOT / "docs" / "onnx.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in text.partition("| Keras 3 |")[2].splitlines() if line.startswith("| `")]
    names = {name for row in rows for name in re.findall(r"`([A-Z]\w*)\(", row[2])}
    assert len(names) > 30
    assert names <= set(portanet.__all__)


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "CONTRIBUTING.md"], ids=lambda path: path.name)
def test_links_of_a_document_lead_to_files(document: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert not missing
