"""Every kernel that a backend overrides, against the portable form on the same arrays."""

from typing import Any

import numpy as np
import pytest

from portanet import kernels
from portanet.backends import Backend, devices, get_backend
from portanet.kernels.windows import Window


def convolutions() -> list[tuple[Window, np.ndarray, np.ndarray, np.ndarray]]:
    """Windows with inputs, weights and output gradients: 1-D and 2-D, with and without strides, gaps and padding."""
    rng, problems = np.random.default_rng(0), []
    for space, size, stride, dilation, padding, channels in (
        ((9,), (3,), (1,), (1,), "valid", (1, 4)),
        ((9,), (4,), (2,), (2,), "same", (3, 2)),
        ((6, 7), (3, 2), (1, 1), (1, 1), "same", (1, 3)),
        ((6, 7), (2, 3), (1, 2), (2, 1), ((1, 0), (2, 2)), (3, 2)),
    ):
        window = Window.fit(space, size, stride=stride, dilation=dilation, padding=padding)
        shapes = (5, *space, channels[0]), (*size, *channels), (5, *window.places, channels[1])
        for dtype in TOLERANCE:
            problems.append((window, *(rng.normal(size=shape).astype(dtype) for shape in shapes)))
    return problems


TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
# Arguments of each kernel that some backend overrides: NumPy arrays, which are moved, and whatever else it takes.
CASES: dict[str, list[tuple[Any, ...]]] = {
    "conv": [(x, w, window) for window, x, w, _ in convolutions()],
    "conv_input_gradient": [(dy, w, window) for window, _, w, dy in convolutions()],
    "conv_weight_gradient": [(x, dy, window) for window, x, _, dy in convolutions()],
    "random_bits": [
        (np.asarray([key, counter]), n)
        for key, counter in ((0, 0), (7, 3), (2**63 - 1, 2**63 - 1))
        for n in (0, 1, 4, 5, 1000)
    ],
    "sigmoid": [(np.asarray([[-1e30, -700.0, -90.0, -1.0], [0.0, 1e-9, 20.0, 1e30]], dtype),) for dtype in TOLERANCE],
}


def usable() -> list[Backend]:
    return [get_backend(device.name) for device in devices() if device.usable]


def test_no_override_goes_untested():
    for backend in usable():
        assert backend.kernels.keys() <= CASES.keys(), f"CASES lacks kernels of {backend.name}"


@pytest.mark.parametrize("name", CASES)
def test_overrides_equal_the_portable_form(name):
    overriding = [backend for backend in usable() if name in backend.kernels]
    if not overriding:
        pytest.skip(f"no backend that is usable here overrides {name}")
    kernel = getattr(kernels, name)
    for backend in overriding:
        for case in CASES[name]:
            arguments = [backend.asarray(a.copy()) if isinstance(a, np.ndarray) else a for a in case]
            with backend.activate():
                expected = kernel.portable(*arguments)
                results = backend.kernels[name](*arguments), kernel(*arguments)
            for result in results:
                assert_same(backend, result, expected, f"{name}{case} on {backend.name}")
            for argument, given in zip(arguments, case, strict=True):
                if isinstance(given, np.ndarray):
                    np.testing.assert_array_equal(backend.to_numpy(argument), given, f"an argument of {name} changed")


def assert_same(backend: Backend, actual: Any, expected: Any, message: str) -> None:
    if isinstance(expected, tuple):
        for one, other in zip(actual, expected, strict=True):
            assert_same(backend, one, other, message)
        return
    assert isinstance(actual, backend.array_type), message
    actual, expected = backend.to_numpy(actual), backend.to_numpy(expected)
    if expected.dtype.kind == "f":
        rtol = TOLERANCE[expected.dtype.name]
        assert actual.dtype == expected.dtype, message
        np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol, err_msg=message)
    else:  # the integer type is the backend's choice
        np.testing.assert_array_equal(actual, expected, message)
