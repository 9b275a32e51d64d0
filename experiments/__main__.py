"""The command line: ``python -m experiments``."""

import argparse
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile

from experiments.frame import carry_out, discover
from experiments.frame.text import entry, table
from portanet import BackendUnavailable, Diverged, get_backend

FAILED, MISUSED, INTERRUPTED = 1, 2, 130
INSTALL = "pip install 'portanet[experiments]'"


class Refused(Exception):
    """Nothing was run; the message names the fix."""

    def __init__(self, message: str, code: int = MISUSED):
        super().__init__(message)
        self.code = code


def main(arguments: list[str] | None = None) -> int:
    """Run ``python -m experiments``, and return its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help(sys.stderr)
        return MISUSED
    try:
        return show(options) if options.command == "list" else run(options)
    except Refused as refusal:
        _complain(str(refusal))
        return refusal.code
    except KeyboardInterrupt:
        _complain("interrupted; experiments that had ended keep their results")
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m experiments",
        description="Put the figures of course reports, and some of our own, to the test.",
        epilog="Begin with: python -m experiments run digits",
    )
    commands = parser.add_subparsers(dest="command", title="commands", metavar="command")
    listing = commands.add_parser(
        "list",
        help="show the experiments and what is reported of them",
        description="Show each experiment: its id, what it does, its source, its data, and the figures reported.",
    )
    listing.add_argument("--json", action="store_true", help="print the whole records as JSON")
    running = commands.add_parser(
        "run",
        help="run experiments and compare their figures with those reported",
        description="Train, print our figures beside those reported, and write result.json and pictures. "
        "Data sets are looked for in the folder that the variable PORTANET_DATA names, and else downloaded.",
        epilog="Exit code: 0 if all ran, 1 if one could not, 2 if the command is wrong, 130 if interrupted.",
    )
    running.add_argument("ids", nargs="+", metavar="ID", help="experiments, by their ids in the list")
    running.add_argument(
        "--device", metavar="NAME", help="cpu, cuda, cuda:1, auto ... (default: PORTANET_DEVICE, else cpu)"
    )
    running.add_argument("--seed", type=_seed, default=0, metavar="N", help="of all that is drawn (default: 0)")
    running.add_argument("--quick", action="store_true", help="take seconds only, to see that all works; not judged")
    running.add_argument(
        "--out", type=Path, default=Path("results"), metavar="DIR", help="write into DIR/ID (default: results/ID)"
    )
    return parser


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 on, got {text!r}")
    return int(text)


def show(options: argparse.Namespace) -> int:
    """List the experiments."""
    known = discover().values()
    if options.json:
        print(json.dumps([experiment.record() for experiment in known], indent=2, ensure_ascii=False))
    else:
        print("\n".join(map(entry, known)))
    return 0


def run(options: argparse.Namespace) -> int:
    """Run experiments one after another; one that cannot run does not hold up the others."""
    known = discover()
    if unknown := [id for id in options.ids if id not in known]:
        raise Refused(f"there is no experiment {unknown[0]!r}: choose among {', '.join(known)}")
    try:
        backend = get_backend(options.device)
    except ValueError as error:
        raise Refused(str(error)) from error
    except BackendUnavailable as error:
        raise Refused(str(error), FAILED) from error
    if not find_spec("matplotlib"):
        raise Refused(f"pictures need matplotlib: {INSTALL}", FAILED)
    _check_writable(options.out)
    code = 0
    for id in dict.fromkeys(options.ids):
        folder = options.out / id
        try:
            print(table(carry_out(known[id], backend, folder, seed=options.seed, quick=options.quick), folder))
        except ModuleNotFoundError as error:
            _complain(f"{id}: {error}: {INSTALL}")
            code = FAILED
        except (ImportError, BackendUnavailable, Diverged, OSError) as error:  # their messages name the fix
            _complain(f"{id}: {error}")
            code = FAILED
    return code


def _check_writable(out: Path) -> None:
    """Try before hours of training, not after."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=out).close()
    except OSError as error:
        raise Refused(f"--out must be a folder that can be written to, got {out}: {error.strerror}") from error


def _complain(message: str) -> None:
    print(f"experiments: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
