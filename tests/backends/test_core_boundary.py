"""Arguments that the functions of the compiled core refuse, or take although they are unusual."""

from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet import kernels
from portanet.backends.numpy import core
from portanet.kernels.windows import Window

needs_core = pytest.mark.skipif(core.compiled is None, reason="the compiled kernels are not in use")

X = np.zeros((4, 3))
DOUBLE = (bytes(4), ())  # operation 0, add, of the first argument and itself
TWICE = DOUBLE[0] * 2, DOUBLE[1]  # a program of two results
POOLING = (False, (2,), (2,), (1,), ((0, 0),))
CONV = (False, (1,), (1,), ((0, 0),), 1)


def zeros(*shape: int, dtype: str = "float64") -> np.ndarray:
    return np.zeros(shape, dtype)


HEADS = zeros(1, 2, 4, 3)
RECURRENCE: Any = (
    *(zeros(2, 4, 5), zeros(5, 3), zeros(3, 3), zeros(3), zeros(3), None, DOUBLE),
    *(zeros(1, 3, 4, 3), zeros(2, 4, 0)),
)


@needs_core
@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("run_program", (DOUBLE, (X,), zeros(2, 3)), "arguments must have the size of the result"),
        ("run_program", (DOUBLE, (X,), X), "the result must not overlap an operand"),
        ("run_program", (DOUBLE, (X,), X.astype("float32")), "arrays must have one dtype"),
        ("run_program", ((b"\xff\0\0\0", ()), (X,), zeros(4, 3)), "an operation or a value is unknown"),
        ("mean_of_program", (DOUBLE, (X,), zeros(4, 3), zeros(1)), "the program has too few results"),
        ("mean_of_program", (TWICE, (X,), zeros(4, 3), zeros(2)), "mean must have one element"),
        ("mean_of_program", (TWICE, (X[:0],), zeros(0, 3), zeros(1)), "gradient must not be empty"),
        ("mean_of_program", (TWICE, (X,), X, zeros(1)), "the result must not overlap an operand"),
        ("mean_of_program", (TWICE, (X,), zeros(4, 3), zeros(1, dtype="float32")), "arrays must have one dtype"),
        ("log_softmax", (zeros(4, 0), zeros(4, 0)), "x and y must have one shape"),
        (
            "sparse_softmax_cross_entropy",
            (X, zeros(4, dtype="int32"), 1.0, zeros(4), zeros(4, 3)),
            "labels must be an aligned array of int64",
        ),
        (
            "sparse_softmax_cross_entropy",
            (X, zeros(3, dtype="int64"), 1.0, zeros(4), zeros(4, 3)),
            "x and gradient must have one shape",
        ),
        ("bias_add", (X, zeros(4), False), "a bias must have the channels of x"),
        ("bias_grad", (X, zeros(4), False), "a bias must have the channels of x"),
        ("sgd", (zeros(4), zeros(3), None, 0.1, 0.0, False), "arrays must be flat and have one length"),
        (
            "adam",
            (zeros(4), zeros(4), zeros(4), zeros(4, dtype="float32"), 0.9, 0.9, 0.1, 0.1),
            "arrays must have one dtype",
        ),
        (
            "rmsprop",
            (zeros(4), zeros(4), zeros(4), None, zeros(3), 0.1, 0.9, 0.9, 0.1),
            "arrays must be flat and have one length",
        ),
        ("add_scaled", (zeros(4), zeros(4), 0.1, zeros(3)), "arrays must have one shape"),
        ("max_pool", (X, zeros(2, 3), *POOLING), "arrays must have 1 to 3 spatial axes"),
        ("max_pool", (zeros(1, 4, 3), zeros(1, 2, 2), *POOLING), "arrays must have the same channels"),
        (
            "max_pool",
            (zeros(1, 4, 3), zeros(1, 2, 3), False, (2,), (0,), (1,), ((0, 0),)),
            "sizes, strides and dilations must be at least 1",
        ),
        ("conv", (zeros(1, 4, 3), zeros(2, 2, 5), None, zeros(1, 3, 5), *CONV), "x, w and y do not fit"),
        ("dropout", (X, zeros(4, 3, dtype="uint16"), 0, zeros(4, 3)), "keep must be in"),
        (
            "normalize",
            (X, None, None, 0.1, False, zeros(4, 3), zeros(1), zeros(1), (1, 5, 1, 3, 1, 1)),
            "settings must fit the size of x",
        ),
        (
            "nearest_centres",
            (X, zeros(2, 2), zeros(3), zeros(4, dtype="int64"), zeros(4)),
            "must have one length of rows",
        ),
        (
            "attention",
            (zeros(1, 2, 4, 3), *[zeros(1, 2, 4, 2)] * 2, None, False, zeros(1, 2, 4, 3), zeros(1, 2, 4)),
            "q, k, v, kept and log_sums do not fit",
        ),
        (
            "attention",
            (*[zeros(1, 2, 4, 3)] * 3, zeros(3), False, zeros(1, 2, 4, 3), zeros(1, 2, 4)),
            "q, k, v, kept and log_sums do not fit",
        ),
        (
            "attention",
            (*[zeros(1, 2, 4, 3)] * 3, None, False, zeros(1, 2, 3, 4).swapaxes(2, 3), zeros(1, 2, 4)),
            r"y must be an aligned array \(examples, heads, length, features\)",
        ),
        ("attention", (*[HEADS] * 3, None, False, HEADS, zeros(1, 2, 4)), "the result must not overlap an operand"),
        (
            "attention_gradient",
            (*[HEADS] * 3, None, False, zeros(1, 2, 4), zeros(1, 2, 5, 3), *[zeros(1, 2, 4, 3) for _ in "qkv"]),
            "gradients must have the shapes of their arrays",
        ),
        ("recurrence", (*RECURRENCE[:-1], zeros(2, 5, 0)), "w_hh, kept, states and saved do not fit"),
        ("recurrence", (zeros(2, 4, 6), *RECURRENCE[1:]), "x, w_ih, b_ih and b_hh do not fit"),
        ("recurrence", (*RECURRENCE[:-1], zeros(2, 4, 3)), "the program has too few results"),
        ("recurrence", (*RECURRENCE[:7], RECURRENCE[0].reshape(1, 2, 4, 5), zeros(1, 4, 5)), "must not overlap"),
        (
            "recurrence_gradient",
            (X[:3], None, DOUBLE, zeros(1, 3, 4, 3), zeros(2, 4, 0), None, *[zeros(1, 4, 3)] * 2, None),
            "the result must not overlap an operand",
        ),
        (
            "recurrence_gradient",
            (X[:3], None, DOUBLE, zeros(1, 3, 4, 3), zeros(2, 4, 0), None, zeros(1, 4, 3), zeros(1, 4, 3), None),
            "dh, dstates, da and du do not fit",
        ),
        (
            "dense_gradient",
            (zeros(5, 4), X, zeros(3, 4), zeros(3, 4), None, None, None, None),
            "x, w, dz and dw do not fit",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_refused(name: str, arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(core.compiled, name)(*arguments)


@needs_core
def test_the_longest_program_runs_and_a_longer_one_is_refused() -> None:
    from portanet.backends.numpy.core.elementwise import MAX_VALUES

    step, x, out = DOUBLE[0], np.ones(4), zeros(4)
    core.compiled.run_program((step * (MAX_VALUES - 1), ()), (x,), out)
    np.testing.assert_array_equal(out, 2 * x)
    with pytest.raises(ValueError, match="too many values"):
        core.compiled.run_program((step * MAX_VALUES, ()), (x,), out)


@pytest.mark.parametrize("n", [0, 1])
def test_pooling_of_a_batch_of_none_or_one(n: int) -> None:
    window = Window.fit((4, 4), (2, 2), stride=(1, 1), dilation=(1, 1), padding="same")
    x = np.ones((n, 4, 4, 3))
    y = kernels.max_pool(x, window)
    assert y.shape == kernels.max_pool_gradient(y, x, y, window).shape == x.shape


@needs_core
@pytest.mark.parametrize("dy", [np.full((100, 100), 2.0), np.full((100, 100), 2.0, "float32").T])
def test_a_gradient_of_another_dtype_or_layout_is_cast(dy: Any) -> None:
    x = np.random.default_rng(0).normal(size=(100, 100)).astype("float32")
    y, pullback = pn.TanH().vjp(x)
    dx = pullback(dy)
    assert dx.dtype == np.float32
    np.testing.assert_allclose(dx, 2 * (1 - y * y), rtol=1e-5, atol=1e-6)
