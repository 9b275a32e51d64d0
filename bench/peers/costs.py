"""Costs of a library before the first training step: installed size, import time, and time to the first step."""

import importlib.metadata
import statistics
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError
from importlib.util import find_spec
from pathlib import Path
from subprocess import CalledProcessError, check_output
from time import perf_counter
from typing import Any

from packaging.requirements import Requirement

from bench.command import print_error
from bench.networks import NETWORKS
from bench.peers import Unsupported
from bench.peers.competitors import COMPETITORS
from bench.peers.process import ROOT, Child, ChildFailed, environment
from bench.peers.race import Settings

DISTRIBUTIONS = {"portanet": "portanet", "torch": "torch", "sklearn": "scikit-learn", "jax": "jax"}
FIRST_NETWORK = "003-mlp"
TIMED_IMPORT = "from time import perf_counter; begin = perf_counter(); import {}; print(perf_counter() - begin)"


def all_costs(settings: Settings, log: Callable[[str], None]) -> dict[str, dict[str, Any]]:
    """
    Measure each library that is installed and works.

    Parameters
    ----------
    settings : Settings
        Threads and number of rounds; the results are medians over the rounds.
    log : callable
        Called with progress messages.

    Returns
    -------
    dict
        Result of :func:`costs` by import name of the library.
    """
    measured = {}
    for library in DISTRIBUTIONS:
        if find_spec(library):
            log(f"costs of {library}")
            try:
                measured[library] = costs(library, settings)
            except (Unsupported, ChildFailed, CalledProcessError) as reason:
                print_error(f"costs of {library} cannot be measured: {reason}")
    return measured


def costs(library: str, settings: Settings) -> dict[str, Any]:
    """
    Measure one library.

    Returns
    -------
    dict
        ``"import"``: seconds of the import. ``"first_step"``: seconds from the start of a process to the end of its
        first training step. ``"installed"``: bytes of the library and its dependencies. ``"requires"``: names of the
        dependencies.
    """
    competitor = next(name for name, c in COMPETITORS.items() if c.library == library)
    distributions = required(DISTRIBUTIONS[library])
    files = {file for distribution in distributions.values() for file in _files(distribution)}
    return {
        "import": statistics.median(import_time(library, settings) for _ in range(settings.rounds)),
        "first_step": statistics.median(first_step(competitor, settings) for _ in range(settings.rounds)),
        "installed": sum(file.stat().st_size for file in files if file.is_file()),
        "requires": sorted(set(distributions) - {DISTRIBUTIONS[library]}),
    }


def import_time(library: str, settings: Settings) -> float:
    """Return the seconds that ``import`` takes in a new interpreter."""
    command = [sys.executable, "-c", TIMED_IMPORT.format(library)]
    return float(check_output(command, cwd=ROOT, env=environment(settings.threads)))


def first_step(competitor: str, settings: Settings) -> float:
    """Return the seconds from the start of a process to the end of its first training step."""
    begin = perf_counter()
    with Child(competitor, settings.device, settings.threads) as child:
        child.ask(do="step", recipe=NETWORKS[FIRST_NETWORK].recipe().to_json())
        return perf_counter() - begin


def required(name: str) -> dict[str, Distribution]:
    """Return a distribution and its dependencies, without extras, by name."""
    found: dict[str, Distribution] = {}
    waiting = [name]
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in found:
            continue
        try:
            found[name] = importlib.metadata.distribution(name)
        except PackageNotFoundError:
            continue  # a dependency for other systems
        requirements = map(Requirement, found[name].requires or ())
        waiting += [r.name for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})]
    return found


def _files(distribution: Distribution) -> Iterator[Path]:
    """Yield the installed files; of an editable install, those of the source tree."""
    listed = [Path(str(file.locate())).resolve() for file in distribution.files or ()]
    if not any(file.name == "direct_url.json" and '"editable": true' in file.read_text() for file in listed):
        yield from listed
        return
    name = distribution.metadata["Name"]
    for package in (name, f"{name}.backends"):
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            yield from Path(folder).resolve().rglob("*")
