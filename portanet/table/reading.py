"""Reading a table: CSV, Parquet and npz files become data frames of numbers and texts."""

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from io import BytesIO, StringIO
from itertools import islice
from os import PathLike
from typing import Any

import numpy as np
import pandas as pd

from portanet.checks import check_path, shown
from portanet.files import as_file_errors, read_regular
from portanet.schema import CONTROL

MISSING_TEXTS = dict.fromkeys(["", "?", "NA", "N/A", "#N/A", "NaN", "nan", "NULL", "null", "None"], np.nan)
"""Texts that stand for a missing cell."""

SEPARATORS = "\t;,"
"""What may separate cells, the least likely to be part of a text first."""

MAX_BEGIN = 2**20
"""Most characters in which the separator is looked for."""

N_BEGIN = 20
"""Rows that the separator must divide into as many cells as the header has."""

DECIMAL_COMMA = re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+")


def read_table(path: str | PathLike[str]) -> pd.DataFrame:
    r"""
    Read a table.

    Parameters
    ----------
    path : path-like
        A CSV file in UTF-8 with a header, separated by commas, semicolons or tabs; a TSV file, separated by tabs; a
        Parquet file; or an npz file of arrays with N rows, shape (N,) for one column and (N, D) for D columns.

    Returns
    -------
    pandas.DataFrame
        Its columns hold numbers (float64) or texts (object), and NaN where a cell is missing. Columns of a CSV file
        hold texts. The index numbers the lines or rows of the file for messages, and is named after them.

    Raises
    ------
    OSError
        If the file cannot be read.
    FileFormatError
        If it holds no table.
    ImportError
        If it is a Parquet file and pyarrow is missing.

    Examples
    --------
    >>> import pathlib
    >>> _ = pathlib.Path("people.csv").write_text("name;height\nAda;1,65\nBob;NA\n")
    >>> read_table("people.csv")
         name height
    line
    2     Ada   1.65
    3     Bob    NaN
    """
    path = check_path("path", path)
    if path.suffix.lower() not in READERS:
        raise ValueError(f"{path} must be a table whose name ends in {', '.join(READERS)}")
    if path.suffix.lower() == ".parquet":
        check_pyarrow()
    content = read_regular(path)
    with as_file_errors(path):
        table = READERS[path.suffix.lower()](content)
        if table.empty:
            raise ValueError("it has no rows" if len(table.columns) else "it has no columns")
        return table


def check_pyarrow() -> None:
    """Refuse a Parquet file where nothing can read it."""
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise ImportError("Parquet files need pyarrow: pip install pyarrow") from error


def _read_csv(content: bytes, separators: str = SEPARATORS) -> pd.DataFrame:
    text = _decode(content).replace("\r\n", "\n").replace("\r", "\n")
    if odd := CONTROL.search(text):
        raise ValueError(f"line {text.count(chr(10), 0, odd.start()) + 1} holds {odd[0]!r}, which is no text")
    separator = _separator(text, separators)
    lines, rows = _rows(text, separator)
    if not rows:
        raise ValueError("it is empty")
    header, *rows = rows
    names = [name.strip() or f"Unnamed: {i}" for i, name in enumerate(header)]  # as pandas calls them
    _check_names(names)
    for line, row in zip(lines[1:], rows, strict=True):
        if len(row) != len(names):
            raise ValueError(f"line {line} has {len(row)} cells, but the header has {len(names)}")
    tidy = _with_decimal_point if separator == ";" else str.strip
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    cells = {name: _cells(map(tidy, column)) for name, column in zip(names, columns, strict=True)}
    return pd.DataFrame(cells, index=pd.Index(lines[1:], name="line"), dtype=object)


def _decode(content: bytes) -> str:
    try:
        return content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line} is not encoded in UTF-8: save the table as UTF-8") from None


def _separator(text: str, separators: str) -> str:
    r"""
    Return the first separator that divides the first rows into as many cells as the header, and at least two.

    If there is none, it is the first one in the header, so that a message can name the row that does not fit.

    Examples
    --------
    >>> _separator("Weight, kg;Height, m\n70,5;1,8\n", SEPARATORS)
    ';'
    """
    begin, present = text.lstrip("\n")[:MAX_BEGIN], []
    for separator in separators:
        reader = csv.reader(StringIO(begin), delimiter=separator, skipinitialspace=True)
        widths = [len(row) for row in islice((row for row in reader if row), N_BEGIN)]
        if len(begin) == MAX_BEGIN:
            widths = widths[:-1] or widths  # the last row may be cut
        if widths and widths[0] > 1:
            if len({*widths}) == 1:
                return separator
            present.append(separator)
    return present[0] if present else separators[-1]


