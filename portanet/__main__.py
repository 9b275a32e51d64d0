"""The command line: ``portanet info``."""

import argparse
import importlib
import os
import platform

import numpy as np

import portanet


def main(arguments: list[str] | None = None) -> None:
    """Run ``portanet``, or ``python -m portanet``."""
    parser = argparse.ArgumentParser(prog="portanet", description=portanet.__doc__.strip().splitlines()[0])
    parser.add_argument("--version", action="version", version=f"portanet {portanet.__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("info", help="print versions, devices and threads")
    parser.parse_args(arguments)
    print(info())


def info() -> str:
    """
    Versions, usable devices and why others are not, default dtype, BLAS and threads, as text.

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
        "dtype": "float32 by default, float64 on request",
        "blas": _blas(),
        "threads": _threads(),
        "default": portanet.default_device(),
    }
    devices = [f"  {device}" for device in portanet.devices()]
    return "\n".join([*(f"{name:<10} {value}" for name, value in rows.items()), "devices", *devices])


def _version(library: str) -> str:
    return str(getattr(importlib.import_module(library), "__version__", "?"))


def _blas() -> str:
    built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"{built.get('name', 'unknown')} {built.get('version', '')}".strip()


def _threads() -> str:
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        return f"{cores} cores (with threadpoolctl installed, what BLAS uses is shown here)"
    pools = [f"{pool['internal_api']} {pool['num_threads']}" for pool in threadpool_info()]
    return ", ".join(pools) or "unknown"


if __name__ == "__main__":
    main()
