"""The command line: ``python -m experiments``."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from experiments.runner import Experiment, Study, discover, pages, report
from experiments.runner.jobs import INSTALL, Task, run_all
from experiments.runner.text import entry, table
from portanet import BackendUnavailable, get_backend
from portanet.backends import default_device
from portanet.console import run_command
from portanet.files import write_atomically

if TYPE_CHECKING:
    from experiments.runner.cluster import Cluster

FAILED, USAGE_ERROR, INTERRUPTED = 1, 2, 130
COMMITTED = Path(__file__).parent / "results"


class CommandError(Exception):
    """The command cannot run; the message says how to fix it."""

    def __init__(self, message: str, code: int = USAGE_ERROR):
        super().__init__(message)
        self.code = code


def main(arguments: list[str] | None = None) -> int:
    """Run ``python -m experiments`` and return its exit code."""
    return run_command("experiments", lambda: _main(arguments))


def _main(arguments: list[str] | None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help(sys.stderr)
        return USAGE_ERROR
    try:
        return {"list": list_experiments, "run": run, "report": write_report}[options.command](options)
    except CommandError as error:
        _print_error(str(error))
        return error.code
    except KeyboardInterrupt:
        _print_error("interrupted; finished seeds are kept, and the same command (without --force) continues")
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m experiments",
        description="Compare the figures of course reports, and some goals of our own, with the figures of PortaNet.",
        epilog="Start with: python -m experiments run digits",
    )
    commands = parser.add_subparsers(dest="command", title="commands", metavar="command")
    listing = commands.add_parser(
        "list",
        help="show the experiments and the reported figures",
        description="Show each experiment: id, network and training, source, data, and reported figures.",
    )
    listing.add_argument("--json", action="store_true", help="print the complete records as JSON")
    running = commands.add_parser(
        "run",
        help="run experiments and compare their figures with the reported ones",
        description="Train, print our figures and the reported ones, and write result.json and pictures. Finished "
        "seeds do not run again. Data sets are read from the folder in the variable PORTANET_DATA, or else downloaded.",
        epilog="Exit code: 0 if all ran, 1 if one could not, 2 if the command is wrong, 130 if interrupted.",
    )
    running.add_argument(
        "ids", nargs="+", metavar="ID", help="id of an experiment; of a source (000, 001, ... or ours); or all"
    )
    running.add_argument(
        "--device", metavar="NAME", help="cpu, cuda, cuda:1, auto ... (default: PORTANET_DEVICE, else cpu)"
    )
    running.add_argument("--seed", type=_integer(0), default=0, metavar="N", help="first seed (default: 0)")
    running.add_argument("--seeds", type=_integer(1), default=1, metavar="N", help="number of seeds (default: 1)")
    running.add_argument("--quick", action="store_true", help="run a short form as a test; figures are not judged")
    running.add_argument("--force", action="store_true", help="also run finished seeds")
    workers = running.add_mutually_exclusive_group()
    workers.add_argument(
        "--jobs",
        type=_integer(1),
        default=1,
        metavar="N",
        help="parallel processes, sharing the cores (default: 1)",
    )
    workers.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="run on the workers of the Dask cluster whose scheduler has this address, one run at a time in each; the "
        "workers write the results, so they and this computer must share the folder of --out",
    )
    running.add_argument(
        "--out", type=Path, metavar="DIR", help="write into DIR/ID (default: results, with --quick results/quick)"
    )
    reporting = commands.add_parser(
        "report",
        help="write RESULTS.md from the results of full runs",
        description="Write RESULTS.md, a page of all results with pictures, next to the folder of results.",
    )
    reporting.add_argument(
        "--out", type=Path, default=COMMITTED, metavar="DIR", help="folder of results (default: those in experiments/)"
    )
    reporting.add_argument(
        "--pages", type=Path, metavar="DIR", help="also write the site's page of each source report into DIR"
    )
    return parser


def _integer(minimum: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < minimum:
            raise argparse.ArgumentTypeError(f"must be an integer of at least {minimum}, got {text!r}")
        return int(text)

    return parse


def list_experiments(options: argparse.Namespace) -> int:
    """List the experiments."""
    known = discover().values()
    if options.json:
        print(json.dumps([experiment.record() for experiment in known], indent=2))
    else:
        print("\n".join(map(entry, known)))
    return 0


def run(options: argparse.Namespace) -> int:
    """Run the unfinished seeds; a failure does not stop the other experiments."""
    selected = _select(options.ids)
    if options.dask is None:
        return _run(selected, options)
    with closing(_connect(options.dask)) as cluster:
        try:
            return _run(selected, options, cluster)
        except ConnectionError as error:
            raise CommandError(str(error), FAILED) from error


def _run(selected: list[Experiment], options: argparse.Namespace, cluster: "Cluster | None" = None) -> int:
    device = _find_device(options.device, cluster)
    if missing := [package for package in ("matplotlib", "tqdm") if not find_spec(package)]:
        raise CommandError(f"pictures and progress need {missing[0]}: {INSTALL}", FAILED)
    out = options.out or Path("results", "quick" if options.quick else "")
    _check_writable(out)
    studies = [Study(experiment, device, out / experiment.id, options.quick) for experiment in selected]
    if occupied := [str(study.folder) for study in studies if study.occupied()]:
        raise CommandError(f"{', '.join(occupied)} has runs of another form or device; choose another --out")
    for study in studies:
        _print_damaged(study.faults())
        if study.changed() and not options.force:
            _print_error(f"the code of {study.experiment.id} has changed since its results; --force runs it again")
    tasks = [task for study in studies for task in _tasks(study, options)]
    remaining = Counter(task.study.folder for task in tasks)
    for study in studies:
        if not remaining[study.folder]:
            _print_error(f"{study.experiment.id} is already finished; --force runs it again")
            if len(studies) == 1:
                _show_result(study)
    code = 0
    with closing(run_all(tasks, options.jobs, cluster)) as outcomes:
        for task, error in outcomes:
            if error:
                _print_error(f"{task}: {error}")
                code = FAILED
            task.study.summarise()
            remaining[task.study.folder] -= 1
            if not remaining[task.study.folder]:
                _show_result(task.study)
    return code


def _select(names: list[str]) -> list[Experiment]:
    known = discover()
    selected: dict[str, Experiment] = {}
    for name in names:
        found = {id: experiment for id, experiment in known.items() if name in (id, experiment.group, "all")}
        if not found:
            groups = dict.fromkeys(experiment.group for experiment in known.values())
            matches = get_close_matches(name, [*known, *groups, "all"])
            hint = f"did you mean {' or '.join(matches)}? " if matches else ""
            raise CommandError(f"unknown experiment {name!r}; {hint}python -m experiments list shows all")
        selected |= found
    return list(selected.values())


def _connect(address: str) -> "Cluster":
    try:
        from experiments.runner.cluster import Cluster
    except ModuleNotFoundError as error:
        raise CommandError("--dask needs distributed: pip install distributed", FAILED) from error
    try:
        return Cluster(address)
    except (TypeError, ValueError) as error:  # TypeError: tls:// without certificates in the settings of Dask
        raise CommandError(f"--dask must be an address such as tcp://localhost:8786, got {address}") from error
    except OSError as error:
        raise CommandError(str(error), FAILED) from error


def _find_device(device: str | None, cluster: "Cluster | None") -> str:
    try:
        return str(get_backend(device).name) if cluster is None else cluster.device(device or default_device())
    except ValueError as error:
        raise CommandError(str(error)) from error
    except BackendUnavailable as error:
        raise CommandError(str(error), FAILED) from error


def _check_writable(out: Path) -> None:
    """Raise CommandError before the training if the folder cannot be written to."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=out).close()
    except OSError as error:
        raise CommandError(f"--out must be a writable folder, got {out}: {error.strerror}") from error


