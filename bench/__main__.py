"""The command line: ``python -m bench``."""

import argparse
import sys

import bench.compare
import bench.peers.command
import bench.report
from bench.command import INTERRUPTED, MISUSED, Refused, complain


def main(arguments: list[str] | None = None) -> int:
    """Run ``python -m bench``, and return its exit code."""
    parser = argparse.ArgumentParser(
        "python -m bench",
        description="How fast PortaNet is. Its pieces by themselves are timed by: python -m pytest bench",
        epilog="Begin with: python -m bench peers --step --networks 003-mlp",
    )
    commands = parser.add_subparsers(title="commands", metavar="command")
    for module in (bench.peers.command, bench.compare, bench.report):
        module.add_to(commands)
    options = parser.parse_args(arguments)
    if "run" not in options:
        parser.print_help(sys.stderr)
        return MISUSED
    try:
        options.run(options)
    except Refused as refusal:
        complain(str(refusal))
        return refusal.code
    except KeyboardInterrupt:
        complain("interrupted; nothing was written")
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
