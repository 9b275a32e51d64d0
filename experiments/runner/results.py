"""Run experiments seed by seed, and write their results to files."""

import json
import os
import platform
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from statistics import fmean, stdev
from time import perf_counter
from typing import Any

import portanet
from experiments.runner.record import Experiment, Reported
from experiments.runner.run import Run
from portanet.backends import Backend, get_backend
from portanet.files import FileFormatError, read_json, write_atomically
from portanet.schema import NUMBER, Schema, first_mismatch

LIBRARIES = ("numpy", "array_api_compat", "matplotlib", "sklearn", "skimage", "cupy", "torch", "array_api_strict")


def _are_pictures(value: Any) -> bool:
    """Whether a value maps plain names of PNG files, which lie in the folder itself, to captions."""
    return not first_mismatch(value, {...: str}) and all(re.fullmatch(r"[\w.+-]+\.png", name) for name in value)


def _is_figure(value: Any) -> bool:
    """Whether a value compares our figure with a reported one; without the latter, nothing is judged."""
    number = NUMBER | None
    schema: Schema = {"ours": NUMBER, "spread": number, "reported": number, "better": str | None, "met": bool | None}
    return (
        not first_mismatch(value, schema)
        and value["better"] in ("higher", "lower", None)
        and (value["met"] is None or None not in (value["reported"], value["better"]))
    )


MEASURED: dict[Any, Schema] = {
    "device": {"name": str, "description": str, "machine": str},
    "networks": [{"name": str, "layers": str, "parameters": int, "dtype": str, "training_seconds": NUMBER}],
    "seconds": {"training": NUMBER, "all": NUMBER},
    "versions": {...: str},
    "pictures": _are_pictures,
    "date": str,
}
RECORD: Schema = {"question": {"quick": bool, "device": str}, "seed": int, "figures": {...: NUMBER}, **MEASURED}
"""What ``seed-N.json`` holds."""

RESULT: Schema = {
    **dict.fromkeys(("id", "source", "data", "what", "choices"), str),
    "quick": bool,
    "seeds": [int],
    "figures": {...: _is_figure},
    **MEASURED,
}
"""What ``result.json`` holds."""


