"""Files of results: small JSON, written complete or not at all."""

import json
from pathlib import Path
from typing import Any

from bench.command import FAILED, Refused
from portanet.persistence import write_atomically

FOLDER = Path(__file__).parent / "results"
DIGITS = 4


def write(path: Path, results: dict[str, Any]) -> None:
    """
    Write results with four digits a number.

    Raises
    ------
    Refused
        If the file cannot be written.
    """
    text = json.dumps(rounded(results), indent=1, ensure_ascii=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, f"{text}\n".encode())
    except OSError as error:
        raise Refused(f"cannot write {path}: {error.strerror}", FAILED) from error


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
        results = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Refused(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise Refused(f"{path} is no JSON file: {error}") from error
    if not isinstance(results, dict) or results.get("kind") != kind:
        raise Refused(f"{path} holds no results of kind {kind!r}: {WRITTEN_BY[kind]} writes such a file")
    return results


WRITTEN_BY = {
    "peers": "python -m bench peers --out FILE",
    "suite": "python -m pytest bench --benchmark-json FILE",
}


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
