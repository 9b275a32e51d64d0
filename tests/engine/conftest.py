"""The tests of this folder are of single mechanisms of the engine."""

from pathlib import Path

import pytest

from portanet.backends.disabled import enabled


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.mechanism)
            if not enabled("engine"):
                item.add_marker(pytest.mark.skip(reason="PORTANET_DISABLE contains engine"))
