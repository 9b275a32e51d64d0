"""The docstring of each public name has the sections that its page needs: numpydoc validates them."""

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from tests.test_site import listed, resolve

validate = pytest.importorskip("numpydoc.validate", reason="numpydoc is not installed")
get_doc_object = pytest.importorskip("numpydoc.docscrape").get_doc_object
pytest.importorskip("onnx", reason="onnx is not installed")

OFF = {
    "ES01": "the summary is the formula; more is written where there is more to say",
    "SA01": "the pages of the reference group what belongs together",
    "PR03": "arguments of one meaning are documented together; most are keyword-only",
    "PR07": "a type with its shape may say everything",
    "PR08": "a description may begin with a symbol",
    "RT03": "a type may say everything, such as matplotlib.figure.Figure",
    "SS02": "a summary may begin with a symbol, or with k-means",
    "SS05": "a noun in the plural is taken for a verb",
    "RT02": "a type may have a name before it",
}
"""Checks that are switched off, with the reason."""
OFF_FOR_METHODS = {
    "EX01": "the example of the class shows its methods",
    "PR01": "the summary says what it takes, and the signature has the types; where there is a section, it is complete",
    "RT01": "the summary says what a method returns",
}
OFF_FOR_EXCEPTIONS = {"EX01": "an error is raised by others", "PR01": "the raiser gives the message"}
NO_EXAMPLE = {
    "distributed.MPI": "needs processes that mpiexec has started",
    "distributed.TCP": "needs processes that torchrun has started",
    "distributed.NCCL": "needs GPUs",
}


def names_of_methods(name: str) -> Iterator[str]:
    """Yield the public methods and properties of a class that have a docstring of their own."""
    for method, value in vars(resolve(name)).items():
        is_described = callable(value) or isinstance(value, (property, classmethod, staticmethod))
        if is_described and not method.startswith("_") and getattr(value, "__doc__", None):
            yield method


def faults(name: str, off: set[str]) -> list[str]:
    """Return what numpydoc finds in a docstring, but for what is switched off."""
    errors = [(code, text) for code, text in validate.validate(name)["errors"] if code not in off]
    elsewhere = {f'Parameter "{parameter}" has no type' for parameter in documented_elsewhere(name)}
    return [f"{name}: {code} {text}" for code, text in errors if text not in elsewhere]


def documented_elsewhere(name: str) -> list[str]:
    """Return the parameters for which a docstring refers to another one, where their types are."""
    entries = get_doc_object(validate.Validator._load_obj(name))["Parameters"]
    return [one for entry in entries if "".join(entry.desc).startswith("See :") for one in entry.name.split(", ")]


@pytest.mark.parametrize("name", listed())
def test_docstring_has_all_sections(name: str) -> None:
    value: Any = resolve(name)
    off = set(OFF)
    if inspect.isclass(value) and issubclass(value, BaseException):
        off |= OFF_FOR_EXCEPTIONS.keys()
    if name in NO_EXAMPLE:
        off.add("EX01")
    assert not faults(f"portanet.{name}", off)


@pytest.mark.parametrize("name", [name for name in listed() if inspect.isclass(resolve(name))])
def test_docstrings_of_methods_are_complete(name: str) -> None:
    for method in names_of_methods(name):
        has_section = "Parameters\n" in (inspect.getdoc(getattr(resolve(name), method)) or "")
        off = OFF.keys() | OFF_FOR_METHODS.keys() - ({"PR01"} if has_section else set())
        assert not faults(f"portanet.{name}.{method}", set(off))
