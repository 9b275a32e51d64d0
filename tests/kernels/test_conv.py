"""The convolution kernels: overrides against the portable forms, and these against the definition."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portanet import kernels
from portanet.backends import kernel_override
from portanet.kernels.windows import Window, per_axis


@st.composite
def problems(draw, max_axes: int = 3):
    """A window that fits, with an input, a weight and an output gradient for it."""
    n_axes = draw(st.integers(1, max_axes))

    def per(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(n_axes))

    size, stride, dilation = per(1, 4), per(1, 3), per(1, 3)
    pads = tuple(zip(per(0, 3), per(0, 3), strict=True))
    reach = [d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True)]
    space = tuple(max(1, r - low - high) + extra for r, (low, high), extra in zip(reach, pads, per(0, 5), strict=True))
    padding = draw(st.sampled_from([pads, "same"]))
    window = Window.fit(space, size, stride=stride, dilation=dilation, padding=padding)
    n, c, o = draw(st.sampled_from([1, 3, 8, 9])), draw(st.integers(1, 4)), draw(st.integers(1, 3))  # few, and more
    rng = np.random.default_rng(draw(st.integers(0, 100)))
    dtype = draw(st.sampled_from(["float32", "float64"]))
    x, w, dy = (
        rng.normal(size=shape).astype(dtype) for shape in ((n, *space, c), (*size, c, o), (n, *window.output_shape, o))
    )
    return window, x, w, dy


def close(ours: np.ndarray, expected: np.ndarray) -> None:
    tolerance = 1e-4 if ours.dtype == np.float32 else 1e-12
    assert ours.dtype == expected.dtype
    np.testing.assert_allclose(ours, expected, rtol=tolerance, atol=tolerance)


ORDERS = {
    "batch first": np.ascontiguousarray,
    "batch last": lambda a: np.moveaxis(np.moveaxis(a, 0, -1).copy(), -1, 0),
    "channels before space": lambda a: np.moveaxis(np.moveaxis(a, -1, 1).copy(), 1, -1),
}


@settings(max_examples=150, deadline=None)
@given(problems(), st.tuples(*[st.sampled_from(list(ORDERS))] * 2), st.booleans(), st.sampled_from([300, 2**21]))
def test_numpy_overrides_are_the_portable_forms(problem, orders, large, chunk):
    window, x, w, dy = problem
    x, dy = (ORDERS[order](array) for order, array in zip(orders, (x, dy), strict=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("portanet.backends.numpy.conv.LARGE", 0 if large else 2**40)
        patch.setattr("portanet.backends.numpy.conv.FEW_CHANNELS", 3)
        patch.setattr("portanet.backends.numpy.windows.CHUNK", chunk)
        compare_overrides(window, x, w, dy)


def compare_overrides(window: Window, x: np.ndarray, w: np.ndarray, dy: np.ndarray) -> None:
    for kernel, arguments in (
        (kernels.conv, (x, w)),
        (kernels.conv_input_gradient, (dy, w)),
        (kernels.conv_weight_gradient, (x, dy)),
    ):
        override = kernel_override(kernel.portable.__name__, x)
        assert override is not None
        close(override(*arguments, window), kernel.portable(*arguments, window))


@settings(max_examples=30, deadline=None)
@given(problems(max_axes=2))
def test_the_portable_form_is_the_definition(problem):
    window, x, w, _ = problem
    y = np.zeros((len(x), *window.output_shape, w.shape[-1]), x.dtype)
    padded = window.pad(x)
    for place in np.ndindex(window.output_shape):
        for cell in np.ndindex(window.size):
            at = tuple(p * s + k * d for p, s, k, d in zip(place, window.stride, cell, window.dilation, strict=True))
            y[:, *place] += padded[:, *at] @ w[*cell]
    close(kernels.conv.portable(x, w, window), y)


@settings(max_examples=60, deadline=None)
@given(problems())
def test_the_gradients_are_adjoint_to_the_convolution(problem):
    """The inner products <y, dy>, <x, dx> and <w, dw> are one number."""
    window, x, w, dy = (a.astype("float64") if isinstance(a, np.ndarray) else a for a in problem)
    expected = np.sum(kernels.conv(x, w, window) * dy)
    scale = np.sum(np.abs(kernels.conv(np.abs(x), np.abs(w), window) * dy)) + 1
    assert abs(np.sum(x * kernels.conv_input_gradient(dy, w, window)) - expected) < 1e-12 * scale
    assert abs(np.sum(w * kernels.conv_weight_gradient(x, dy, window)) - expected) < 1e-12 * scale


@pytest.fixture(autouse=True, scope="module")
def _small_is_large():
    """Problems of a test are too small for Winograd's way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("portanet.backends.numpy.conv.LARGE", 0)
        yield


def test_what_is_small_goes_the_direct_way(monkeypatch):
    from portanet.backends.numpy import conv as numpy_conv

    window = Window.fit((9, 9), (3, 3), stride=(1, 1), dilation=(1, 1), padding="same")
    assert type(numpy_conv.choose(window, 4, True)) is numpy_conv.Winograd
    assert type(numpy_conv.choose(window, 4, False)) is numpy_conv.Direct
    monkeypatch.setattr(numpy_conv, "LARGE", 2 * 81 * 9 * 4 * 5)
    x, y = np.ones((2, 9, 9, 4)), np.ones((2, 9, 9, 5))
    assert numpy_conv._is_large(x, y, window)
    assert not numpy_conv._is_large(x[:1], y[:1], window)


@pytest.mark.parametrize("chunk", [100_000, 100], ids=["some rows", "a row at a time"])
def test_chunks_of_a_large_batch_or_image_join(monkeypatch, chunk):
    from portanet.backends.numpy import conv as numpy_conv

    monkeypatch.setattr("portanet.backends.numpy.conv.LARGE", 0)
    monkeypatch.setattr("portanet.backends.numpy.windows.CHUNK", chunk)
    rng = np.random.default_rng(0)
    for n, channels, stride in itertools.product((7, 9), (1, 2, 9), (1, 2)):
        x, w = rng.normal(size=(n, 8, 8, channels)), rng.normal(size=(3, 3, channels, 4))
        window = Window.fit((8, 8), (3, 3), stride=(stride, stride), dilation=(1, 1), padding="valid")
        y = numpy_conv.conv(x, w, window)
        close(y, kernels.conv.portable(x, w, window))
        dw = numpy_conv.conv_weight_gradient(x, y, window)
        close(dw, kernels.conv_weight_gradient.portable(x, y, window))


def test_winograd_has_any_number_of_axes(monkeypatch):
    from portanet.backends.numpy import conv as numpy_conv

    monkeypatch.setattr("portanet.backends.numpy.conv.LARGE", 0)
    rng = np.random.default_rng(0)
    for n_axes in (1, 2, 3):
        window = Window.fit((7,) * n_axes, (3,) * n_axes, stride=(1,) * n_axes, dilation=(1,) * n_axes, padding="same")
        assert type(numpy_conv.choose(window, 4, True)) is numpy_conv.Winograd
        x, w = rng.normal(size=(9, *window.input_shape, 4)), rng.normal(size=(*window.size, 4, 5))
        compare_overrides(window, x, w, rng.normal(size=(9, *window.output_shape, 5)))


@pytest.mark.parametrize("form", ["portable", "__call__"])
def test_every_backend_agrees(backend, form):
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
            there = getattr(kernel, form)(*map(backend.asarray, arguments), window)
            close(backend.to_numpy(there), kernel.portable(*arguments, window))
