"""Each experiment in its quick form on real data: figures are finite, and pictures are not blank."""

import json
import math
import os
from pathlib import Path

import pytest

from experiments.__main__ import main
from experiments.runner import discover
from portanet.datasets.catalogue import SOURCES

image = pytest.importorskip("matplotlib.image", reason="experiments draw with matplotlib")
pytest.importorskip("sklearn", reason="scikit-learn has the digits and t-SNE")


@pytest.mark.parametrize("id", discover())
def test_quick_form_gives_all_figures_and_pictures(id: str, tmp_path: Path) -> None:
    experiment = discover()[id]
    for name in SOURCES.keys() & set(experiment.data.split(", ")):
        folder = Path(os.environ.get("PORTANET_DATA", ""), name)
        if not all((folder / file.name).is_file() for file in SOURCES[name].files):
            pytest.skip(f"the folder in PORTANET_DATA lacks the files of {name}")
    assert main(["run", id, "--quick", "--out", str(tmp_path), "--device", "cpu"]) == 0
    folder = tmp_path / id
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert result["quick"] is True
    assert experiment.reported.keys() <= result["figures"].keys()
    for name, figure in result["figures"].items():
        assert math.isfinite(figure["ours"]), name
        assert figure["met"] is None
    assert {path.name for path in folder.iterdir()} == {"result.json", "seed-0.json", *result["pictures"]}
    assert result["pictures"] or experiment.reported
    for name, caption in result["pictures"].items():
        assert caption
        pixels = image.imread(folder / name)[..., :3]
        assert min(pixels.shape[:2]) >= 250, f"{name} is too small to read"
        assert pixels.std() > 0.05, f"{name} is blank"
        assert (folder / name).stat().st_size < 250_000, f"{name} is too large a file"
