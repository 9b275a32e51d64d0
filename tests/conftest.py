"""What every test may use: each backend in turn, and arrays that refuse to be read back."""

import os
from contextlib import suppress

import pytest

from portanet.backends import Backend, BackendUnavailable, get_backend

DEVICES = {"numpy": "cpu", "array_api_strict": "strict", "torch": "torch", "cupy": "cuda"}


REQUIRED = {name for name in os.environ.get("PORTANET_REQUIRE", "").split(",") if name}


def pytest_configure() -> None:
    if unknown := REQUIRED - DEVICES.keys():
        raise pytest.UsageError(f"PORTANET_REQUIRE names {', '.join(unknown)}: choose among {', '.join(DEVICES)}")


@pytest.fixture(scope="session", autouse=True)
def _loaded_backends() -> None:
    """Load what there is before any test puts another registry in place: there is one backend a device."""
    for device in DEVICES.values():
        with suppress(BackendUnavailable):
            get_backend(device)


@pytest.fixture(
    params=["numpy", "array_api_strict", "torch", pytest.param("cupy", marks=pytest.mark.gpu)], scope="session"
)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each library; PORTANET_REQUIRE=cupy,torch turns the skip of these into a failure."""
    try:
        return get_backend(DEVICES[request.param])
    except BackendUnavailable as why:
        if request.param in REQUIRED:
            raise
        pytest.skip(str(why))


@pytest.fixture
def no_host_reads(monkeypatch: pytest.MonkeyPatch) -> Backend:
    """The strict backend, with arrays that refuse to become Python numbers and to be indexed by masks."""
    import array_api_strict

    strict = get_backend("strict")

    def refuse(self: object, *_: object) -> None:
        raise AssertionError("an array was read back to the host inside a step")

    for name in ("__bool__", "__float__", "__int__", "__index__", "__complex__"):
        monkeypatch.setattr(strict.array_type, name, refuse)
    array_api_strict.set_array_api_strict_flags(boolean_indexing=False, data_dependent_shapes=False)
    yield strict
    array_api_strict.reset_array_api_strict_flags()
