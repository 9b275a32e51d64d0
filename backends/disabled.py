"""
Mechanisms and kernel overrides that are switched off by the environment variable ``PORTANET_DISABLE``.

The switch is for measurements, and for the test run that proves that no mechanism changes a result. The variable holds
names separated by commas, such as ``"rewrite,batch_last"``, and is read once, at import.
"""

import os

DISABLED: frozenset[str] = frozenset(filter(None, map(str.strip, os.environ.get("PORTANET_DISABLE", "").split(","))))


def enabled(name: str) -> bool:
    """
    Whether a mechanism or kernel override is used.

    Examples
    --------
    >>> enabled("a name that is not in PORTANET_DISABLE")
    True
    """
    return name not in DISABLED