def _rows(text: str, separator: str) -> tuple[list[int], list[list[str]]]:
    """Return the rows that are not blank, and the line on which each begins."""
    lines, rows, begin = [], [], 1
    reader = csv.reader(StringIO(text), delimiter=separator, skipinitialspace=True, strict=True)
    try:
        for row in reader:
            if len(row) > 1 or any(map(str.strip, row)):
                lines.append(begin)
                rows.append(row)
            begin = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"line {begin} cannot be split into cells ({error})") from None
    return lines, rows


def _with_decimal_point(cell: str) -> str:
    """Where semicolons separate the cells, a comma within a number is a decimal comma."""
    cell = cell.strip()
    return cell.replace(".", "").replace(",", ".") if DECIMAL_COMMA.fullmatch(cell) else cell


def _cells(texts: Iterable[str]) -> list[Any]:
    return [MISSING_TEXTS.get(text, text) for text in texts]


def _check_names(names: Sequence[str]) -> None:
    (name, count), *_ = Counter(names).most_common(1) or [("", 0)]
    if count > 1:
        raise ValueError(f"it has {count} columns named {shown(name)}: give each column a name of its own")


def _read_parquet(content: bytes) -> pd.DataFrame:
    table = pd.read_parquet(BytesIO(content))
    names = [*map(str, table.columns)]
    _check_names(names)
    return _plain({name: table.iloc[:, i] for i, name in enumerate(names)})


def _read_npz(content: bytes) -> pd.DataFrame:
    if not content.startswith(b"PK"):
        raise ValueError("it is no npz file")
    with np.load(BytesIO(content), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    columns: dict[str, Any] = {}
    for name, values in arrays.items():
        if values.ndim not in (1, 2) or values.dtype.kind == "c":
            found = f"shape {values.shape} and dtype {values.dtype}"
            raise ValueError(f"its array {shown(name)} has {found}: give real numbers or texts, shape (N,) or (N, D)")
        texts = values.astype(str) if values.dtype.kind == "S" else values
        new = {name: texts} if texts.ndim == 1 else {f"{name}{i}": texts[:, i] for i in range(texts.shape[1])}
        _check_names([*columns, *new])
        columns |= new
    if len({len(values) for values in columns.values()}) > 1:
        lengths = ", ".join(f"{shown(name)} {len(values)}" for name, values in arrays.items())
        raise ValueError(f"its arrays differ in length: {lengths}")
    return _plain({name: pd.Series(values) for name, values in columns.items()})


def _plain(columns: Mapping[str, pd.Series]) -> pd.DataFrame:
    """Keep numbers, and write all other cells as texts."""
    plain = {name: _plain_cells(cells) for name, cells in columns.items()}
    for name, cells in plain.items():
        texts = [name, *cells] if cells.dtype == object else [name]
        if odd := next((text for text in texts if isinstance(text, str) and CONTROL.search(text)), None):
            raise ValueError(f"column {shown(name)} holds {shown(odd)}, which is no text")
    table = pd.DataFrame(plain)
    return table.set_index(pd.RangeIndex(1, len(table) + 1, name="row"))


def _plain_cells(cells: pd.Series) -> pd.Series:
    if pd.api.types.is_numeric_dtype(cells) and not pd.api.types.is_bool_dtype(cells):
        return pd.Series(cells.to_numpy("float64", na_value=np.nan))
    texts = ("" if missing else str(cell).strip() for cell, missing in zip(cells, cells.isna(), strict=True))
    return pd.Series(_cells(texts), dtype=object)


READERS: dict[str, Callable[[bytes], pd.DataFrame]] = {
    ".csv": _read_csv,
    ".tsv": partial(_read_csv, separators="\t"),
    ".parquet": _read_parquet,
    ".npz": _read_npz,
}
"""The reader of each kind of file, by the end of its name."""
