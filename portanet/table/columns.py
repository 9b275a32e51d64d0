"""The columns of a table: what their cells hold, and how the cells become inputs of a network."""

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np
import pandas as pd
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder

from portanet.checks import check_choice, shown
from portanet.schema import MAX_NUMBER, NUMBER, Schema, first_mismatch
from portanet.table.wording import listed

MIN_PARSED_SHARE = 0.9
"""A column with at least this share of numbers holds numbers; each other cell is then an error. Dates likewise."""

MAX_CATEGORIES = 100
"""Most categories of a column. Rarer texts count as none of them."""

MAX_UNIQUE_TEXTS_KEPT = 10
"""A column with at most this many different texts is never dropped."""

MISSING_CATEGORY = "missing"
"""The category of missing cells."""

DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?")


def numbers(cells: pd.Series) -> pd.Series:
    """
    Return cells as float64, and NaN where a cell holds no number.

    Examples
    --------
    >>> numbers(pd.Series(["1e3", "x", np.nan])).tolist()
    [1000.0, nan, nan]
    """
    return pd.to_numeric(cells, errors="coerce").astype("float64")


def days(cells: pd.Series) -> pd.Series:
    """
    Return dates such as 2024-03-01 or 2024-03-01T12:00 as days since 1970, and NaN where a cell holds no date.

    Examples
    --------
    >>> days(pd.Series(["1970-01-02", "1970-01-01 18:00", "1.3.1970"])).tolist()
    [1.0, 0.75, nan]
    """
    dates = cells.map(lambda cell: cell if isinstance(cell, str) and DATE.fullmatch(cell) else None).astype(object)
    times = pd.to_datetime(dates, format="ISO8601", errors="coerce", utc=True).dt.tz_localize(None)
    since_1970 = times.to_numpy().astype("datetime64[us]") - np.datetime64(0, "us")
    return pd.Series(since_1970 / np.timedelta64(1, "D"), index=cells.index)


def texts(cells: pd.Series) -> pd.Series:
    """
    Return cells as texts; whole numbers have no decimal point.

    Examples
    --------
    >>> texts(pd.Series([1.0, 2.5, np.nan])).tolist()
    ['1', '2.5', nan]
    """
    plain = cells.astype(object)
    if cells.dtype == "float64":
        plain = plain.map(lambda x: str(int(x)) if float(x).is_integer() else str(x), na_action="ignore")
    return plain.astype(object)  # map returns floats where all cells are missing


def read_cells(cells: pd.Series, parse: Callable[[pd.Series], pd.Series], kind: str) -> pd.Series:
    """
    Return the cells of a column as float64, and NaN where a cell is missing.

    Raises
    ------
    ValueError
        If a cell is of another kind; the message names its row and its column.

    Examples
    --------
    >>> cells = pd.Series(["1", "x"], name="age", index=pd.Index([2, 3], name="line"))
    >>> read_cells(cells, numbers, "number")
    Traceback (most recent call last):
    ...
    ValueError: line 3, column 'age' holds 'x', which is no number: correct the cell, or leave it empty
    """
    values = parse(cells)
    wrong = cells.notna() & ~(values.abs() < MAX_NUMBER)
    if wrong.any():
        place = wrong.idxmax()
        fault = f"no {kind}" if np.isnan(values[place]) else "too large"
        where = f"{cells.index.name} {place}, column {shown(cells.name)}"
        raise ValueError(f"{where} holds {shown(cells[place])}, which is {fault}: correct the cell, or leave it empty")
    return values


def is_set_of(*kinds: type) -> Callable[[Any], bool]:
    """
    Return a function that accepts a list of different values of one of the types, at least one.

    Examples
    --------
    >>> is_set_of(int, str)(["a", "b"]), is_set_of(int, str)(["a", 1]), is_set_of(int, str)([1, 1])
    (True, False, False)
    """

    def is_set(value: Any) -> bool:
        return any(not first_mismatch(value, [kind]) for kind in kinds) and 0 < len(value) == len(set(value))

    return is_set


@dataclass(frozen=True)
class Number:
    """Numbers. Missing cells count as ``fill_value``, and with ``add_indicator`` an input of their own marks them."""

    name: str
    fill_value: float
    add_indicator: bool

    kind: ClassVar[str] = "number"
    schema: ClassVar[dict[Any, Schema]] = {"name": str, "fill_value": NUMBER, "add_indicator": bool}

    @staticmethod
    def parse(cells: pd.Series) -> pd.Series:
        """Return the cells as float64, and NaN for those of another kind."""
        return numbers(cells)

    @classmethod
    def fit(cls, cells: pd.Series) -> Self:
        """Take the median of the training data for missing cells."""
        values = read_cells(cells, cls.parse, cls.kind)
        return cls(str(cells.name), float(values.median()), bool(values.isna().any()))

    def read(self, cells: pd.Series) -> pd.Series:
        """Return the cells as the transformer takes them."""
        return read_cells(cells, self.parse, self.kind)

    def example(self) -> list[Any]:
        """Return the cells to fit the transformer to."""
        return [np.nan if self.add_indicator else self.fill_value]

    def transformer(self) -> Any:
        """Return what turns the cells into inputs of a network."""
        return SimpleImputer(
            strategy="constant", fill_value=self.fill_value, add_indicator=self.add_indicator, keep_empty_features=True
        )

    def describe(self) -> str:
        """Say what is done with the column."""
        marked = ", and an input marks them" if self.add_indicator else ""
        return f"{self.kind}; missing cells count as the median{marked}"


