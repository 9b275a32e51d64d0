"""A notebook is executed, and shows networks, histories, trainers and plots without further commands."""

import base64
from pathlib import Path
from typing import Any

import pytest

nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
pytest.importorskip("ipykernel", reason="ipykernel is not installed")

CELLS = [
    """
import portanet as pn

data = pn.datasets.load("digits")
x, y = data.x_train.reshape(-1, 64), data.y_train
net = pn.Sequential(pn.Linear(64, 16), pn.ReLU(), pn.Linear(16, 10))
trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.Adam(), metrics=["accuracy"])
""",
    "history = trainer.fit(x, y, epochs=3, validation_split=0.1)",
    "net",
    "history",
    "trainer",
    "history.plot()",
    "pn.plots.network(net, (64,))",
]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> list[list[Any]]:
    """The outputs of each cell."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    folder: Path = tmp_path_factory.mktemp("notebook")
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()
    return [cell.outputs for cell in notebook.cells]


def shown(outputs: list[Any]) -> dict[str, str]:
    """Return what a cell shows, by its MIME type."""
    (output,) = outputs
    return dict(output.data)


def test_training_reports_each_epoch_and_nothing_else(outputs: list[list[Any]]) -> None:
    assert not outputs[0]
    text = "".join(output.get("text", "") for output in outputs[1])
    assert all(f"epoch {i}/3" in text for i in (1, 2, 3))
    assert "Warning" not in text


def test_networks_histories_and_trainers_are_tables(outputs: list[list[Any]]) -> None:
    network, history, trainer = (shown(outputs[i])["text/html"] for i in (2, 3, 4))
    assert "Linear(64, 16)" in network
    assert "1,210 parameters" in network
    assert history.count("<tr>") == 4
    assert "val_accuracy" in history
    assert "CrossEntropyLoss()" in trainer


@pytest.mark.parametrize("cell", [5, 6])
def test_plots_are_pictures(outputs: list[list[Any]], cell: int) -> None:
    assert base64.b64decode(shown(outputs[cell])["image/png"]).startswith(b"\x89PNG")
