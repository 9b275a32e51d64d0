"""Files of results: small JSON, written atomically and validated when read."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from types import EllipsisType, NoneType
from typing import Any

from bench import files
from bench.command import CommandError, os_reason
from bench.text import about, counted
from portanet.files import FileFormatError, read_json
from portanet.schema import NUMBER, Schema, first_mismatch, is_positive

FOLDER = Path(__file__).parent / "results"
DIGITS = 4
"""Significant digits of a number in a file."""

INFO: dict[str | EllipsisType, Schema] = {
    "machine": {"cpu": str, "cores": int, "memory_gib": NUMBER, "gpu": str | NoneType, "system": str},
    "threads": int,
    "load": NUMBER,
    "versions": {...: str},
    "date": str,
}
RATIO: dict[str | EllipsisType, Schema] = {"seconds": is_positive, "ratio": is_positive, "quartiles": [is_positive]}
NETWORK: Schema = {
    "tasks": {...: {"portanet": {"seconds": is_positive}, ...: RATIO}},
    "memory": {...: NUMBER},
    "absent": {...: {...: str}},
    ...: {...: NUMBER},  # "gpu_memory", where it was measured
}
MECHANISMS: Schema = {
    "mechanisms": {...: {"on": is_positive, "off": is_positive, "ratio": is_positive, "quartiles": [is_positive]}},
    "absent": {...: str},
}
BUSY: Schema = {
    "competitors": {...: {"quiet": NUMBER, "busy": {...: {"seconds": [NUMBER], "ratios": [NUMBER]}}}},
    "absent": {...: str},
}
BENCHMARK: Schema = {"test": str, "device": str, "params": {...: int | float | str}, "median": is_positive}
COSTS: Schema = {"import": NUMBER, "first_step": NUMBER, "installed": NUMBER, "requires": [str]}
ESTIMATOR: Schema = {"seconds": [is_positive], "scores": [NUMBER]}
SCHEMAS: dict[str, Schema] = {
    "peers": {**INFO, "rounds": int, "seconds": NUMBER, "networks": {...: NETWORK}, "costs": {...: COSTS}},
    "busy": {**INFO, "rounds": int, "seconds": NUMBER, "networks": {...: BUSY}},
    "suite": {**INFO, "benchmarks": [BENCHMARK]},
    "mechanisms": {**INFO, "rounds": int, "seconds": NUMBER, "networks": {...: MECHANISMS}},
    "fit": {**INFO, "steps": int, "epochs": int, "networks": {...: {...: is_positive}}},
    "scaling": {**INFO, "rounds": int, "networks": {...: {...: {...: NUMBER}}}},
    "estimators": {**INFO, "datasets": {...: {...: ESTIMATOR}}},
}
WRITTEN_BY = {
    "peers": "python -m bench peers --out FILE",
    "busy": "python -m bench peers --busy --out FILE",
    "suite": "python -m pytest bench --benchmark-json FILE",
    "mechanisms": "python -m bench mechanisms --out FILE",
    "estimators": "python -m bench estimators --out FILE",
    "scaling": "python -m bench scaling --out FILE",
    "fit": "python -m bench fit --out FILE",
}


def write(path: Path, results: dict[str, Any]) -> None:
    """Write results with numbers rounded to four digits; raises CommandError if that fails."""
    files.write(path, f"{json.dumps(rounded(results), indent=1, ensure_ascii=False)}\n".encode())


def read(path: Path, kind: str) -> dict[str, Any]:
    """
    Read and validate a file of results.

    Parameters
    ----------
    path : Path
        The file.
    kind : str
        "peers", "busy", "suite", "mechanisms", "estimators", "scaling" or "fit".

    Raises
    ------
    CommandError
        If the file is not of this kind, or does not match its schema.
    """
    try:
        results = read_json(path)
    except OSError as error:
        raise CommandError(f"cannot read {path}: {os_reason(error)}") from error
    except FileFormatError as error:
        raise CommandError(f"{path} is not a JSON file: {error.fault}") from error
    if not isinstance(results, dict) or results.get("kind") != kind:
        raise CommandError(f"{path} is not a file of kind {kind!r}; write one with: {WRITTEN_BY[kind]}")
    if mismatch := first_mismatch(results, SCHEMAS[kind]):
        raise CommandError(f"{path} is not a valid file of kind {kind!r}: {mismatch}")
    return results


def rounded(value: Any) -> Any:
    """
    Round all floats to four significant digits.

    Examples
    --------
    >>> rounded({"seconds": [0.000123456, 2]})
    {'seconds': [0.0001235, 2]}
    """
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, (list, tuple)) else value


class Record:
    """
    Results of a run, written after each network so that an interrupted run keeps the finished networks.

    Parameters
    ----------
    out : Path, optional
        File to write.
    info : mapping
        Kind, machine and settings of the run.
    networks : sequence of str
        Networks to time.
    """

    def __init__(self, out: Path | None, info: Mapping[str, Any], networks: Sequence[str]):
        self.out, self.networks = out, networks
        self.file: dict[str, Any] = {**info, "asked": networks, "networks": {}}

    def remaining(self) -> Iterator[tuple[str, str]]:
        """Yield each network with a progress message."""
        begin = perf_counter()
        for n, id in enumerate(self.networks):
            left = (perf_counter() - begin) / n * (len(self.networks) - n) if n else None
            yield id, f"network {n + 1} of {len(self.networks)}" + (f", {about(left)} left" if left else "")

    def add(self, key: str, results: Mapping[str, Any]) -> None:
        """Add results of networks, or costs, rounded as in the file."""
        self.file.setdefault(key, {}).update(rounded(results))
        if self.out:
            write(self.out, self.file)

    def saved_message(self) -> str:
        """Say how many networks an interrupted run has saved."""
        if not self.out or not self.file["networks"]:
            return "nothing was written"
        return f"{len(self.file['networks'])} of {counted(len(self.networks), 'network')} are in {self.out}"
