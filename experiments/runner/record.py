"""What an experiment is, and which there are."""

import ast
import hashlib
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import experiments
from experiments.runner.run import Figures, Run

Function: TypeAlias = Callable[[Run], Figures]


@dataclass(frozen=True)
class Reported:
    """
    A figure as the source gives it.

    Parameters
    ----------
    value : float
        Accuracies and other shares in [0, 1], losses in nats.
    better : {"higher", "lower"}, optional
        Where a figure that is better than this one lies; without it ours is shown and not judged.
    """

    value: float
    better: Literal["higher", "lower"] | None = None

    def met(self, ours: float) -> bool | None:
        """Whether our figure is as good, or None where that is no question."""
        if self.better is None:
            return None
        return ours >= self.value if self.better == "higher" else ours <= self.value


def at_least(value: float) -> Reported:
    """Figure to reach from below, such as an accuracy."""
    return Reported(value, "higher")


def at_most(value: float) -> Reported:
    """Figure to reach from above, such as a loss."""
    return Reported(value, "lower")


@dataclass(frozen=True)
class Experiment:
    """The claims of a source, and the function that puts them to the test; see :func:`experiment`."""

    id: str
    source: str
    data: str
    what: str
    choices: str
    reported: Mapping[str, Reported]
    function: Function
    remark: str = ""
    authors_waited: str = ""

    @property
    def group(self) -> str:
        """Number of the source that the id begins with, or "ours"."""
        number = self.id.partition("-")[0]
        return number if number.isdecimal() else "ours"

    def code(self) -> str:
        """
        Return a digest of the functions in the experiment's file.

        Constants are not in it, for ``what`` and ``choices`` say the numbers; nor are comments, docstrings, what
        :func:`experiment` is given, and functions of other files.
        """
        tree = ast.parse(inspect.getsource(inspect.getmodule(self.function) or self.function))
        functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
        for function in functions:
            function.decorator_list = []
            if ast.get_docstring(function) is not None:
                function.body[0] = ast.Pass()
        return hashlib.sha256("\n".join(map(ast.unparse, functions)).encode()).hexdigest()[:16]

    def record(self) -> dict[str, Any]:
        """Return all but the function, for JSON."""
        return {name: value for name, value in asdict(self).items() if name != "function"}

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process by name: the decorator has taken the function's place in its module."""
        return _known, (self.id,)


def experiment(
    id: str,
    *,
    source: str,
    data: str,
    what: str,
    reported: Mapping[str, Reported],
    choices: str = "",
    remark: str = "",
    authors_waited: str = "",
) -> Callable[[Function], Experiment]:
    """
    Turn a function of a run, which returns our figures, into an experiment.

    Parameters
    ----------
    id : str
        Name on the command line and of the folder of results; it begins with the number of the source.
    source : str
        Where the claims stand.
    data : str
        Data sets as ``portanet.datasets`` knows them, separated by commas; or a word on data that are made up.
    what : str
        Network and training, in a line.
    reported : mapping of str to Reported
        The source's figures; empty where it shows pictures only.
    choices : str
        What was taken where the source leaves a choice open. If ``data``, ``what`` or ``choices`` change, finished
        runs no longer count; if the functions of the file do, the command line says so.
    remark : str
        For the report, in Markdown: what our figures say against the source's explanation, or why one is missed.
    authors_waited : str
        Time that the source says training took, such as "2 hours".
    """
    return lambda function: Experiment(id, source, data, what, choices, reported, function, remark, authors_waited)


def discover() -> dict[str, Experiment]:
    """
    Find every experiment in the files of the folder.

    Returns
    -------
    dict
        Experiments by id, in alphabetical order.

    Raises
    ------
    ValueError
        If two have the same id.
    """
    found: dict[str, Experiment] = {}
    for module in pkgutil.iter_modules(experiments.__path__, "experiments."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, Experiment) and found.setdefault(value.id, value) is not value:
                raise ValueError(f"two experiments have the id {value.id!r}: rename the one in {module.name}")
    return dict(sorted(found.items()))


def _known(id: str) -> Experiment:
    return discover()[id]
