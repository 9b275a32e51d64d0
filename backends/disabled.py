"""
Mechanisms and kernel overrides that are switched off by the environment variable PORTANET_DISABLE.

It holds names, separated by commas, and is read once, at import. It serves measurements, and the test run that proves
that no mechanism changes a result.
"""

import os

DISABLED = frozenset(name for name in os.environ.get("PORTANET_DISABLE", "").split(",") if name)


def enabled(name: str) -> bool:
    """
    Whether a mechanism or kernel override is in use.

    Examples
    --------
    >>> enabled("no such mechanism")
    True
    """
    return name not in DISABLED
