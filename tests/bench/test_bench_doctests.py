"""The examples in docstrings run."""

import doctest
import importlib

import pytest

NAMES = ("compare", "machine", "recipe", "recorded", "results", "text", "peers.race", "peers.ratios")


@pytest.mark.parametrize("name", NAMES)
def test_examples_run(name):
    outcome = doctest.testmod(importlib.import_module(f"bench.{name}"))
    assert outcome.failed == 0
