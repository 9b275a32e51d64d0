"""Convolution kernels: the overrides are tested against the portable forms, and these against the definition."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portanet import kernels
from portanet.backends import Backend, kernel_override
from portanet.backends.numpy import core
from portanet.kernels.windows import Window, per_axis


@st.composite
def problems(draw: st.DrawFn, max_axes: int = 3) -> tuple[Window, int, Any, Any, Any]:
    """A window that fits its input, with a number of groups, an input, weights and an output gradient."""
    n_axes = draw(st.integers(1, max_axes))

    def per(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(n_axes))

    size, stride, dilation = per(1, 4), per(1, 3), per(1, 3)
    pads = tuple(zip(per(0, 3), per(0, 3), strict=True))
    effective_size = [d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True)]
    axes = zip(effective_size, pads, per(0, 5), strict=True)
    input_shape = tuple(max(1, length - low - high) + extra for length, (low, high), extra in axes)
    padding = draw(st.sampled_from([pads, "same"]))
    window = Window.fit(input_shape, size, stride=stride, dilation=dilation, padding=padding)
    n = draw(st.sampled_from([1, 3, 8, 9, 65]))  # the batch-last methods of plain NumPy take 8 images or more
    groups, c, o = draw(st.sampled_from([1, 1, 2, 5])), draw(st.integers(1, 4)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 100)))
    dtype = draw(st.sampled_from(["float32", "float64"]))
    shapes = (n, *input_shape, groups * c), (*size, c, groups * o), (n, *window.output_shape, groups * o)
    x, w, dy = (rng.normal(size=shape).astype(dtype) for shape in shapes)
    return window, groups, x, w, dy


def assert_close(actual: np.ndarray, expected: np.ndarray) -> None:
    tolerance = 1e-4 if actual.dtype == np.float32 else 1e-12
    assert actual.dtype == expected.dtype
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "batch first": np.ascontiguousarray,
    "batch last": lambda a: np.moveaxis(np.moveaxis(a, 0, -1).copy(), -1, 0),
    "channels first": lambda a: np.moveaxis(np.moveaxis(a, -1, 1).copy(), 1, -1),
}


@settings(max_examples=150, deadline=None)
@given(
    problems(),
    st.tuples(*[st.sampled_from(list(LAYOUTS))] * 2),
    st.sampled_from([300, 2**21]),
    st.sampled_from([1, 100]),
)
def test_numpy_overrides_equal_the_portable_forms(
    problem: tuple[Window, int, Any, Any, Any], layouts: tuple[str, str], chunk: int, min_images: int
) -> None:
    window, groups, x, w, dy = problem
    x, dy = (LAYOUTS[layout](array) for layout, array in zip(layouts, (x, dy), strict=True))
    with pytest.MonkeyPatch.context() as patch:
        if core.compiled is not None:
            patch.setattr("portanet.backends.numpy.core.conv.MIN_IMAGES", min_images)
        patch.setattr("portanet.backends.numpy.conv.MIN_CHANNELS_CORRELATE", 3)
        patch.setattr("portanet.backends.numpy.windows.MAX_CHUNK_BYTES", chunk)
        assert_overrides_equal_portable(window, groups, x, w, dy)


def assert_overrides_equal_portable(window: Window, groups: int, x: np.ndarray, w: np.ndarray, dy: np.ndarray) -> None:
    """The kernels in use, compiled or not, and those of plain NumPy."""
    from portanet.backends.numpy import conv as plain

    for kernel, arguments in (
        (kernels.conv, (x, w)),
        (kernels.conv_input_gradient, (dy, w)),
        (kernels.conv_weight_gradient, (x, dy)),
    ):
        name = kernel.portable.__name__
        override = kernel_override(name, x)
        assert override is not None
        expected = kernel.portable(*arguments, window, groups)
        assert_close(override(*arguments, window, groups), expected)
        assert_close(getattr(plain, name)(*arguments, window, groups), expected)


@settings(max_examples=30, deadline=None)
@given(problems(max_axes=2))
def test_the_portable_form_equals_the_definition(problem: tuple[Window, int, Any, Any, Any]) -> None:
    window, groups, x, w, _ = problem
    y = np.zeros((len(x), *window.output_shape, w.shape[-1]), x.dtype)
    padded = window.pad(x)
    inputs, outputs = x.shape[-1] // groups, w.shape[-1] // groups
    for position in np.ndindex(window.output_shape):
        for offset in np.ndindex(window.size):
            axes = zip(position, window.stride, offset, window.dilation, strict=True)
            index = tuple(p * s + k * d for p, s, k, d in axes)
            for g in range(groups):
                group, to = slice(g * inputs, (g + 1) * inputs), slice(g * outputs, (g + 1) * outputs)
                y[:, *position, to] += padded[:, *index, group] @ w[*offset, :, to]
    assert_close(kernels.conv.portable(x, w, window, groups), y)


@settings(max_examples=60, deadline=None)
@given(problems())
def test_the_gradients_are_adjoint_to_the_convolution(problem: tuple[Window, int, Any, Any, Any]) -> None:
    """The inner products <y, dy>, <x, dx> and <w, dw> are equal."""
    window, groups = problem[:2]
    x, w, dy = (a.astype("float64") for a in problem[2:])
    expected = np.sum(kernels.conv(x, w, window, groups) * dy)
    scale = np.sum(np.abs(kernels.conv(np.abs(x), np.abs(w), window, groups) * dy)) + 1
    assert abs(np.sum(x * kernels.conv_input_gradient(dy, w, window, groups)) - expected) < 1e-12 * scale
    assert abs(np.sum(w * kernels.conv_weight_gradient(x, dy, window, groups)) - expected) < 1e-12 * scale


@pytest.mark.parametrize("chunk_bytes", [100_000, 100], ids=["some rows", "one row"])
def test_the_chunks_of_a_large_batch_or_image_are_joined(monkeypatch: pytest.MonkeyPatch, chunk_bytes: int) -> None:
    from portanet.backends.numpy import conv as numpy_conv

    monkeypatch.setattr("portanet.backends.numpy.windows.MAX_CHUNK_BYTES", chunk_bytes)
    rng = np.random.default_rng(0)
    for n, channels, stride in itertools.product((7, 9), (1, 2, 9), (1, 2)):
        x, w = rng.normal(size=(n, 8, 8, channels)), rng.normal(size=(3, 3, channels, 4))
        window = Window.fit((8, 8), (3, 3), stride=(stride, stride), dilation=(1, 1), padding="valid")
        y = numpy_conv.conv(x, w, window)
        assert_close(y, kernels.conv.portable(x, w, window))
        dw = numpy_conv.conv_weight_gradient(x, y, window)
        assert_close(dw, kernels.conv_weight_gradient.portable(x, y, window))


@pytest.mark.parametrize("form", ["portable", "__call__"])
def test_every_backend_agrees(backend: Backend, form: str) -> None:
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 6, 5, 3)), rng.normal(size=(3, 2, 3, 4))
    for stride, dilation, padding in itertools.product((1, 2), (1, 2), ("valid", "same", ((2, 0), (0, 1)))):
        window = Window.fit(
            (6, 5), (3, 2), stride=per_axis("stride", stride, 2), dilation=per_axis("d", dilation, 2), padding=padding
        )
        dy = rng.normal(size=(2, *window.output_shape, 4))
        for kernel, arguments in (
            (kernels.conv, (x, w)),
            (kernels.conv_input_gradient, (dy, w)),
            (kernels.conv_weight_gradient, (x, dy)),
        ):
            actual = getattr(kernel, form)(*map(backend.asarray, arguments), window)
            assert_close(backend.to_numpy(actual), kernel.portable(*arguments, window))
