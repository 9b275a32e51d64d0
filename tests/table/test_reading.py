"""Tables of all kinds of files, and what is wrong with hostile ones."""

import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portanet as pn

pytest.importorskip("pandas", reason="pandas is not installed")

import pandas as pd

from portanet.table.reading import read_table


def csv(tmp_path: Path, content: str | bytes) -> Any:
    path = tmp_path / "x.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_table(path)


@pytest.mark.parametrize(
    "content",
    [
        "name,size\nÅsa,1.5\n李,2\n",
        "name;size\nÅsa;1,5\n李;2\n",
        "name\tsize\r\nÅsa\t1.5\r\n李\t2",
        '"name", "size"\r"Åsa", 1.5\r李 , "2"\r',
        "name,size\n\nÅsa,1.5\n\n\n李,2\n\n",
        "\ufeffname,size\nÅsa,1.5\n李,2\n",
        "name\tsize\nÅsa\t1.5\n李\t2\n".encode("utf-16"),
    ],
    ids=["comma", "semicolon", "tab", "quotes", "blank lines", "UTF-8 mark", "UTF-16"],
)
def test_separators_line_ends_and_encodings(tmp_path: Path, content: str | bytes) -> None:
    table = csv(tmp_path, content)
    assert [*table.columns] == ["name", "size"]
    assert table.to_numpy().tolist() == [["Åsa", "1.5"], ["李", "2"]]


@pytest.mark.parametrize(
    ("name", "content", "columns"),
    [
        ("x.csv", "Weight, kg;Height, m\n70,5;1,8\n", ["Weight, kg", "Height, m"]),
        ("x.csv", "a;b,c\n1,2\n3,4\n", ["a;b", "c"]),
        ("x.csv", 'text;number\n"a\tb, c";1\n', ["text", "number"]),
        ("x.csv", '"a;b",c\n"1;2",3\n', ["a;b", "c"]),
        ("x.tsv", "last, first\tage\nLovelace, Ada\t36\n", ["last, first", "age"]),
        ("x.tsv", "name;nickname\nAda;A\n", ["name;nickname"]),
    ],
)
def test_the_separator_is_what_divides_all_rows_alike(
    tmp_path: Path, name: str, content: str, columns: list[str]
) -> None:
    (tmp_path / name).write_text(content)
    assert [*read_table(tmp_path / name).columns] == columns


def test_quoted_cells_hold_separators_and_line_ends_and_lines_are_counted(tmp_path: Path) -> None:
    table = csv(tmp_path, 'a,b\n"1,5","x ""y""\r\nz"\n2,\n')
    assert table.to_numpy().tolist()[0] == ["1,5", 'x "y"\nz']
    assert table.index.tolist() == [2, 4]
    assert table.index.name == "line"
    assert pd.isna(table.loc[4, "b"])


def test_decimal_commas_are_those_of_tables_with_semicolons(tmp_path: Path) -> None:
    table = csv(tmp_path, "a;b\n-1.234,5;x,y\n+2,0;1.2,3\n")
    assert table["a"].tolist() == ["-1234.5", "+2.0"]
    assert table["b"].tolist() == ["x,y", "1.2,3"]


def test_texts_that_stand_for_missing_cells(tmp_path: Path) -> None:
    table = csv(tmp_path, "a,b\nNA,0\n?,none\n NaN ,x\n,y\n")
    assert table["a"].isna().all()
    assert table["b"].tolist() == ["0", "none", "x", "y"]


def test_columns_without_a_name_are_numbered_as_in_pandas(tmp_path: Path) -> None:
    assert [*csv(tmp_path, ",a,\n0,1,2\n").columns] == ["Unnamed: 0", "a", "Unnamed: 2"]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("", "it is empty"),
        ("\n \n", "it is empty"),
        ("a,b\n", "it has no rows"),
        ("a,b,a\n1,2,3\n", "it has 2 columns named 'a'"),
        ("a,b\n1,2\n\n3\n", "line 4 has 1 cells, but the header has 2"),
        ('a,b\n"1\n",2\n3,4,5\n', "line 4 has 3 cells, but the header has 2"),
        ('a,b\n1,2\n3,"4\n5,6\n', "line 3 cannot be split into cells"),
        ('a,b\n1,"2"x\n', "line 2 cannot be split into cells"),
        ("a,b\n1,\x002\n", r"line 2 holds '\x00', which is no text"),
        ("a,b\n1,\x1b[2J\n", r"line 2 holds '\x1b', which is no text"),
        ("a,b\n1,2\nü,3\n".encode("latin-1"), "line 3 is not encoded in UTF-8"),
        (b"\xff\xfea", "line 1 is not encoded in UTF-8"),
    ],
)
def test_a_hostile_csv_file_is_refused_by_one_sentence(tmp_path: Path, content: str | bytes, fault: str) -> None:
    with pytest.raises(pn.FileFormatError) as error:
        csv(tmp_path, content)
    assert str(error.value).startswith(f"{tmp_path / 'x.csv'} cannot be loaded: {fault}")


