"""What the columns of a table hold, and the inputs that the encoder makes of them."""

import json
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pandas", reason="pandas is not installed")
pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import pandas as pd
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder

from portanet.table.columns import (
    Category,
    Date,
    Dropped,
    Number,
    column_from_json,
    column_to_json,
    fit_column,
)
from portanet.table.encoder import Encoder
from portanet.table.targets import ClassTarget, NumberTarget, fit_target, target_from_json, target_to_json

NAN = np.nan


def column(*cells: Any, name: str = "x") -> Any:
    return pd.Series([*cells], name=name, index=pd.RangeIndex(1, len(cells) + 1, name="row"), dtype=object)


def names(n: int) -> list[str]:
    return [f"name {i}" for i in range(n)]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (column("1", "2.5", "1e1"), Number("x", 2.5, False)),
        (column("1", NAN, "3"), Number("x", 2.0, True)),
        (pd.Series([1.0, NAN, 4.0], name="x"), Number("x", 2.5, True)),
        (column("1", NAN, "1"), Number("x", 1.0, True)),
        (column("1970-01-02", "1970-01-03T12:00"), Date("x", 1.75, False)),
        (column("b", "a", NAN, "b"), Category("x", ["a", "b", "missing"], 0)),
        (column("True", "False", "True"), Category("x", ["False", "True"], 0)),
        (column("1", "2", "x"), Category("x", ["1", "2", "x"], 0)),
        (column(*names(10)), Category("x", names(10), 0)),
        (column(NAN, NAN), Dropped("x", "it is empty")),
        (column("3", "3"), Dropped("x", "every cell is '3'")),
        (column("a", "a"), Dropped("x", "every cell is 'a'")),
        (column(*names(11), "name 0"), Dropped("x", "11 of its 12 texts are different")),
        (column("1", "2", name="Unnamed: 0"), Dropped("Unnamed: 0", "it has no name")),
    ],
)
def test_the_kind_of_a_column(cells: Any, expected: Any) -> None:
    found = fit_column(cells)
    assert found == expected
    assert column_from_json(json.loads(json.dumps(column_to_json(found)))) == found


def test_rare_texts_count_as_none() -> None:
    cells = column(*(names(150) * 2), *(names(100) * 2))
    found = fit_column(cells)
    assert isinstance(found, Category)
    assert set(found.categories) == set(names(100))
    assert found.n_others == 50
    assert found.describe().endswith("and 90 more; 50 rarer texts count as none of these")


@pytest.mark.parametrize("wrong", ["x", "inf", "1e200", "1_000"])
def test_one_text_among_nine_numbers_is_a_mistake(wrong: str) -> None:
    with pytest.raises(ValueError, match=f"^row 10, column 'x' holds '{wrong}', which is (no number|too large): "):
        fit_column(column(*map(str, range(9)), wrong))


def test_one_text_among_nine_dates_is_a_mistake() -> None:
    with pytest.raises(ValueError, match=r"^row 10, column 'x' holds '1\.3\.2024', which is no date"):
        fit_column(column(*(f"2024-03-0{i}" for i in range(1, 10)), "1.3.2024"))


def test_one_text_among_eight_numbers_makes_categories() -> None:
    assert isinstance(fit_column(column(*map(str, range(8)), "x")), Category)


def test_the_encoder_is_that_of_scikit_learn() -> None:
    table = pd.DataFrame({"age": ["3", NAN, "5", "8"], "port": ["b", "a", NAN, "b"]}, dtype=object)
    x = Encoder([fit_column(table[name]) for name in table]).transform(table)
    ages = table[["age"]].astype(float)
    ports = table[["port"]].fillna("missing")
    expected = [
        SimpleImputer(strategy="median", add_indicator=True).fit_transform(ages),
        OneHotEncoder(sparse_output=False).fit_transform(ports),
    ]
    np.testing.assert_array_equal(x, np.hstack(expected))


def test_a_new_table_may_miss_other_cells_and_hold_other_texts_and_columns() -> None:
    encoder = Encoder([Number("age", 4.0, False), Category("port", ["a", "b"], 0), Dropped("name", "it is empty")])
    table = pd.DataFrame({"port": ["c", NAN, "b"], "age": [NAN, 1.0, 2.0], "more": ["x", "y", "z"]})
    table["port"] = table["port"].astype(object)
    np.testing.assert_array_equal(encoder.transform(table), [[4, 0, 0], [1, 0, 0], [2, 0, 1]])
    assert encoder.unknown_categories(table) == {"port": ["c", "missing"]}


