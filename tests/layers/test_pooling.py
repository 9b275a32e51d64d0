"""Pooling beyond its agreement with PyTorch: errors, ties, infinities, sizes at the edge and precision."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend
from portanet.kernels.windows import Padding
from portanet.layers.pooling import Pool

POOLS: list[type[Pool]] = [pn.MaxPool1D, pn.MaxPool2D, pn.MaxPool3D, pn.AvgPool1D, pn.AvgPool2D, pn.AvgPool3D]
inf, nan = np.inf, np.nan


def pull(
    layer: pn.Layer, x: Any, dy: Any = None, *, device: Backend | str = "cpu", dtype: str = "float64"
) -> tuple[Any, Any]:
    """Output and input gradient, as NumPy arrays; ones are carried back unless told otherwise."""
    layer.initialize(device=device, dtype=dtype)
    to_numpy = layer.flat.backend.to_numpy
    y, pullback = layer.vjp(layer.asarray(x))
    return to_numpy(y), to_numpy(pullback(layer.asarray(np.ones(y.shape) if dy is None else dy)))


def signal(*values: float) -> Any:
    return np.asarray(values, dtype="float64").reshape(1, -1, 1)


@pytest.mark.parametrize("kind", POOLS)
def test_a_wrong_number_of_axes_is_named(kind: type[Pool]) -> None:
    layer, space = kind(2), (4,) * kind.n_axes
    for shape in (space, (4, *space, 2)):
        for ask in (layer.output_shape, lambda shape: layer(np.ones((5, *shape)))):
            with pytest.raises(ValueError, match=rf"\(2\) needs x of {kind.n_axes + 2} axes, .* got \(N, 4[,)]"):
                ask(shape)


@pytest.mark.parametrize("layer", [pn.GlobalAvgPool(), pn.GlobalMaxPool(), pn.Upsample(2)], ids=str)
def test_inputs_without_spatial_axes_are_refused(layer: pn.Layer) -> None:
    for ask in (layer.output_shape, lambda shape: layer(np.ones((5, *shape)))):
        with pytest.raises(ValueError, match=r"needs x of shape \(N, \.\.\., C\), got \(N, 3\)"):
            ask((3,))


@pytest.mark.parametrize("kind", POOLS)
def test_window_stride_and_padding_are_checked(kind: Callable[..., pn.Layer]) -> None:
    for value in (0, -1, 1.5, (1, 2, 3, 4)):
        with pytest.raises(ValueError, match="kernel_size must be a whole number of at least 1"):
            kind(value)
        with pytest.raises(ValueError, match="stride must be a whole number of at least 1"):
            kind(2, value)
    with pytest.raises(ValueError, match="padding must be 'valid', 'same', a number"):
        kind(2, padding="full")


@pytest.mark.parametrize("padding", [2, 3, ((0, 2), 0), (0, (2, 1))], ids=str)
@pytest.mark.parametrize("kind", [pn.MaxPool2D, pn.AvgPool2D])
def test_a_window_over_padding_alone_is_refused(kind: type[Pool], padding: Padding) -> None:
    with pytest.raises(ValueError, match=r"padding must be smaller than kernel_size \(2, 2\), got"):
        kind(2, padding=padding)


@pytest.mark.parametrize("kind", POOLS)
def test_a_window_that_does_not_fit_says_where(kind: type[Pool]) -> None:
    # the last window may miss a step, and no more
    options: list[dict[str, Any]] = [{}, {"stride": 2, "ceil_mode": True}, {"padding": 1}]
    for how in options:
        with pytest.raises(ValueError, match=r"a window that reaches over 5.* does not fit into 2.* with padding"):
            kind(5, **how)(np.ones((1, *(2,) * kind.n_axes, 1)))


@pytest.mark.parametrize("dilation", [0, 1.5, (1, 2, 3)], ids=str)
def test_dilation_is_checked(dilation: Any) -> None:
    with pytest.raises(ValueError, match="dilation must be a whole number of at least 1, or 2 of them, got"):
        pn.MaxPool2D(2, dilation=dilation)


def test_padding_may_be_as_wide_as_dilation_spreads_the_window() -> None:
    assert pn.MaxPool1D(2, padding=3, dilation=3).output_shape((4, 1)) == (4, 1)
    with pytest.raises(ValueError, match=r"smaller than dilation \(kernel_size - 1\) \+ 1 = \(4,\), got \(\(4, 4\),\)"):
        pn.MaxPool1D(2, padding=4, dilation=3)


def test_no_examples_give_no_outputs(backend: Backend) -> None:
    for layer in (
        *(pn.MaxPool2D(2), pn.AvgPool2D(3, padding="same"), pn.AvgPool2D(3, padding=1, count_include_pad=True)),
        *(pn.GlobalAvgPool(), pn.GlobalMaxPool(), pn.Upsample(2), pn.Upsample(2, mode="bilinear")),
        *(pn.AdaptiveAvgPool2D(4), pn.AdaptiveMaxPool2D(4), pn.Pad(2, mode="reflect")),
    ):
        layer.initialize(device=backend)
        assert layer.predict(np.zeros((0, 6, 6, 2))).shape == (0, *layer.output_shape((6, 6, 2)))


@pytest.mark.parametrize(
    "layer",
    [
        *(pn.MaxPool2D(2), pn.MaxPool2D(3, 1), pn.MaxPool2D(3, 2, padding=1), pn.MaxPool2D((1, 3), padding="same")),
        pn.MaxPool2D(2, 1, padding=1, dilation=(3, 2)),
    ],
    ids=str,
)
def test_of_equal_values_the_first_gets_the_gradient(backend: Backend, layer: pn.MaxPool2D) -> None:
    """Whole numbers, many of them equal, against one window after the other: the first column counts, then the row."""
    rng = np.random.default_rng(0)
    x = rng.integers(-1, 2, size=(2, 7, 6, 3)).astype("float64")
    window = layer.window(x.shape[1:])
    padded, dx = window.pad(x, -inf), np.zeros((2, *window.padded_shape, 3))
    dy = rng.normal(size=(2, *window.output_shape, 3))
    for n, i, j, c in np.ndindex(dy.shape):
        top, left = i * window.stride[0], j * window.stride[1]
        (height, width), (down, right) = window.size, window.dilation
        cells = padded[n, top : top + height * down : down, left : left + width * right : right, c]
        column, row = np.unravel_index(np.argmax(cells.T), cells.T.shape)
        dx[n, top + row * down, left + column * right, c] += dy[n, i, j, c]
    np.testing.assert_allclose(pull(layer, x, dy, device=backend)[1], dx[window.interior], rtol=1e-12, atol=1e-12)


def test_of_equal_values_the_first_gets_the_gradient_in_global_pooling(backend: Backend) -> None:
    x = np.asarray([[[[1.0], [3.0]], [[3.0], [3.0]]]])
    np.testing.assert_array_equal(pull(pn.GlobalMaxPool(), x, device=backend)[1].ravel(), [0, 1, 0, 0])


def test_padding_gets_no_gradient_even_beside_minus_infinity(backend: Backend) -> None:
    y, dx = pull(pn.MaxPool1D(3, 1, padding=1), signal(-inf, -inf, -inf, 5.0), device=backend)
    np.testing.assert_array_equal(y.ravel(), [-inf, -inf, 5.0, 5.0])
    np.testing.assert_array_equal(dx.ravel(), [2, 0, 0, 2])


def test_infinity_is_the_largest(backend: Backend) -> None:
    y, dx = pull(pn.MaxPool1D(2), signal(1.0, inf, -inf, 0.0), device=backend)
    np.testing.assert_array_equal(y.ravel(), [inf, 0.0])
    np.testing.assert_array_equal(dx.ravel(), [0, 1, 0, 1])


@pytest.mark.parametrize("kind", [pn.MaxPool1D, pn.AvgPool1D])
def test_nan_stays_in_the_windows_that_contain_it(backend: Backend, kind: type[Pool]) -> None:
    x = signal(nan, 1.0, 2.0, 5.0, 4.0, nan, 7.0, 3.0)
    y, dx = pull(kind(2), x, device=backend)
    np.testing.assert_array_equal(np.isnan(y).ravel(), [True, False, True, False])
    assert np.isfinite(dx).all()
    clean = pull(kind(2), np.nan_to_num(x), device=backend)
    np.testing.assert_array_equal(y[:, 1::2], clean[0][:, 1::2])
    for cells in (slice(2, 4), slice(6, 8)):
        np.testing.assert_array_equal(dx[:, cells], clean[1][:, cells])


@pytest.mark.parametrize("layer", [pn.GlobalMaxPool(), pn.GlobalAvgPool()], ids=str)
def test_nan_stays_in_its_example_and_channel(backend: Backend, layer: pn.Layer) -> None:
    x = np.ones((2, 3, 2))
    x[1, 2, 0] = nan
    np.testing.assert_array_equal(np.isnan(pull(layer, x, device=backend)[0]), [[False, False], [True, False]])


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (pn.AvgPool1D(3, 2, padding=1), [1, 1, 1]),
        (pn.AvgPool1D(3, 2, padding=1, count_include_pad=True), [2 / 3, 1, 2 / 3]),
        (pn.AvgPool1D(3, 2, padding=((0, 1),), count_include_pad=True), [1, 1]),
        (pn.AvgPool1D(4, 3, padding=((1, 0),), count_include_pad=True), [3 / 4]),
        # The last window holds two cells, one of padding, and a third that only ceil_mode adds and that never counts.
        (pn.AvgPool1D(4, 2, padding=1, ceil_mode=True, count_include_pad=True), [3 / 4, 1, 2 / 3]),
        (pn.AvgPool1D(4, 2, padding=1, ceil_mode=True), [1, 1, 1]),
        (pn.AvgPool1D(2, padding="same", count_include_pad=True), [1, 1, 1 / 2]),
    ],
    ids=str,
)
def test_average_pooling_divides_by_the_counted_positions(
    backend: Backend, layer: pn.AvgPool1D, expected: list[float]
) -> None:
    """The mean of ones is the share of cells that are no padding."""
    y, dx = pull(layer, np.ones((2, 5, 3)), device=backend)
    np.testing.assert_allclose(y, np.broadcast_to(np.reshape(expected, (1, -1, 1)), y.shape), rtol=1e-15)
    np.testing.assert_allclose(dx.sum(), y.sum(), rtol=1e-14)


def test_a_window_of_size_one_changes_nothing(backend: Backend) -> None:
    x = np.random.default_rng(0).normal(size=(2, 4, 3, 2))
    for layer in (pn.MaxPool2D(1), pn.AvgPool2D(1), pn.Upsample(1)):
        y, dx = pull(layer, x, x, device=backend)
        np.testing.assert_array_equal(y, x)
        np.testing.assert_array_equal(dx, x)


VIEWED = [pn.AdaptiveMaxPool2D(3), pn.Upsample(2, mode="bilinear"), pn.Pad(2), pn.Pad(2, mode="circular")]


@pytest.mark.parametrize(
    "layer", [*(pn.MaxPool2D(3, 2), pn.AvgPool2D(3, 2, padding=1), pn.Upsample(2)), *VIEWED], ids=str
)
def test_read_only_views_are_accepted(layer: pn.Layer) -> None:
    rng = np.random.default_rng(0)
    x = np.broadcast_to(rng.normal(size=(5, 1, 2, 8)), (5, 3, 2, 8)).transpose(1, 3, 0, 2)[:, ::-1]
    dy = np.broadcast_to(rng.normal(size=2), (3, *layer.output_shape((8, 5, 2))))
    assert not x.flags.writeable
    assert not dy.flags.writeable
    for result, expected in zip(pull(layer, x, dy), pull(layer, x.copy(), dy.copy()), strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-12)


AVERAGES = [pn.AdaptiveAvgPool2D(5), pn.Upsample(3, mode="bilinear")]


@pytest.mark.parametrize(
    "layer", [*(pn.AvgPool2D(3, 2, padding=1), pn.GlobalAvgPool(), pn.Upsample(3)), *AVERAGES], ids=str
)
def test_float32_is_float64_to_rounding(backend: Backend, layer: pn.Layer) -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(1, 2, size=(3, 28, 27, 2)).astype("float32")
    dy = rng.uniform(1, 2, size=(3, *layer.output_shape(x.shape[1:]))).astype("float32")
    exact = pull(layer, x.astype("float64"), dy.astype("float64"))
    for single, double in zip(pull(layer, x, dy, device=backend, dtype="float32"), exact, strict=True):
        assert single.dtype == np.float32
        np.testing.assert_allclose(single, double, rtol=5e-5)  # 756 roundings of 2⁻²⁴
