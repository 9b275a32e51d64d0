"""NumPy's pooling equals the portable form for windows of any geometry."""

from typing import Any

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from portanet import kernels
from portanet.kernels.windows import Window
from tests.kernel_cases import TOLERANCE, copy_batch_last


@st.composite
def geometries(draw: st.DrawFn) -> Window:
    n_axes = draw(st.integers(1, 3))

    def numbers(least: int, most: int) -> tuple[int, ...]:
        return draw(st.tuples(*[st.integers(least, most)] * n_axes))

    input_shape, size, dilation = numbers(1, 7), numbers(1, 3), numbers(1, 2)
    pads = tuple(zip(numbers(0, 2), numbers(0, 2), strict=True))
    axes = zip(input_shape, pads, size, dilation, strict=True)
    assume(all(low + n + high > d * (k - 1) for n, (low, high), k, d in axes))
    return Window.fit(
        input_shape, size, stride=numbers(1, 4), dilation=dilation, padding=pads, ceil=draw(st.booleans())
    )


@settings(deadline=None)
@given(
    geometries(), st.integers(1, 9), st.sampled_from([1, 2, 7, 17, 33]), st.sampled_from([*TOLERANCE]), st.booleans()
)
def test_pooling_equals_the_portable_form(window: Window, n: int, channels: int, dtype: str, batch_last: bool) -> None:
    rng = np.random.default_rng(n + channels)
    x = rng.integers(-2, 3, size=(n, *window.input_shape, channels)).astype(dtype)
    dy = rng.normal(size=(n, *window.output_shape, channels)).astype(dtype)
    y = kernels.max_pool.portable(x, window)
    for name, *arrays in (
        ("max_pool", x),
        ("max_pool_gradient", dy, x, y),
        ("sum_pool", x),
        ("sum_pool_gradient", dy),
    ):
        check(name, [copy_batch_last(a) if batch_last else a for a in arrays], window)


def check(name: str, arrays: list[np.ndarray], window: Window) -> None:
    kernel: Any = getattr(kernels, name)
    tolerance = 10 * TOLERANCE[arrays[0].dtype.name]
    np.testing.assert_allclose(
        kernel(*arrays, window), kernel.portable(*arrays, window), tolerance, tolerance, err_msg=name
    )


def test_a_part_of_a_batch_that_is_last_in_memory() -> None:
    x = copy_batch_last(np.random.default_rng(0).normal(size=(20, 6, 6, 3)))[4:9]
    window = Window.fit((6, 6), (2, 2), stride=(2, 2), dilation=(1, 1), padding="valid")
    y = kernels.sum_pool(x, window)
    np.testing.assert_allclose(y, kernels.sum_pool.portable(x, window))
