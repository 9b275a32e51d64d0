"""Values of JSON files are compared with what they must be."""

from typing import Any

import pytest

from portanet.schema import NUMBER, Schema, first_mismatch, is_positive


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        (True, NUMBER),
        (True, int),
        (1, bool),
        (float("nan"), NUMBER),
        (float("inf"), NUMBER),
        (10**400, int),
        (1e300, float),
        ("\x1b[2J", str),
        ("\ud800", str),
        ("\0", str),
        (0, is_positive),
        (float("nan"), is_positive),
        ("1", is_positive),
        (None, str),
        ([], {}),
        ({}, [int]),
        ([1, None], [int]),
        ({"a": 1}, {"b": int}),
        ({"a\x1b": 1}, {...: int}),
        ({"a\nb": "1"}, {...: int}),
        ({"9" * 5000: "1"}, {...: int}),
        ({"a": {"b": [{"c": "1"}]}}, {"a": {...: [{"c": int}]}}),
    ],
)
def test_another_value_is_described_in_one_line(value: Any, schema: Schema) -> None:
    found = first_mismatch(value, schema)
    assert found
    assert found.isprintable()
    assert len(found) < 300


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        (1, NUMBER),
        (None, str | None),
        ("ä\n\t±", str),
        (0.5, is_positive),
        ([], [int]),
        ({}, {...: int}),
        ({"a": 1, "other": None}, {"a": int}),
    ],
)
def test_a_fitting_value_gives_no_mismatch(value: Any, schema: Schema) -> None:
    assert first_mismatch(value, schema) == ""


def test_the_place_is_named() -> None:
    assert first_mismatch({"a": {"b": [1, "2"]}}, {"a": {...: [int]}}) == "a.b.1 is '2'"
