"""What a JSON file must hold: the types of its values, checked once before they are used."""

import re
from collections.abc import Callable
from types import EllipsisType, UnionType
from typing import Any, TypeAlias, get_args

from portanet.checks import shown

Schema: TypeAlias = type | UnionType | Callable[[Any], bool] | dict[str | EllipsisType, "Schema"] | list["Schema"]
"""
A type; a function that tests a value; a schema for each key of a dictionary, where ``...`` matches all other keys; or
the schema of the items of a list.
"""

NUMBER = int | float
MAX_NUMBER = 1e100
"""Numbers are smaller than this, so that their sums and squares are finite."""

MAX_NAME_LENGTH = 200
"""Most characters of a name in an object."""

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""Characters of no text: a terminal obeys them, or no encoding has them."""


def is_anything(value: Any) -> bool:
    """Accept every value, for what is checked elsewhere."""
    return True


def is_array(value: Any) -> bool:
    """Whether a value is an array of any library."""
    return hasattr(value, "shape") and hasattr(value, "dtype")


def is_number(value: Any) -> bool:
    """Whether a value is a number, which may be NaN or infinite."""
    return type(value) in (int, float)


def is_positive(value: Any) -> bool:
    """Whether a value is a number above 0, such as a duration."""
    return _fits(value, NUMBER) and value > 0


def first_mismatch(value: Any, schema: Schema, path: str = "the file") -> str:
    """
    Describe the first place where a value does not match a schema; "" if it matches.

    Numbers are finite, and True is no number. Texts hold no control characters but tabs and line breaks; names are of
    one line.

    Examples
    --------
    >>> first_mismatch({"networks": {"003-mlp": {"memory": 1}}}, {"networks": {...: {"tasks": {}, "memory": int}}})
    "networks.003-mlp lacks 'tasks'"
    >>> first_mismatch({"date": 5}, {"date": str, "load": float}), first_mismatch([1, "2"], [int])
    ("the file lacks 'load'", "1 is '2'")
    """
    if isinstance(schema, dict) and isinstance(value, dict):
        if missing := [key for key in schema if key is not ... and key not in value]:
            return f"{path} lacks {', '.join(map(repr, missing))}"
        if odd := [key for key in value if not key.isprintable() or len(key) > MAX_NAME_LENGTH]:
            return f"{path} has the name {shown(odd[0])}"
        items = [(key, item, schema.get(key, schema.get(...))) for key, item in value.items()]
    elif isinstance(schema, list) and isinstance(value, list):
        items = [(str(i), item, schema[0]) for i, item in enumerate(value)]
    else:
        return "" if _fits(value, schema) else f"{path} is {shown(value)}"
    prefix = "" if path == "the file" else f"{path}."
    for key, item, inner in items:
        if inner is not None and (mismatch := first_mismatch(item, inner, f"{prefix}{key}")):
            return mismatch
    return ""


def _fits(value: Any, schema: Schema) -> bool:
    if isinstance(schema, (dict, list)):
        return False
    if isinstance(schema, (type, UnionType)):
        return type(value) in (get_args(schema) or (schema,)) and _is_plain(value)
    return schema(value)


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return CONTROL.search(value) is None
    return not isinstance(value, NUMBER) or abs(value) < MAX_NUMBER
