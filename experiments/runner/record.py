"""Definition and discovery of experiments."""

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
    A figure reported by the source.

    Parameters
    ----------
    value : float
        Accuracies and other shares in [0, 1], losses in nats.
    better : {"higher", "lower"}, optional
        Which figures are better than this one. Without it, our figure is shown but not judged.
    """

    value: float
    better: Literal["higher", "lower"] | None = None

    def met(self, ours: float) -> bool | None:
        """Whether our figure is at least as good; None if it is not judged."""
        if self.better is None:
            return None
        return ours >= self.value if self.better == "higher" else ours <= self.value


def at_least(value: float) -> Reported:
    """Return a reported figure for which higher is better, such as an accuracy."""
    return Reported(value, "higher")


def at_most(value: float) -> Reported:
    """Return a reported figure for which lower is better, such as a loss."""
    return Reported(value, "lower")


@dataclass(frozen=True)
class Experiment:
    """The reported figures of a source, and the function that measures ours; see :func:`experiment`."""

    id: str
    source: str
    data: str
    what: str
    choices: str
    reported: Mapping[str, Reported]
    function: Function
    remark: str = ""
    reported_time: str = ""

    @property
    def group(self) -> str:
        """Number of the source, with which the id starts, or "ours"."""
        number = self.id.partition("-")[0]
        return number if number.isdecimal() else "ours"

    def code(self) -> str:
        """
        Return a hash of the functions in the experiment's file.

        It ignores constants, whose values ``what`` and ``choices`` state; comments, docstrings and the arguments of
        :func:`experiment`; and functions of other files.
        """
        tree = ast.parse(inspect.getsource(inspect.getmodule(self.function) or self.function))
        functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
        for function in functions:
            function.decorator_list = []
            if ast.get_docstring(function) is not None:
                function.body[0] = ast.Pass()
        return hashlib.sha256("\n".join(map(ast.unparse, functions)).encode()).hexdigest()[:16]

    def record(self) -> dict[str, Any]:
        """Return all fields except the function, for JSON."""
        return {name: value for name, value in asdict(self).items() if name != "function"}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the id: the function itself cannot be pickled, since the decorator replaces it in its module."""
        return _find, (self.id,)


def experiment(
    id: str,
    *,
    source: str,
    data: str,
    what: str,
    reported: Mapping[str, Reported],
    choices: str = "",
    remark: str = "",
    reported_time: str = "",
) -> Callable[[Function], Experiment]:
    """
    Turn a function that takes a :class:`Run` and returns our figures into an experiment.

    Parameters
    ----------
    id : str
        Name on the command line and of the folder of results; it starts with the number of the source.
    source : str
        Section of the source.
    data : str
        Names of data sets in ``portanet.datasets``, separated by commas; or a description of generated data.
    what : str
        Network and training, in one line.
    reported : mapping of str to Reported
        Figures of the source; empty if it shows pictures only.
    choices : str
        Our choices where the source gives none. If ``data``, ``what`` or ``choices`` change, finished runs no longer
        count. If the functions of the file change, the command line prints a warning.
    remark : str
        Comment for the report, in Markdown: where our figures contradict the source, or why one is missed.
    reported_time : str
        Training time in the source, such as "2 hours".
    """
    return lambda function: Experiment(id, source, data, what, choices, reported, function, remark, reported_time)


def discover() -> dict[str, Experiment]:
    """
    Find the experiments in all files of the folder.

    Returns
    -------
    dict
        Experiments by id, in alphabetical order.

    Raises
    ------
    ValueError
        If two experiments have the same id.
    """
    found: dict[str, Experiment] = {}
    for module in pkgutil.iter_modules(experiments.__path__, "experiments."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, Experiment) and found.setdefault(value.id, value) is not value:
                raise ValueError(f"two experiments have the id {value.id!r}: rename the one in {module.name}")
    return dict(sorted(found.items()))


def _find(id: str) -> Experiment:
    return discover()[id]