@dataclass(frozen=True)
class Study:
    """
    An experiment on a device, and its finished seeds.

    A seed is finished if its record, such as ``seed-0.json``, is in the folder; records are written atomically. A
    record counts as long as the experiment's ``data``, ``what`` and ``choices``, the kind of device and ``quick`` are
    the same. Damaged records do not count, and links in the folder are replaced, not followed.

    Parameters
    ----------
    experiment : Experiment
        The experiment.
    device : str
        Name of a backend.
    folder : Path
        Folder of the results; created if missing.
    quick : bool
        Whether to run the short form.
    """

    experiment: Experiment
    device: str
    folder: Path
    quick: bool = False

    def finished(self) -> dict[int, dict[str, Any]]:
        """Return the records that count, by seed; records with other figures than the newest do not count."""
        records = [record for record in self._records() if record["question"] == self._question()]
        newest = max(records, key=lambda record: record["date"], default=None)
        counting = {r["seed"]: r for r in records if newest and r["figures"].keys() == newest["figures"].keys()}
        return dict(sorted(counting.items()))

    def changed(self) -> bool:
        """Whether the experiment's code has changed since a finished seed was run."""
        code = self.experiment.code()
        return any(record.get("code", code) != code for record in self.finished().values())

    def occupied(self) -> bool:
        """Whether the folder holds records of another form or kind of device, which a run would overwrite."""
        settings = {name: self._question()[name] for name in ("quick", "device")}
        questions = [record["question"] for record in self._records()]
        return any(question[name] != value for question in questions for name, value in settings.items())

    def measure(self, seed: int, *, draw: bool = True) -> None:
        """Run one seed, then write the pictures (with ``draw``) and last the record; nothing if the run fails."""
        begin, code = perf_counter(), self.experiment.code()
        backend = get_backend(self.device)
        checkpoints = self._checkpoints(seed)
        _delete_links(checkpoints)
        run = Run(self.experiment.id, backend, seed, self.quick, draw, checkpoints=checkpoints)
        try:
            figures = self.experiment.function(run)
        except FileFormatError as error:
            if Path(error.path).parent != checkpoints:
                raise
            raise FileFormatError(error.path, f"{error.fault}; delete it to begin anew") from error
        new_record = {
            "question": self._question(),
            "code": code,
            "seed": seed,
            "figures": {name: _rounded(value) for name, value in figures.items()},
            "device": {"name": backend.name, "description": backend.description, "machine": _machine()},
            "networks": run.networks,
            "seconds": {
                "training": round(sum(network["training_seconds"] for network in run.networks), 2),
                "all": round(perf_counter() - begin + run.earlier_seconds, 2),
            },
            "versions": _versions(),
            "pictures": run.captions,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        older = {name for record in self._records() for name in record["pictures"]}
        for name, png in run.pictures.items():
            _write_here(self.folder / name, png)
        _write(self.folder / f"seed-{seed}.json", new_record)
        if draw:
            for name in older - run.pictures.keys():
                with suppress(OSError):  # it is gone, or a folder
                    (self.folder / name).unlink()
        for folder in self.folder.glob(f".seed-{seed}-*"):  # also those of older code
            _delete_links(folder)
            for file in folder.glob("network-*.safetensors"):
                file.unlink()
            with suppress(OSError):  # it was a link, or holds files of another
                folder.rmdir()

    def _checkpoints(self, seed: int) -> Path:
        """Return the folder of a seed's checkpoints: another one if the question, the code or the version differs."""
        question = json.dumps([self._question(), self.experiment.code(), portanet.__version__])
        return self.folder / f".seed-{seed}-{sha256(question.encode()).hexdigest()[:16]}"

    def summarise(self) -> dict[str, Any] | None:
        """
        Write ``result.json``: the figures of the finished seeds and the reported figures.

        Returns
        -------
        dict or None
            Content of the file; None if no seed is finished, and nothing is written.
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
        del result["reported"]  # each figure holds its reported value
        _write(self.folder / "result.json", result)
        return result

    def faults(self) -> list[str]:
        """Return a sentence for each damaged record."""
        return self._read()[1]

    def _records(self) -> list[dict[str, Any]]:
        return self._read()[0]

    def _read(self) -> tuple[list[dict[str, Any]], list[str]]:
        records, faults = [], []
        for path in sorted(self.folder.glob("seed-*.json")):
            try:
                record = read_json(path, RECORD)
                if path.name != f"seed-{record['seed']}.json":
                    raise FileFormatError(path, f"it holds seed {record['seed']}, not that of its name")
                records.append(record)
            except (OSError, FileFormatError) as error:
                faults.append(str(error))
        return records, faults

    def _question(self) -> dict[str, Any]:
        """Return what a record must agree with to count."""
        texts = {name: getattr(self.experiment, name) for name in ("id", "data", "what", "choices")}
        return {**texts, "quick": self.quick, "device": self.device.partition(":")[0]}


def run_study(
    experiment: Experiment, backend: Backend, folder: Path, *, seed: int = 0, quick: bool = False
) -> dict[str, Any]:
    """
    Run one seed of an experiment, even if it is finished.

    Parameters
    ----------
    experiment, folder, quick
        See :class:`Study`.
    backend : Backend
        Device to train on.
    seed : int
        Seed of all random numbers.

    Returns
    -------
    dict
        Content of ``result.json``, over all finished seeds in the folder.
    """
    study = Study(experiment, backend.name, folder, quick)
    study.measure(seed)
    result = study.summarise()
    assert result is not None
    return result


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _compare(ours: list[float], reported: Reported | None, judge: bool) -> dict[str, Any]:
    mean = _rounded(fmean(ours))
    return {
        "ours": mean,
        "spread": _rounded(stdev(ours)) if len(ours) > 1 else None,
        "each": ours,
        "reported": reported and reported.value,
        "better": reported and reported.better,
        "met": reported.met(mean) if reported and judge else None,
    }


def _rounded(value: float) -> float:
    """Round to six digits, since 0.82 is 0.81999999 in float32."""
    return float(f"{value:.6g}")


def _machine() -> str:
    try:
        names = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        names = []
    threads = os.environ.get("OPENBLAS_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS") or cores()
    return f"{names[0] if names else platform.machine()}, {threads} of {cores()} cores, {platform.system()}"


def _versions() -> dict[str, str]:
    imported = {name: sys.modules[name].__version__ for name in LIBRARIES if name in sys.modules}
    return {"python": platform.python_version(), "portanet": portanet.__version__, **imported}


def _write(path: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    _write_here(path, f"{text}\n".encode())


def _write_here(path: Path, content: bytes) -> None:
    """Write a file; a link of its name is replaced, not followed."""
    if path.is_symlink():
        path.unlink()
    write_atomically(path, content)


def _delete_links(folder: Path) -> None:
    """Delete a folder that is a link, or else the links in it."""
    if folder.is_symlink():
        folder.unlink()
    for path in folder.glob("*"):
        if path.is_symlink():
            path.unlink()