@dataclass(frozen=True)
class Date(Number):
    """Dates, as days since 1970."""

    kind: ClassVar[str] = "date"

    @staticmethod
    def parse(cells: pd.Series) -> pd.Series:
        return days(cells)


@dataclass(frozen=True)
class Category:
    """Texts. Each of ``categories`` has an input of its own, 1 or 0; of other texts, all inputs are 0."""

    name: str
    categories: list[str]
    n_others: int

    kind: ClassVar[str] = "category"
    schema: ClassVar[dict[Any, Schema]] = {"name": str, "categories": is_set_of(str), "n_others": int}

    @classmethod
    def fit(cls, cells: pd.Series) -> Self:
        """Take the most frequent texts of the training data."""
        found = texts(cells).fillna(MISSING_CATEGORY).value_counts().index
        return cls(str(cells.name), sorted(found[:MAX_CATEGORIES]), max(0, len(found) - MAX_CATEGORIES))

    def read(self, cells: pd.Series) -> pd.Series:
        """Return the cells as the transformer takes them."""
        return texts(cells).fillna(MISSING_CATEGORY)

    def unknown(self, cells: pd.Series) -> list[str]:
        """Return the texts that are no category, each once."""
        return [text for text in self.read(cells).unique() if text not in self.categories]

    def example(self) -> list[Any]:
        """Return the cells to fit the transformer to."""
        return self.categories[:1]

    def transformer(self) -> Any:
        """Return what turns the cells into inputs of a network."""
        return OneHotEncoder(categories=[self.categories], handle_unknown="ignore", sparse_output=False)

    def describe(self) -> str:
        """Say what is done with the column."""
        others = f"; {self.n_others} rarer texts count as none of these" if self.n_others else ""
        return f"{self.kind}: {listed(self.categories)}{others}"


@dataclass(frozen=True)
class Dropped:
    """A column that cannot help, and the reason."""

    name: str
    reason: str

    kind: ClassVar[str] = "dropped"
    schema: ClassVar[dict[Any, Schema]] = {"name": str, "reason": str}

    def describe(self) -> str:
        """Say what is done with the column."""
        return f"{self.kind}: {self.reason}"


Used: TypeAlias = Number | Category
Column: TypeAlias = Used | Dropped
KINDS: dict[str, type[Any]] = {kind.kind: kind for kind in (Number, Date, Category, Dropped)}


def fit_column(cells: pd.Series) -> Column:
    """
    Find out what the cells of a column of the training data hold.

    Raises
    ------
    ValueError
        If most cells are numbers, or dates, and one is not.

    Examples
    --------
    >>> fit_column(pd.Series(["3", "1", np.nan], name="age"))
    Number(name='age', fill_value=2.0, add_indicator=True)
    >>> fit_column(pd.Series(["b", "a", "b"], name="port"))
    Category(name='port', categories=['a', 'b'], n_others=0)
    >>> fit_column(pd.Series(["a", "a", "a"], name="port")).describe()
    "dropped: every cell is 'a'"
    """
    name, counts = str(cells.name), cells.value_counts()
    n_filled = int(counts.sum())
    if name.startswith("Unnamed: "):
        return Dropped(name, "it has no name")
    if counts.empty:
        return Dropped(name, "it is empty")
    if counts.iloc[0] == len(cells):
        return Dropped(name, f"every cell is {shown(counts.index[0])}")
    for kind in (Number, Date):
        fits = kind.parse(counts.index.to_series()).notna()
        if counts[fits.to_numpy()].sum() >= MIN_PARSED_SHARE * n_filled:
            return kind.fit(cells)
    if len(counts) > max(MAX_UNIQUE_TEXTS_KEPT, n_filled / 2):
        return Dropped(name, f"{len(counts):,} of its {n_filled:,} texts are different")
    return Category.fit(cells)


def column_to_json(column: Column) -> dict[str, Any]:
    """Return what :func:`column_from_json` builds the column from."""
    return {"kind": column.kind, **asdict(column)}


def column_from_json(value: dict[str, Any]) -> Column:
    """
    Build a column again, after checks of its description.

    Examples
    --------
    >>> column_from_json({"kind": "number", "name": "age", "fill_value": "old", "add_indicator": True})
    Traceback (most recent call last):
    ...
    ValueError: fill_value is 'old'
    """
    kind = KINDS[check_choice("kind", value["kind"], choices=tuple(KINDS))]
    if mismatch := first_mismatch(value, kind.schema):
        raise ValueError(mismatch)
    column: Column = kind(**{name: value[name] for name in kind.schema})
    return column
