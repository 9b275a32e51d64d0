"""Padding against numpy.pad, and its errors."""

from typing import Any, Literal

import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend
from tests.layers.test_pooling import pull

MODES: list[tuple[str, Literal["constant", "reflect", "edge", "wrap"]]] = [
    # PortaNet's names and NumPy's
    ("constant", "constant"),
    ("reflect", "reflect"),
    ("replicate", "edge"),
    ("circular", "wrap"),
]


@pytest.mark.parametrize(("mode", "name"), MODES)
@pytest.mark.parametrize("pads", [((1, 2),), ((0, 7),), ((5, 0), (1, 1)), ((9, 4), (0, 3)), ((1, 0), (2, 3), (0, 1))])
def test_padding_is_that_of_numpy(backend: Backend, mode: str, name: Any, pads: tuple[tuple[int, int], ...]) -> None:
    x = np.random.default_rng(0).normal(size=(2, *(3, 4, 2)[: len(pads)], 2))
    y, _ = pull(pn.Pad(pads, mode=mode), x, device=backend)
    np.testing.assert_array_equal(y, np.pad(x, ((0, 0), *pads, (0, 0)), name))


@pytest.mark.parametrize("mode", [mode for mode, _ in MODES])
def test_each_position_counts_its_copies(backend: Backend, mode: str) -> None:
    """The gradient of a sum is the number of copies of each position, found by padding their numbers."""
    positions = np.arange(12.0).reshape(1, 3, 4, 1)
    layer = pn.Pad(((2, 0), (1, 5)), mode=mode, value=-1.0 if mode == "constant" else 0.0)
    y, dx = pull(layer, positions, device=backend)
    np.testing.assert_array_equal(dx.ravel(), [(y == i).sum() for i in range(12)])


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_an_axis_of_length_1_is_repeated(backend: Backend, mode: str) -> None:
    y, dx = pull(pn.Pad(2, mode=mode), np.asarray([[[3.0]]]), device=backend)
    np.testing.assert_array_equal(y.ravel(), [3.0] * 5)
    np.testing.assert_array_equal(dx.ravel(), [5.0])


def test_one_number_pads_all_axes_however_many_there_are(backend: Backend) -> None:
    layer = pn.Pad(1, mode="replicate")
    for n_axes in (1, 2, 3):
        y, _ = pull(layer, np.ones((2, *(3,) * n_axes, 2)), device=backend)
        np.testing.assert_array_equal(y, np.ones((2, *(5,) * n_axes, 2)))


def test_the_value_is_that_of_the_dtype(backend: Backend) -> None:
    y, _ = pull(pn.Pad(1, value=0.1), np.zeros((1, 1, 1)), device=backend, dtype="float32")
    np.testing.assert_array_equal(y.ravel(), np.asarray([0.1, 0, 0.1], "float32"))


@pytest.mark.parametrize("padding", [-1, 1.5, "same", (), (1, -1), ((1,), 2), ((1, 2, 3),), [[]]], ids=str)
def test_an_unknown_padding_is_refused(padding: Any) -> None:
    with pytest.raises(ValueError, match="padding must be a whole number of at least 0, or for each axis a number or"):
        pn.Pad(padding)


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="mode must be 'constant', 'reflect', 'replicate' or 'circular', got 'zeros'"):
        pn.Pad(1, mode="zeros")


def test_a_value_needs_the_constant_mode() -> None:
    with pytest.raises(ValueError, match=r"value must be 0 with mode='reflect', got 1\.0"):
        pn.Pad(1, mode="reflect", value=1.0)


def test_a_wrong_number_of_axes_is_named() -> None:
    for layer, shape, message in (
        (pn.Pad((1, 2)), (4, 3), r"Pad\(\(1, 2\)\) needs x of 4 axes, .* got \(N, 4, 3\)"),
        (pn.Pad(1), (3,), r"Pad\(1\) needs x of shape \(N, \.\.\., C\), got \(N, 3\)"),
    ):
        for ask in (layer.output_shape, lambda shape, layer=layer: layer(np.ones((5, *shape)))):
            with pytest.raises(ValueError, match=message):
                ask(shape)
