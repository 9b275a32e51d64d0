"""Carry experiments out, seed by seed, and leave their results in files."""

import json
import os
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, stdev
from time import perf_counter
from typing import Any

import portanet
from experiments.runner.record import Experiment, Reported
from experiments.runner.run import Run
from portanet.backends import Backend, get_backend
from portanet.persistence import write_atomically

LIBRARIES = ("numpy", "array_api_compat", "matplotlib", "sklearn", "skimage", "cupy", "torch", "array_api_strict")


@dataclass(frozen=True)
class Study:
    """
    An experiment on a device, and the seeds with which it is finished.

    A seed is finished once its record, ``seed-0.json``, is in the folder: whole, or not at all. It counts while the
    experiment says the same of its data, network and choices, for the same kind of device and the same form.

    Parameters
    ----------
    experiment : Experiment
        What to run.
    device : str
        Where, by the name of a backend.
    folder : Path
        Of the results; made if need be.
    quick : bool
        Whether to take the shorter form.
    """

    experiment: Experiment
    device: str
    folder: Path
    quick: bool = False

    def finished(self) -> dict[int, dict[str, Any]]:
        """Return the records that count, by seed: of this question, and with the figures that the newest has."""
        answers = [record for record in self._records() if record.get("question") == self._question()]
        newest = max(answers, key=lambda record: record["date"], default=None)
        counting = {r["seed"]: r for r in answers if newest and r["figures"].keys() == newest["figures"].keys()}
        return dict(sorted(counting.items()))

    def changed(self) -> bool:
        """Whether the experiment's code is other than when one of the finished seeds was run."""
        code = self.experiment.code()
        return any(record.get("code", code) != code for record in self.finished().values())

    def occupied(self) -> bool:
        """Whether the folder holds records of another form or device, which a run would write over."""
        mine = {name: self._question()[name] for name in ("quick", "device")}
        asked = [record["question"] for record in self._records() if "question" in record]
        return any(question.get(name) != value for question in asked for name, value in mine.items())

    def measure(self, seed: int, *, draw: bool = True) -> None:
        """Run with one seed; then write the pictures, if wanted, and last the record. Nothing is written on failure."""
        begun, code = perf_counter(), self.experiment.code()
        backend = get_backend(self.device)
        run = Run(self.experiment.id, backend, seed, self.quick, draw)
        figures = self.experiment.function(run)
        record = {
            "question": self._question(),
            "code": code,
            "seed": seed,
            "figures": {name: _rounded(value) for name, value in figures.items()},
            "device": {"name": backend.name, "description": backend.description, "machine": _machine()},
            "networks": run.networks,
            "seconds": {
                "training": round(sum(network["training_seconds"] for network in run.networks), 2),
                "all": round(perf_counter() - begun, 2),
            },
            "versions": _versions(),
            "pictures": run.captions,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        older = {name for former in self._records() for name in former.get("pictures", ())}
        for name, png in run.pictures.items():
            write_atomically(self.folder / name, png)
        _write(self.folder / f"seed-{seed}.json", record)
        if draw:
            for name in older - run.pictures.keys():
                (self.folder / name).unlink(missing_ok=True)

    def summarise(self) -> dict[str, Any] | None:
        """
        Write ``result.json``: the figures of the finished seeds beside those reported.

        Returns
        -------
        dict or None
            What it says; None, and nothing is written, if no seed is finished.
        """
        records = list(self.finished().values())
        if not records:
            return None
        first = records[0]
        result = {
            **self.experiment.record(),
            "quick": self.quick,
            "seeds": [record["seed"] for record in records],
            "figures": {
                name: _compare(
                    [record["figures"][name] for record in records], self.experiment.reported.get(name), not self.quick
                )
                for name in first["figures"]
            },
            "device": first["device"],
            "networks": first["networks"],
            "seconds": {
                part: round(fmean(record["seconds"][part] for record in records), 2) for part in ("training", "all")
            },
            "versions": first["versions"],
            "pictures": next((record["pictures"] for record in records if record["pictures"]), {}),
            "date": max(record["date"] for record in records),
        }
        del result["reported"]  # it stands beside the figures
        _write(self.folder / "result.json", result)
        return result

    def _records(self) -> list[dict[str, Any]]:
        return [read_record(path) for path in self.folder.glob("seed-*.json")]

    def _question(self) -> dict[str, Any]:
        asked = {name: getattr(self.experiment, name) for name in ("id", "data", "what", "choices")}
        return {**asked, "quick": self.quick, "device": self.device.partition(":")[0]}


def run_study(
    experiment: Experiment, backend: Backend, folder: Path, *, seed: int = 0, quick: bool = False
) -> dict[str, Any]:
    """
    Run an experiment with one seed, whether or not it is finished.

    Parameters
    ----------
    experiment, folder, quick
        See :class:`Study`.
    backend : Backend
        The device.
    seed : int
        Of everything that is drawn.

    Returns
    -------
    dict
        What ``result.json`` says, of all finished seeds in the folder.
    """
    study = Study(experiment, backend.name, folder, quick)
    study.measure(seed)
    result = study.summarise()
    assert result is not None
    return result


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _compare(ours: list[float], theirs: Reported | None, judge: bool) -> dict[str, Any]:
    mean = _rounded(fmean(ours))
    return {
        "ours": mean,
        "spread": _rounded(stdev(ours)) if len(ours) > 1 else None,
        "each": ours,
        "reported": theirs and theirs.value,
        "better": theirs and theirs.better,
        "met": theirs.met(mean) if theirs and judge else None,
    }


def _rounded(value: float) -> float:
    """Keep six digits: the share 0.82 comes as 0.81999999 in float32."""
    return float(f"{value:.6g}")


def _machine() -> str:
    try:
        names = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        names = []
    threads = os.environ.get("OPENBLAS_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS") or cores()
    return f"{names[0] if names else platform.machine()}, {threads} of {cores()} cores, {platform.system()}"


def _versions() -> dict[str, str]:
    used = {name: sys.modules[name].__version__ for name in LIBRARIES if name in sys.modules}
    return {"python": platform.python_version(), "portanet": portanet.__version__, **used}


def read_record(path: Path) -> dict[str, Any]:
    """Read a record; one that is damaged says nothing, and so does not count."""
    try:
        record = json.loads(path.read_bytes())
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _write(path: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(path, f"{text}\n".encode())
