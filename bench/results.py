"""Files of results: small JSON, written complete or not at all, and checked when they are read."""

import json
from pathlib import Path
from types import EllipsisType, NoneType, UnionType
from typing import Any, TypeAlias

from bench import files
from bench.command import Refused

FOLDER = Path(__file__).parent / "results"
DIGITS = 4

Form: TypeAlias = type | UnionType | dict[str | EllipsisType, "Form"] | list["Form"]
"""A type; the forms of a mapping's items by key, where ``...`` stands for all other keys; or that of a list's items."""

NUMBER = int | float
MEASURED: dict[str | EllipsisType, Form] = {
    "machine": {"cpu": str, "cores": int, "memory_gib": NUMBER, "gpu": str | NoneType, "system": str},
    "threads": int,
    "load": NUMBER,
    "versions": {...: str},
    "date": str,
}
NETWORK: Form = {
    "tasks": {
        ...: {"portanet": {"seconds": NUMBER}, ...: {"seconds": NUMBER, "ratio": NUMBER, "quartiles": [NUMBER]}},
    },
    "memory": {...: NUMBER},
    "absent": {...: {...: str}},
}
COSTS: Form = {"import": NUMBER, "first_step": NUMBER, "installed": NUMBER, "requires": [str]}
FORMS: dict[str, Form] = {
    "peers": {**MEASURED, "rounds": int, "seconds": NUMBER, "networks": {...: NETWORK}, "costs": {...: COSTS}},
    "suite": {**MEASURED, "benchmarks": [{"test": str, "device": str, "params": {}, "median": NUMBER}]},
}
WRITTEN_BY = {
    "peers": "python -m bench peers --out FILE",
    "suite": "python -m pytest bench --benchmark-json FILE",
}


def write(path: Path, results: dict[str, Any]) -> None:
    """Write results with four digits a number; raises Refused where that fails."""
    files.write(path, f"{json.dumps(rounded(results), indent=1, ensure_ascii=False)}\n".encode())


def read(path: Path, kind: str) -> dict[str, Any]:
    """
    Read a file of results.

    Parameters
    ----------
    path : Path
        The file.
    kind : str
        "peers" or "suite".

    Raises
    ------
    Refused
        If it is no such file.
    """
    try:
        results = json.loads(files.read_text(path))
    except ValueError as error:
        raise Refused(f"{path} is no JSON file: {error}") from error
    if not isinstance(results, dict) or results.get("kind") != kind:
        raise Refused(f"{path} holds no results of kind {kind!r}: {WRITTEN_BY[kind]} writes such a file")
    if wrong := misfit(results, FORMS[kind]):
        raise Refused(f"{path} is not as {WRITTEN_BY[kind]} writes it: {wrong}")
    return results


def misfit(value: Any, form: Form, place: str = "the file") -> str:
    """
    Say where a value differs from a form first, or nothing.

    Examples
    --------
    >>> misfit({"networks": {"003-mlp": {"memory": 1}}}, {"networks": {...: {"tasks": {}, "memory": int}}})
    "networks.003-mlp lacks 'tasks'"
    >>> misfit({"date": 5}, {"date": str, "load": float}), misfit([1, "2"], [int])
    ("the file lacks 'load'", "1 is '2'")
    """
    if isinstance(form, dict) and isinstance(value, dict):
        lacking = [key for key in form if key is not ... and key not in value]
        if lacking:
            return f"{place} lacks {', '.join(map(repr, lacking))}"
        inner = [(key, item, form.get(key, form.get(...))) for key, item in value.items()]
    elif isinstance(form, list) and isinstance(value, list):
        inner = [(str(i), item, form[0]) for i, item in enumerate(value)]
    elif isinstance(form, (dict, list)) or not isinstance(value, form):
        return f"{place} is {value!r:.40}"
    else:
        return ""
    path = "" if place == "the file" else f"{place}."
    return next(filter(None, (misfit(item, its, f"{path}{key}") for key, item, its in inner if its is not None)), "")


def rounded(value: Any) -> Any:
    """
    Round all floats to four digits.

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
