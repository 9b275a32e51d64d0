"""The command line: ``portanet info``, and ``train``, ``predict`` and ``show`` for tables."""

import argparse
import importlib
import os
import platform
import sys
import textwrap
import warnings
from typing import Any

import numpy as np

import portanet
from portanet.console import run_command

USAGE_ERROR, INTERRUPTED = 2, 130


def main(arguments: list[str] | None = None) -> int:
    """Run ``portanet``, or ``python -m portanet``, and return its exit code."""
    return run_command("portanet", lambda: _main(arguments))


def _main(arguments: list[str] | None) -> int:
    parser = argparse.ArgumentParser("portanet", description="Neural networks on NumPy or on a CUDA GPU.")
    parser.add_argument("--version", action="version", version=f"portanet {portanet.__version__}")
    commands = parser.add_subparsers(dest="command", title="commands", metavar="command")
    commands.add_parser("info", help="print versions, devices and threads")
    _add_table_commands(commands)
    options = vars(parser.parse_args(arguments))
    command = options.pop("command")
    if command is None:
        parser.print_help(sys.stderr)
        sys.exit(USAGE_ERROR)
    if command != "info":
        return _run_table_command(command, options)
    print(info())
    return 0


def _add_table_commands(commands: Any) -> None:
    table = "a table: CSV, Parquet or npz"
    train = commands.add_parser("train", help="train a network on a table", description="Train a network on a table.")
    train.add_argument("data", metavar="DATA", help=table)
    train.add_argument("--target", metavar="COLUMN", required=True, help="the column to predict")
    train.add_argument("--out", metavar="DIR", required=True, help="folder for the network and its report")
    train.add_argument("--model", default="128-64", help="sizes of the hidden layers, or a JSON file (%(default)s)")
    train.add_argument("--task", choices=("auto", "classification", "regression"), default="auto")
    train.add_argument("--epochs", metavar="N", type=int, default=200, help="most epochs (%(default)s)")
    train.add_argument("--seed", metavar="N", type=int, default=0, help="of the split and the weights (%(default)s)")
    train.add_argument("--device", default="auto", help="cpu, cuda or auto (%(default)s)")
    predict = commands.add_parser("predict", help="predict with a network that train wrote")
    predict.add_argument("net", metavar="NET", help="net.safetensors of train")
    predict.add_argument("data", metavar="DATA", help=table)
    predict.add_argument("--out", metavar="FILE", required=True, help="CSV or Parquet file for the predictions")
    predict.add_argument("--device", default="auto", help="cpu, cuda or auto (%(default)s)")
    show = commands.add_parser("show", help="describe a network that train wrote")
    show.add_argument("net", metavar="NET", help="net.safetensors of train")


def _run_table_command(command: str, options: dict[str, Any]) -> int:
    """Run a command, and print its warnings, or the error that ends it, as a line each on stderr."""

    def say(message: object, *_: object, **__: object) -> None:
        print(f"portanet {command}: {' '.join(str(message).split())}", file=sys.stderr)

    try:
        import matplotlib  # noqa: F401

        from portanet.table.commands import COMMANDS
    except ImportError as error:
        say(f"{error}: pip install 'portanet[table]'")
        return USAGE_ERROR
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = say
        try:
            COMMANDS[command](**options)
        except (ValueError, OSError, ImportError, ArithmeticError, MemoryError, portanet.BackendUnavailable) as error:
            say(str(error) or type(error).__name__)
            return USAGE_ERROR
        except KeyboardInterrupt:
            say("interrupted")
            return INTERRUPTED
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
