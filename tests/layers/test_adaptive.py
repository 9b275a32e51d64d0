"""Adaptive pooling beyond its agreement with PyTorch: windows, ties, sizes and errors."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend
from portanet.layers.adaptive import AdaptivePool
from tests.layers.test_pooling import pull

KINDS = [
    *(pn.AdaptiveAvgPool1D, pn.AdaptiveAvgPool2D, pn.AdaptiveAvgPool3D),
    *(pn.AdaptiveMaxPool1D, pn.AdaptiveMaxPool2D, pn.AdaptiveMaxPool3D),
]


@pytest.mark.parametrize(("kind", "reduce"), [(pn.AdaptiveAvgPool2D, np.mean), (pn.AdaptiveMaxPool2D, np.max)])
@pytest.mark.parametrize("size", [1, 2, 3, 5, (7, 4), (None, 2), (11, None)], ids=str)
def test_each_output_is_that_of_its_window(
    backend: Backend, kind: type[AdaptivePool], reduce: Callable[..., Any], size: Any
) -> None:
    x = np.random.default_rng(0).normal(size=(2, 7, 5, 3))
    y, _ = pull(kind(size), x, device=backend)
    sizes = size if isinstance(size, tuple) else (size, size)
    n_rows, n_columns = (whole if n is None else n for n, whole in zip(sizes, (7, 5), strict=True))
    assert y.shape == (2, n_rows, n_columns, 3)
    for i, j in np.ndindex(n_rows, n_columns):
        rows = slice(math.floor(i * 7 / n_rows), math.ceil((i + 1) * 7 / n_rows))
        columns = slice(math.floor(j * 5 / n_columns), math.ceil((j + 1) * 5 / n_columns))
        np.testing.assert_allclose(y[:, i, j], reduce(x[:, rows, columns], axis=(1, 2)), rtol=1e-12)


@pytest.mark.parametrize(
    ("adaptive", "fixed"), [(pn.AdaptiveAvgPool2D, pn.AvgPool2D), (pn.AdaptiveMaxPool2D, pn.MaxPool2D)]
)
def test_windows_that_divide_the_input_are_those_of_ordinary_pooling(
    backend: Backend, adaptive: type[AdaptivePool], fixed: Any
) -> None:
    """Also for equal maxima, of which the first along the last axis has the gradient."""
    rng = np.random.default_rng(0)
    x, dy = rng.integers(-1, 2, size=(2, 6, 4, 3)).astype("float64"), rng.normal(size=(2, 2, 2, 3))
    results = pull(adaptive(2), x, dy, device=backend), pull(fixed((3, 2)), x, dy, device=backend)
    for ours, expected in zip(*results, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-15)


def test_an_output_longer_than_the_input_repeats_positions(backend: Backend) -> None:
    x = np.asarray([[[1.0], [3.0]]])
    y, dx = pull(pn.AdaptiveAvgPool1D(4), x, device=backend)
    np.testing.assert_array_equal(y.ravel(), [1, 1, 3, 3])
    np.testing.assert_array_equal(dx.ravel(), [2, 2])


def test_infinity_is_the_largest(backend: Backend) -> None:
    x = np.asarray([[[1.0], [np.inf], [-np.inf], [0.0]]])
    y, dx = pull(pn.AdaptiveMaxPool1D(2), x, device=backend)
    np.testing.assert_array_equal(y.ravel(), [np.inf, 0.0])
    np.testing.assert_array_equal(dx.ravel(), [0, 1, 0, 1])


@pytest.mark.parametrize("kind", [pn.AdaptiveAvgPool1D, pn.AdaptiveMaxPool1D])
def test_nan_stays_in_the_windows_that_contain_it(backend: Backend, kind: type[AdaptivePool]) -> None:
    y, _ = pull(kind(2), np.asarray([[[np.nan], [1.0], [2.0], [5.0]]]), device=backend)
    np.testing.assert_array_equal(np.isnan(y).ravel(), [True, False])


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_number_of_axes_is_named(kind: type[AdaptivePool]) -> None:
    layer, space = kind(2), (4,) * kind.n_axes
    for shape in (space, (4, *space, 2)):
        for ask in (layer.output_shape, lambda shape: layer(np.ones((5, *shape)))):
            with pytest.raises(ValueError, match=rf"\(2\) needs x of {kind.n_axes + 2} axes, .* got \(N, 4[,)]"):
                ask(shape)


@pytest.mark.parametrize("size", [0, -1, 1.5, (2,), (1, 2, 3), (1, 0), "same"], ids=str)
def test_output_size_is_checked(size: Any) -> None:
    message = "output_size must be None or a whole number of at least 1, or 2 of them, got"
    with pytest.raises(ValueError, match=message):
        pn.AdaptiveAvgPool2D(size)


def test_integers_are_refused() -> None:
    with pytest.raises(ValueError, match="needs floats, got x of dtype uint8"):
        pn.AdaptiveAvgPool1D(1)(np.ones((2, 3, 1), "uint8"))