def _tasks(study: Study, options: argparse.Namespace) -> Iterator[Task]:
    finished, seeds = study.finished(), range(options.seed, options.seed + options.seeds)
    first = min({*finished, *seeds})
    return (Task(study, seed, seed == first) for seed in seeds if options.force or seed not in finished)


def _show_result(study: Study) -> None:
    if result := study.summarise():
        print(table(result, study.folder))


def write_report(options: argparse.Namespace) -> int:
    """Write RESULTS.md."""
    known = list(discover().values())
    pairs, faults = report.read(known, options.out)
    _print_damaged(faults)
    if not pairs:
        fix = f"python -m experiments run all --out {options.out}"
        raise CommandError(f"{options.out} has no results of full runs: {fix}", FAILED)
    page = options.out.parent / "RESULTS.md"
    write_atomically(page, report.write(known, pairs, options.out.name).encode())
    if options.pages is not None:
        for path, text in pages.write_pages(pairs, options.out, options.pages).items():
            write_atomically(path, text.encode())
    met = [figure["met"] for *_, figure in report.judged(pairs)]
    print(f"{page}: {len(pairs)} of {len(known)} experiments; {sum(met)} of {len(met)} figures met")
    return 0


def _print_damaged(faults: list[str]) -> None:
    for fault in faults:
        _print_error(f"{fault}; it does not count")


def _print_error(message: str) -> None:
    print(f"experiments: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
