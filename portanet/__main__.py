"""The command line: ``portanet info``."""

import argparse
import importlib
import os
import platform
import sys
import textwrap

import numpy as np

import portanet
from portanet.console import run_command


def main(arguments: list[str] | None = None) -> int:
    """Run ``portanet``, or ``python -m portanet``, and return its exit code."""
    return run_command("portanet", lambda: _main(arguments))


def _main(arguments: list[str] | None) -> int:
    parser = argparse.ArgumentParser("portanet", description="Neural networks on NumPy or on a CUDA GPU.")
    parser.add_argument("--version", action="version", version=f"portanet {portanet.__version__}")
    commands = parser.add_subparsers(dest="command", title="commands", metavar="command")
    commands.add_parser("info", help="print versions, devices and threads")
    if parser.parse_args(arguments).command is None:
        parser.print_help(sys.stderr)
        sys.exit(2)
    print(info())
    return 0


def info() -> str:
    """
    Describe versions, devices, default dtype, BLAS and threads, as text for a terminal.

    Examples
    --------
    >>> print(info())
    portanet ...
    """
    libraries = ", ".join(f"{name} {_version(name)}" for name in ("numpy", "array_api_compat", "safetensors"))
    rows = {
        "portanet": portanet.__version__,
        "python": f"{platform.python_version()} on {platform.platform()}",
        "libraries": libraries,
        "blas": _blas(),
        "threads": _threads(),
        "dtype": "float32 by default, float64 on request",
        "device": f"{portanet.default_device()} by default{_default_device_error()}",
    }
    lines = [_wrap(f"{name:<10} {value}", indent=11) for name, value in rows.items()]
    devices = [_wrap(f"  {device}", indent=19) for device in portanet.devices()]
    return "\n".join([*lines, "devices", *devices])


def _default_device_error() -> str:
    try:
        portanet.get_backend()
    except ValueError as error:
        return f": {error}"
    except portanet.BackendUnavailable:
        pass  # the list of devices gives the reason
    return ""


def _wrap(line: str, indent: int) -> str:
    return textwrap.fill(line, width=100, subsequent_indent=" " * indent, break_on_hyphens=False)


def _version(library: str) -> str:
    return str(getattr(importlib.import_module(library), "__version__", "?"))


def _blas() -> str:
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()


def _threads() -> str:
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        return f"{cores} cores (install threadpoolctl to show the threads of BLAS)"
    pools = [f"{pool['internal_api']} {pool['num_threads']}" for pool in threadpool_info()]
    return ", ".join(pools) or "unknown"


if __name__ == "__main__":
    sys.exit(main())
