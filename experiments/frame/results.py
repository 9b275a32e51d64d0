"""Carry an experiment out, and leave its results in files."""

import json
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import portanet
from experiments.frame.record import Experiment
from experiments.frame.run import Figures, Run
from portanet.backends import Backend
from portanet.persistence import write_atomically

LIBRARIES = ("numpy", "array_api_compat", "matplotlib", "sklearn", "skimage", "cupy", "torch", "array_api_strict")


def carry_out(
    experiment: Experiment, backend: Backend, folder: Path, *, seed: int = 0, quick: bool = False
) -> dict[str, Any]:
    """
    Run an experiment; then write its pictures and, last, ``result.json``. Nothing is written if it fails.

    Parameters
    ----------
    experiment : Experiment
        What to run.
    backend : Backend
        The device.
    folder : Path
        Made if need be; older results in it are replaced.
    seed : int
        Of everything that is drawn.
    quick : bool
        Take the shorter form.

    Returns
    -------
    dict
        What ``result.json`` says.
    """
    begun = perf_counter()
    run = Run(experiment.id, backend, seed, quick)
    figures = experiment.function(run)
    result = {
        **experiment.record(),
        "figures": _compare(figures, experiment, judge=not quick),
        "quick": quick,
        "seed": seed,
        "device": {"name": backend.name, "description": backend.description},
        "networks": run.networks,
        "seconds": {
            "training": round(sum(network["training_seconds"] for network in run.networks), 2),
            "all": round(perf_counter() - begun, 2),
        },
        "versions": _versions(),
        "pictures": list(run.pictures),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    del result["reported"]  # it stands beside the figures
    folder.mkdir(parents=True, exist_ok=True)
    for name, png in run.pictures.items():
        write_atomically(folder / name, png)
    text = json.dumps(result, indent=2, ensure_ascii=False)
    write_atomically(folder / "result.json", f"{text}\n".encode())
    return result


def _compare(figures: Figures, experiment: Experiment, *, judge: bool) -> dict[str, dict[str, Any]]:
    compared = {}
    for name, value in figures.items():
        ours = float(f"{value:.6g}")  # the share 0.82 comes as 0.81999999 in float32
        theirs = experiment.reported.get(name)
        compared[name] = {
            "ours": ours,
            "reported": theirs and theirs.value,
            "better": theirs and theirs.better,
            "met": theirs.met(ours) if theirs and judge else None,
        }
    return compared


def _versions() -> dict[str, str]:
    used = {name: sys.modules[name].__version__ for name in LIBRARIES if name in sys.modules}
    return {"python": platform.python_version(), "portanet": portanet.__version__, **used}