def test_categories_may_come_as_numbers() -> None:
    encoder = Encoder([Category("code", ["3", "4.5", "x"], 0)])
    np.testing.assert_array_equal(encoder.transform(pd.DataFrame({"code": [4.5, 3.0]})), [[0, 1, 0], [1, 0, 0]])


def test_a_column_of_categories_may_be_empty_later() -> None:
    encoder = Encoder([Category("code", ["a", "missing"], 0)])
    np.testing.assert_array_equal(encoder.transform(pd.DataFrame({"code": [NAN, NAN]})), [[0, 1], [0, 1]])


def test_absent_columns_are_named() -> None:
    encoder = Encoder([Number("age", 4.0, False), Number("size", 4.0, False), Category("port", ["a"], 0)])
    with pytest.raises(ValueError, match=r"lacks columns that the network was trained on: \['age', 'port'\]"):
        encoder.transform(pd.DataFrame({"size": [1.0]}))


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (column("b", "a", "b", "a"), ClassTarget("x", ["a", "b"])),
        (column("True", "False", "True", "False"), ClassTarget("x", ["False", "True"])),
        (column("10", "9", "10", "9.0"), ClassTarget("x", [9, 10])),
        (column(*map(str, range(3)), *("0",) * 27), ClassTarget("x", [0, 1, 2])),
        (column(*map(str, range(3)), *("0",) * 26), NumberTarget("x")),
        (column("0.5", "1", "0.5", "1"), NumberTarget("x")),
    ],
)
def test_the_kind_of_a_target(cells: Any, expected: Any) -> None:
    assert fit_target(cells, "auto") == expected
    assert target_from_json(json.loads(json.dumps(target_to_json(expected)))) == expected


def test_the_task_overrides_the_kind_of_a_target() -> None:
    assert fit_target(column("0", "1", "0"), "regression") == NumberTarget("x")
    assert fit_target(column("0.5", "1", "0.5", "1"), "classification") == ClassTarget("x", ["0.5", "1"])


@pytest.mark.parametrize(
    ("cells", "task", "message"),
    [
        (column("a", "a", "a"), "auto", "the target 'x' is always 'a': there is nothing to learn"),
        (column("3", "3", "3"), "auto", "the target 'x' is always 3: there is nothing to learn"),
        (column("3", "3", "3"), "regression", "the target 'x' is always 3: there is nothing to learn"),
        (column(*names(20), "name 1"), "auto", "the target 'x' has 20 classes in 21 rows"),
        (column(*names(101) * 3), "auto", "the target 'x' has 101 classes in 303 rows"),
        (column("0", "1", "a"), "regression", "row 3, column 'x' holds 'a', which is no number"),
        (column(*"012345678", "a"), "auto", "row 10, column 'x' holds 'a', which is no number"),
        (column(*"0101010101010", "a"), "auto", "row 14, column 'x' holds 'a', which is no number"),
        (column("0", "1"), "both", "task must be"),
    ],
)
def test_an_unfit_target_is_refused_by_one_sentence(cells: Any, task: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        fit_target(cells, task)


def test_scores_of_classes() -> None:
    target = ClassTarget("x", ["a", "b"])
    y, predicted = np.asarray([0, 0, 1, 1]), np.asarray([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.3, 0.7]])
    assert target.score(y, predicted) == pytest.approx({"accuracy": 0.75, "f1_macro": (2 / 3 + 4 / 5) / 2})
    assert target.score(y, target.predict_baseline(np.asarray([1, 1, 0]), 4)) == pytest.approx(
        {"accuracy": 0.5, "f1_macro": 1 / 3}
    )
    assert target.frame(predicted).iloc[0].tolist() == ["a", 0.9, 0.1]


def test_scores_of_numbers() -> None:
    target, y = NumberTarget("x", 10.0, 2.0), np.asarray([1.0, 2.0, 3.0])
    assert target.predict(np.asarray([[0.5], [-1.0]])).tolist() == [11.0, 8.0]
    found = target.score(y, np.asarray([1.0, 2.0, 5.0]))
    assert found == pytest.approx({"r2": -1.0, "mean_absolute_error": 2 / 3, "root_mean_squared_error": (4 / 3) ** 0.5})
    assert target.score(y, target.predict_baseline(y, 3))["r2"] == 0.0
