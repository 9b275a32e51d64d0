import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("value", "expected"),
    [("", []), ("rewrite", ["rewrite"]), (" rewrite, batch_last,", ["batch_last", "rewrite"])],
)
def test_the_variable_names_what_is_switched_off(value: str, expected: list[str]) -> None:
    code = "from portanet.backends.disabled import DISABLED, enabled; print(sorted(DISABLED), enabled('rewrite'))"
    printed = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PORTANET_DISABLE": value},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed == f"{expected} {'rewrite' not in expected}\n"