def test_an_unknown_kind_of_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"whose name ends in \.csv, \.tsv, \.parquet, \.npz"):
        read_table(tmp_path / "x.xlsx")
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "x.csv")


def test_npz_arrays_are_columns(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "x.npz",
        x=np.asarray([[1, 2], [3, 4]], dtype="int8"),
        flag=np.asarray([True, False]),
        name=np.asarray([b"a", b""]),
        day=np.asarray(["2024-03-01", "NaT"], dtype="datetime64[D]"),
    )
    table = read_table(tmp_path / "x.npz")
    assert table[["x0", "x1"]].to_numpy().tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert table["flag"].tolist() == ["True", "False"]
    assert table["name"].fillna("missing").tolist() == ["a", "missing"]
    assert table["day"].fillna("missing").tolist() == ["2024-03-01 00:00:00", "missing"]
    assert (table.index.tolist(), table.index.name) == ([1, 2], "row")


@pytest.mark.parametrize(
    ("arrays", "fault"),
    [
        ({}, "it has no columns"),
        ({"x": np.zeros((0, 2))}, "it has no rows"),
        ({"x": np.zeros((2, 2, 2))}, "its array 'x' has shape (2, 2, 2) and dtype float64"),
        ({"x": np.zeros(2, dtype=complex)}, "its array 'x' has shape (2,) and dtype complex128"),
        ({"x": np.float64(1)}, "its array 'x' has shape ()"),
        ({"x": np.zeros(2), "y": np.zeros(3)}, "its arrays differ in length: 'x' 2, 'y' 3"),
        ({"x": np.zeros((2, 2)), "x1": np.zeros(2)}, "it has 2 columns named 'x1'"),
        ({"x": np.asarray(["a", "\x1b"])}, r"column 'x' holds '\x1b', which is no text"),
        ({"x": np.asarray([None, {}])}, "Object arrays cannot be loaded"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_hostile_npz_file_is_refused_by_one_sentence(tmp_path: Path, arrays: dict[str, Any], fault: str) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(pn.FileFormatError) as error:
        read_table(tmp_path / "x.npz")
    assert error.value.fault.startswith(fault)


@pytest.mark.parametrize("content", [b"", b"PK", b"x" * 99, b"\x93NUMPY\x01\x00"])
def test_what_is_no_npz_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(pn.FileFormatError):
        read_table(tmp_path / "x.npz")


def test_parquet_columns_are_numbers_or_texts(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow reads Parquet files")
    frame = pd.DataFrame(
        {
            "n": pd.array([1, None, 3], dtype="Int64"),
            "f": [0.5, np.nan, 1.0],
            "flag": [True, False, True],
            "text": ["a", None, "NA"],
            "kind": pd.Categorical(["x", "y", None]),
            "day": pd.to_datetime(["2024-03-01T00:00", None, "2024-03-01T12:00"]),
        },
        index=[7, 8, 9],
    )
    frame.to_parquet(tmp_path / "x.parquet")
    table = read_table(tmp_path / "x.parquet")
    assert [*table.columns] == ["n", "f", "flag", "text", "kind", "day"]
    assert table.astype(object).fillna("missing").to_numpy().tolist() == [
        [1.0, 0.5, "True", "a", "x", "2024-03-01 00:00:00"],
        ["missing", "missing", "False", "missing", "y", "missing"],
        [3.0, 1.0, "True", "missing", "missing", "2024-03-01 12:00:00"],
    ]
    (tmp_path / "x.parquet").write_bytes(BytesIO(b"PAR1 and no more").getvalue())
    with pytest.raises(pn.FileFormatError):
        read_table(tmp_path / "x.parquet")


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match="Parquet files need pyarrow: pip install pyarrow"):
        read_table(tmp_path / "x.parquet")
