"""The command line: ``python -m bench``."""

import argparse
import sys

import bench.compare
import bench.estimators
import bench.fit
import bench.mechanisms
import bench.peers.command
import bench.report
import bench.scaling
from bench.command import INTERRUPTED, USAGE_ERROR, CommandError, print_error
from portanet.console import run_command
from portanet.files import FileFormatError


def main(arguments: list[str] | None = None) -> int:
    """Run ``python -m bench`` and return its exit code."""
    return run_command("bench", lambda: _main(arguments))


def _main(arguments: list[str] | None) -> int:
    parser = argparse.ArgumentParser(
        "python -m bench",
        description="Benchmark PortaNet. Single layers and optimizers are timed by: python -m pytest bench",
        epilog="Start with: python -m bench peers --step --networks 003-mlp",
    )
    commands = parser.add_subparsers(title="commands", metavar="command")
    measured = bench.peers.command, bench.fit, bench.mechanisms, bench.estimators, bench.scaling
    for module in (*measured, bench.compare, bench.report):
        module.add_to(commands)
    options = parser.parse_args(arguments)
    if "run" not in options:
        parser.print_help(sys.stderr)
        return USAGE_ERROR
    try:
        options.run(options)
    except CommandError as error:
        print_error(str(error))
        return error.code
    except FileFormatError as error:
        print_error(str(error))
        return USAGE_ERROR
    except KeyboardInterrupt:
        print_error("interrupted; nothing was written")
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
