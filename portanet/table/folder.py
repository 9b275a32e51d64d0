"""Writing the result folder: each file whole, and no file of another program replaced."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from portanet.checks import check_path, shown
from portanet.files import FileFormatError, read_json, write_atomically

FORMAT = "portanet table 1"
METRICS_FILE = "metrics.json"
NAMES = ("net.safetensors", METRICS_FILE, "curves.png", "confusion.png", "residuals.png", "report.html")
"""All files that ``portanet train`` writes."""


def check_folder(path: str | os.PathLike[str]) -> Path:
    """
    Check that results can be written to a folder, before the training that takes long.

    Raises
    ------
    ValueError
        If it holds a file that would be replaced, but was not written by ``portanet train``.
    OSError
        If it is no folder, or cannot be written to.
    """
    folder = check_path("out", path)
    ours = _written_to(folder)
    foreign = [name for name in NAMES if name not in ours and os.path.lexists(folder / name)]
    if foreign:
        name = shown(foreign[0])
        fix = "delete it, or give another folder"
        raise ValueError(
            f"{folder} holds {name}, which {METRICS_FILE} does not list as written by portanet train: {fix}"
        )
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise OSError(f"{existing} is no folder that can be written to: give another one")
    return folder


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files, each complete or not at all, and delete those of an earlier training that are not among them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in _written_to(folder) - files.keys():  # before the list of the files is replaced
        (folder / name).unlink(missing_ok=True)
    for name, content in files.items():
        write_atomically(folder / name, content)


def _written_to(folder: Path) -> set[str]:
    """Return the names of the files that an earlier training wrote to a folder."""
    with suppress(OSError, FileFormatError):
        facts = read_json(folder / METRICS_FILE, {"format": str, "files": [str]})
        if facts["format"] == FORMAT:
            return {METRICS_FILE, *facts["files"]} & {*NAMES}
    return set()
