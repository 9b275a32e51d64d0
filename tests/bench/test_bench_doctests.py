"""The examples in docstrings."""

import doctest
import importlib

import pytest

NAMES = ("compare", "machine", "recipe", "recorded", "results", "text", "peers.race", "peers.ratios", "peers.table")


@pytest.mark.parametrize("name", NAMES)
def test_docstring_examples(name: str) -> None:
    outcome = doctest.testmod(importlib.import_module(f"bench.{name}"))
    assert outcome.failed == 0
