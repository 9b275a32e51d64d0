"""Convolutions beyond their agreement with PyTorch: errors, sizes at the edge, precision and memory."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend
from portanet.layers.conv import Conv

KINDS = [pn.Conv1D, pn.Conv2D, pn.Conv3D, pn.ConvTranspose1D, pn.ConvTranspose2D, pn.ConvTranspose3D]


def normal(*shape: int) -> Any:
    """Random numbers, the same for a shape, that float32 holds exactly."""
    return np.random.default_rng(shape).normal(size=shape).astype("float32").astype("float64")


def pull(
    layer: pn.Layer, weights: dict[str, Any], x: Any, dy: Any, *, device: Backend | str = "cpu", dtype: str = "float64"
) -> list[Any]:
    """Output and all gradients, as NumPy arrays."""
    layer.initialize(device=device, dtype=dtype)
    layer.set_weights(weights)
    to_numpy = layer.flat.backend.to_numpy
    y, pullback = layer.vjp(layer.asarray(x))
    dx = pullback(layer.asarray(dy))
    return [to_numpy(y), to_numpy(dx), *(np.array(to_numpy(p.grad)) for p in layer.parameters())]


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_input_shape_names_both_shapes(kind: type[Conv]) -> None:
    layer, space = kind(2, 3, 1), (4,) * kind.n_axes
    for shape in (space, (*space, 3), (4, *space, 2)):
        for ask in (layer.output_shape, lambda shape: layer(np.ones((5, *shape), "float32"))):
            with pytest.raises(ValueError, match=r"\(2, 3, 1\) needs x of shape \(N, .*, 2\), got \(N, 4"):
                ask(shape)


@pytest.mark.parametrize("kind", [pn.Conv2D, pn.ConvTranspose2D])
@pytest.mark.parametrize("name", ["kernel_size", "stride", "dilation"])
@pytest.mark.parametrize("value", [0, -1, 2.5, (3,), (1, 2, 3), (2, 0), (2, 1.5), "ab", None], ids=str)
def test_sizes_and_steps_must_be_positive_numbers(kind: type[Conv], name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"{name} must be a whole number of at least 1, or 2 of them, got .*{value}"):
        kind(4, 6, **{"kernel_size": 3, name: value})


@pytest.mark.parametrize("kind", [pn.Conv2D, pn.ConvTranspose2D])
@pytest.mark.parametrize("padding", [-1, 1.5, "full", (1,), (1, -1), (1, 2.5), (1, (1, 2, 3)), ((0, -1), 1)], ids=str)
def test_an_unknown_padding_is_refused(kind: type[Conv], padding: Any) -> None:
    with pytest.raises(ValueError, match="padding must be 'valid', 'same', a number, or 2 numbers or pairs"):
        kind(4, 6, 3, padding=padding)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("channels", "groups"), [((4, 6), 3), ((6, 4), 3), ((4, 6), 0), ((0, 1), 1), ((2, -2), 1)])
def test_channels_must_be_multiples_of_groups(kind: type[Conv], channels: tuple[int, int], groups: int) -> None:
    whole = min(*channels, groups) >= 1
    message = f"must be multiples of groups={groups}, got {channels[0]} and" if whole else "whole number of at least 1"
    with pytest.raises(ValueError, match=message):
        kind(*channels, 3, groups=groups)


@pytest.mark.parametrize("output_padding", [2, -1, (0, 1)], ids=str)
def test_output_padding_must_be_smaller_than_the_stride(output_padding: int | tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="output_padding must be"):
        pn.ConvTranspose2D(1, 1, 3, stride=(2, 1), output_padding=output_padding)


def test_same_padding_leaves_no_choice_of_output_padding() -> None:
    with pytest.raises(ValueError, match="output_padding must be 0 with padding='same', got 1"):
        pn.ConvTranspose2D(1, 1, 3, stride=2, padding="same", output_padding=1)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (pn.Conv1D(1, 1, 4), (3, 1)),
        (pn.Conv1D(1, 1, 3, dilation=2, padding=((1, 0),)), (3, 1)),
        (pn.Conv2D(1, 1, (2, 5)), (4, 4, 1)),
        (pn.Conv1D(1, 1, 1), (0, 1)),
        (pn.ConvTranspose1D(1, 1, 3, padding=2), (2, 1)),  # nothing is left of the output
    ],
    ids=str,
)
def test_a_kernel_that_does_not_fit_says_where(layer: pn.Layer, shape: tuple[int, ...]) -> None:
    for ask in (layer.output_shape, lambda shape: layer(np.ones((2, *shape), "float32"))):
        with pytest.raises(ValueError, match=r"a window that reaches over .* does not fit into .* with padding"):
            ask(shape)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_kernel_may_be_longer_than_the_input_it_is_padded_for(backend: Backend, length: int) -> None:
    x, w = normal(length), normal(5)
    weights = {"weight": w.reshape(5, 1, 1), "bias": np.zeros(1)}
    y, *_ = pull(
        pn.Conv1D(1, 1, 5, padding="same"), weights, x.reshape(1, -1, 1), np.ones((1, length, 1)), device=backend
    )
    np.testing.assert_allclose(y.ravel(), np.correlate(np.pad(x, 2), w), rtol=1e-12)


def test_a_stride_longer_than_the_kernel_leaves_gaps(backend: Backend) -> None:
    layer = pn.ConvTranspose1D(1, 1, 1, stride=3, padding="same").initialize(device=backend, dtype="float64")
    layer.set_weights({"weight": np.asarray([[[10.0]]]), "bias": np.asarray([0.5])})
    y = backend.to_numpy(layer(layer.asarray(np.asarray([[[1.0], [2.0]]]))))
    np.testing.assert_array_equal(y.ravel(), [10.5, 0.5, 0.5, 20.5, 0.5, 0.5])


def test_no_examples_give_no_outputs(backend: Backend) -> None:
    for kind in KINDS:
        layer, shape = kind(2, 3, 3).initialize(device=backend), (*(6,) * kind.n_axes, 2)
        assert layer.predict(np.zeros((0, *shape))).shape == (0, *layer.output_shape(shape))


def test_convolutions_of_one_two_and_three_axes_agree(backend: Backend) -> None:
    x, dy, weight = normal(3, 9, 4), normal(3, 4, 6), {"weight": normal(3, 2, 6), "bias": normal(6)}
    results = []
    for kind in (pn.Conv1D, pn.Conv2D, pn.Conv3D):
        ones = (1,) * (kind.n_axes - 1)

        def wide(array: Any, ones: tuple[int, ...] = ones) -> Any:
            return array.reshape(*array.shape[:-2], *ones, *array.shape[-2:]) if array.ndim > 1 else array

        layer = kind(
            *(4, 6, (3, *ones)), stride=(2, *ones), dilation=(2, *ones), padding=((2, 1), *[0] * len(ones)), groups=2
        )
        wide_weight = {name: wide(values) for name, values in weight.items()}
        found = pull(layer, wide_weight, x.reshape(3, 9, *ones, 4), dy.reshape(3, 4, *ones, 6), device=backend)
        results.append([array.ravel() for array in found])
    for found in results[1:]:
        for array, expected in zip(found, results[0], strict=True):
            np.testing.assert_allclose(array, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", [pn.Conv2D, pn.ConvTranspose2D])
@pytest.mark.parametrize("how", [{}, {"padding": "same"}, {"stride": 2, "groups": 2}], ids=str)
def test_read_only_views_are_accepted(kind: type[Conv], how: dict[str, Any]) -> None:
    layer, weights = kind(2, 4, 3, **how), {"bias": normal(4)}
    weights["weight"] = normal(*layer.weight.shape)
    x = np.broadcast_to(normal(5, 2, 8)[:, None], (5, 3, 2, 8)).transpose(1, 3, 0, 2)[:, ::-1]
    dy = np.broadcast_to(normal(1, 1, 1, 4), (3, *layer.output_shape((8, 5, 2))))
    assert not x.flags.writeable
    assert not dy.flags.writeable
    for result, expected in zip(pull(layer, weights, x, dy), pull(layer, weights, x.copy(), dy.copy()), strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (pn.Conv1D(3, 4, 5, stride=2), (3, 19, 3)),
        (pn.Conv2D(1, 4, 5, padding="same"), (3, 8, 9, 1)),
        (pn.Conv2D(4, 4, 3, dilation=2, groups=2), (3, 8, 9, 4)),
        (pn.ConvTranspose2D(4, 2, 3, stride=2, padding="same"), (3, 4, 5, 4)),
    ],
    ids=str,
)
def test_float32_is_float64_to_rounding(backend: Backend, layer: Conv, shape: tuple[int, ...]) -> None:
    """A sum of n products is off by at most n roundings of the sum of their sizes (Higham 2002, section 3.1)."""
    x, dy = normal(*shape), normal(shape[0], *layer.output_shape(shape[1:]))
    weights = {"weight": normal(*layer.weight.shape), "bias": normal(layer.out_channels)}
    sizes = pull(layer, {name: np.abs(values) for name, values in weights.items()}, np.abs(x), np.abs(dy))
    exact = pull(layer, weights, x, dy)
    n = dy[..., 0].size  # products in the longest sum, for the gradient of the weight
    for single, double, size in zip(
        pull(layer, weights, x, dy, device=backend, dtype="float32"), exact, sizes, strict=True
    ):
        assert single.dtype == np.float32
        assert (np.abs(single - double) <= n * 2.0**-24 * size).all()


@pytest.mark.parametrize(("device", "n"), [("cpu", 4096), ("strict", 256)])  # tuned, and portable, on NumPy's memory
def test_memory_is_a_few_times_that_of_input_and_output(device: str, n: int) -> None:
    layer = pn.Conv2D(1, 32, 5, padding="same").initialize(device=device)
    x = layer.asarray(np.zeros((n, 28, 28, 1), "float32"))
    both = 4 * n * 28 * 28 * (1 + 32)
    assert peak(lambda: layer.forward(x)) + 4 * n * 28 * 28 < 3 * both


@pytest.mark.parametrize("device", ["cpu", "strict"])
def test_memory_of_a_training_step(device: str) -> None:
    layer, n = pn.Conv2D(8, 16, 3, padding="same").initialize(device=device), 128
    x = layer.asarray(np.zeros((n, 28, 28, 8), "float32"))

    def step() -> None:
        y, pullback = layer.vjp(x)
        pullback(y)

    assert peak(step) + 4 * n * 28 * 28 * 8 < 3 * 4 * n * 28 * 28 * (8 + 16 + 8)  # x, y and dx


def peak(function: Callable[..., Any]) -> int:
    """Most bytes held at once by what a function makes; tracemalloc sees NumPy's arrays."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("shape", "fix"),
    [
        ((12, 12, 3), r"x\[None, ...\] for a single example"),
        ((2, 3, 12, 12), r"channels come last, x.transpose\(0, 2, 3, 1\)"),
        ((2, 12, 12), r"give x\[..., None\], with one channel"),
    ],
)
def test_errors_suggest_a_fix(shape: tuple[int, ...], fix: str) -> None:
    with pytest.raises(ValueError, match=fix):
        pn.Conv2D(3, 4, 3).initialize()(np.zeros(shape, "float32"))


def test_channels_must_be_whole_numbers() -> None:
    with pytest.raises(ValueError, match=r"in_channels must be a whole number of at least 1, got 3.0"):
        pn.Conv2D(3.0, 4, 3)  # type: ignore[arg-type]
