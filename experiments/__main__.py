"""The command line: ``python -m experiments``."""

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile

from experiments.runner import Experiment, Study, discover, report
from experiments.runner.jobs import INSTALL, Task, run_all
from experiments.runner.text import entry, table
from portanet import BackendUnavailable, get_backend
from portanet.persistence import write_atomically

FAILED, MISUSED, INTERRUPTED = 1, 2, 130
COMMITTED = Path(__file__).parent / "results"


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
        code = {"list": show, "run": run, "report": write_report}[options.command](options)
        sys.stdout.flush()
        return code
    except Refused as refusal:
        _complain(str(refusal))
        return refusal.code
    except BrokenPipeError:  # of `list | head` for instance, which has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:
        _complain("interrupted; what had ended is kept, and the same command (without --force) goes on from there")
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
        description="Train, print our figures beside those reported, and write result.json and pictures. What is "
        "finished, seed by seed, is not run again. "
        "Data sets are looked for in the folder that the variable PORTANET_DATA names, and else downloaded.",
        epilog="Exit code: 0 if all ran, 1 if one could not, 2 if the command is wrong, 130 if interrupted.",
    )
    running.add_argument(
        "ids", nargs="+", metavar="ID", help="id in the list; 000, 001 ... or ours for those of a source; or all"
    )
    running.add_argument(
        "--device", metavar="NAME", help="cpu, cuda, cuda:1, auto ... (default: PORTANET_DEVICE, else cpu)"
    )
    running.add_argument("--seed", type=_count(0), default=0, metavar="N", help="of all that is drawn (default: 0)")
    running.add_argument(
        "--seeds", type=_count(1), default=1, metavar="N", help="so many seeds, from --seed on (default: 1)"
    )
    running.add_argument("--quick", action="store_true", help="take seconds only, to see that all works; not judged")
    running.add_argument("--force", action="store_true", help="run what is finished, too")
    running.add_argument(
        "--jobs", type=_count(1), default=1, metavar="N", help="so many at once, which share the cores (default: 1)"
    )
    running.add_argument(
        "--out", type=Path, metavar="DIR", help="write into DIR/ID (default: results, with --quick results/quick)"
    )
    reporting = commands.add_parser(
        "report",
        help="write RESULTS.md from the results of full runs",
        description="Write one page of all results, with the pictures: RESULTS.md, beside their folder.",
    )
    reporting.add_argument(
        "--out", type=Path, default=COMMITTED, metavar="DIR", help="folder of results (default: those in experiments/)"
    )
    return parser


def _count(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"must be a whole number from {least} on, got {text!r}")
        return int(text)

    return parse


def show(options: argparse.Namespace) -> int:
    """List the experiments."""
    known = discover().values()
    if options.json:
        print(json.dumps([experiment.record() for experiment in known], indent=2, ensure_ascii=False))
    else:
        print("\n".join(map(entry, known)))
    return 0


def run(options: argparse.Namespace) -> int:
    """Run what is not finished; one experiment that cannot run does not hold up the others."""
    chosen = _choose(options.ids)
    device = _find_device(options.device)
    if missing := [package for package in ("matplotlib", "tqdm") if not find_spec(package)]:
        raise Refused(f"pictures and progress need {missing[0]}: {INSTALL}", FAILED)
    out = options.out or Path("results", "quick" if options.quick else "")
    _check_writable(out)
    studies = [Study(experiment, device, out / experiment.id, options.quick) for experiment in chosen]
    if occupied := [str(study.folder) for study in studies if study.occupied()]:
        raise Refused(f"{', '.join(occupied)} holds runs of the other form or of another device: give another --out")
    for study in studies:
        if study.changed() and not options.force:
            _complain(f"{study.experiment.id} has results of other code than it has now; --force runs it anew")
    tasks = [task for study in studies for task in _tasks(study, options)]
    left = Counter(task.study.folder for task in tasks)
    for study in studies:
        if not left[study.folder]:
            _complain(f"{study.experiment.id} is finished already; --force runs it again")
            if len(studies) == 1:
                _show_result(study)
    code = 0
    with closing(run_all(tasks, options.jobs)) as outcomes:
        for task, mistake in outcomes:
            if mistake:
                _complain(f"{task}: {mistake}")
                code = FAILED
            task.study.summarise()
            left[task.study.folder] -= 1
            if not left[task.study.folder]:
                _show_result(task.study)
    return code


def _choose(ids: list[str]) -> list[Experiment]:
    known = discover()
    chosen: dict[str, Experiment] = {}
    for asked in ids:
        found = {id: experiment for id, experiment in known.items() if asked in (id, experiment.group, "all")}
        if not found:
            groups = dict.fromkeys(experiment.group for experiment in known.values())
            near = get_close_matches(asked, [*known, *groups, "all"])
            hint = f"did you mean {' or '.join(near)}? " if near else ""
            raise Refused(f"there is no experiment {asked!r}: {hint}python -m experiments list shows all")
        chosen |= found
    return list(chosen.values())


def _find_device(asked: str | None) -> str:
    try:
        return str(get_backend(asked).name)
    except ValueError as error:
        raise Refused(str(error)) from error
    except BackendUnavailable as error:
        raise Refused(str(error), FAILED) from error


def _check_writable(out: Path) -> None:
    """Try before hours of training, not after."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=out).close()
    except OSError as error:
        raise Refused(f"--out must be a folder that can be written to, got {out}: {error.strerror}") from error


def _tasks(study: Study, options: argparse.Namespace) -> Iterator[Task]:
    finished, asked = study.finished(), range(options.seed, options.seed + options.seeds)
    first = min({*finished, *asked})
    return (Task(study, seed, seed == first) for seed in asked if options.force or seed not in finished)


def _show_result(study: Study) -> None:
    if result := study.summarise():
        print(table(result, study.folder))


def write_report(options: argparse.Namespace) -> int:
    """Write RESULTS.md."""
    known = list(discover().values())
    pairs = report.read(known, options.out)
    if not pairs:
        fix = f"python -m experiments run all --out {options.out}"
        raise Refused(f"{options.out} holds no results of full runs: {fix}", FAILED)
    page = options.out.parent / "RESULTS.md"
    write_atomically(page, report.write(known, pairs, options.out.name).encode())
    met = [figure["met"] for *_, figure in report.judged(pairs)]
    print(f"{page}: {len(pairs)} of {len(known)} experiments; {sum(met)} of {len(met)} figures met")
    return 0


def _complain(message: str) -> None:
    print(f"experiments: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
