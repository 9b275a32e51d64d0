"""The launches of the CUDA backend's kernels, counted without a GPU; each takes microseconds on one."""

import re
from collections.abc import Callable
from typing import Any

import array_api_compat  # noqa: F401 (before one of its modules is replaced)
import numpy as np
import pytest

import portanet as pn
from bench.networks import NETWORKS
from portanet.backends import Backend
from portanet.training.data import Data
from tests.cupy_on_cpu import COMPILER, CuPy

pytestmark = pytest.mark.skipif(COMPILER is None, reason="g++ compiles the kernels")

ACTIVATIONS = [
    *(pn.ReLU(), pn.LeakyReLU(), pn.ELU(), pn.GELU(), pn.GELU(approximate=True)),
    *(pn.SiLU(), pn.Softplus(), pn.TanH(), pn.Sigmoid(), pn.SELU(), pn.CELU(0.7)),
    *(pn.ReLU6(), pn.Hardtanh(), pn.Hardswish(), pn.Mish(), pn.LogSigmoid()),
]

pytestmark = pytest.mark.skipif(COMPILER is None, reason="g++ compiles the kernels")


@pytest.mark.mechanism
def test_the_launches_of_a_recorded_step(cuda: Backend, compute_types: list[int]) -> None:
    """Each launch takes microseconds, which is most of the time of a small network's step: none may be added."""
    net = pn.Sequential(pn.Linear(4, 8), pn.Sigmoid(), pn.Linear(8, 3)).initialize(device=cuda)
    trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.Adam())
    data = Data(cuda.asarray(np.ones((6, 4), "float32")), cuda.asarray(np.ones(6, int)))
    executor, _ = trainer._executor(data, 3, record=True)
    executor.start_epoch(None)
    CuPy.current.launches.clear()
    executor.run()
    assert CuPy.current.launches == [
        "gather_batch",
        *("dense", "dense", "mean_cross_entropy"),
        *("dense_weight_gradient", "dense_input_gradient", "dense_weight_gradient"),
        *("adam_scalars", "adam"),
        "write_metrics",
    ]


@pytest.mark.parametrize("layer", ACTIVATIONS, ids=repr)
@pytest.mark.parametrize("n_in", [5, 900])  # a small product, and one by cuBLAS
def test_dense_layers_have_the_gradients_of_the_portable_form(cuda: Backend, layer: pn.Activation, n_in: int) -> None:
    """With the derivative of the activation below in the product."""
    rng, fn = np.random.default_rng(0), layer.elementwise
    host = [rng.normal(size=shape) for shape in ((4, n_in), (n_in, 6), (6,), (6, 3), (3,), (4, 3))]
    outcomes = []
    for kernels, arrays in ((portable_kernels(), host), (cuda.kernels, [*map(cuda.asarray, host)])):
        x, w1, b1, w2, b2, dy = arrays
        grads = [0 * a for a in (w1, b1, w2, b2)]
        y, below = kernels["dense"](x, w1, b1, fn)
        z, none = kernels["dense"](y, w2, b2, None)
        assert none is None
        CuPy.current.launches.clear()
        dz = kernels["dense_gradient"](dy, y, w2, *grads[2:], True, below)
        launches = list(CuPy.current.launches)
        dx = kernels["dense_gradient"](dz, x, w1, *grads[:2], True, None)
        outcomes.append([y, z, dz, dx, *grads])
    assert launches == ["dense_weight_gradient", "dense_input_gradient"]
    for expected, actual in zip(*outcomes, strict=True):
        np.testing.assert_allclose(cuda.to_numpy(actual), expected, rtol=1e-9, atol=1e-11)


def portable_kernels() -> dict[str, Callable[..., Any]]:
    return {name: getattr(pn.kernels, name).portable for name in ("dense", "dense_gradient")}


def test_a_bias_and_an_activation_are_one_launch_after_a_product(
    cuda: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    from portanet.backends.cupy import dense

    monkeypatch.setattr(dense, "MAX_ROWS", 3)
    x, w, b = (cuda.asarray(np.ones(shape)) for shape in ((4, 900), (900, 6), (6,)))
    CuPy.current.launches.clear()
    y, _ = cuda.kernels["dense"](x, w, b, pn.TanH().elementwise)
    assert CuPy.current.launches == ["product", "bias_elementwise"]
    np.testing.assert_allclose(cuda.to_numpy(y), np.tanh(901.0))


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((4, 3), (5, 2), (2,)), "x must have shape (4, 5), got (4, 3)"),
        (((4, 5), (5, 2), (3,)), "b must have shape (2,), got (3,)"),
    ],
)
def test_dense_layers_refuse_shapes_that_do_not_fit(cuda: Backend, shapes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        cuda.kernels["dense"](*(cuda.asarray(np.ones(shape)) for shape in shapes), None)


def test_gradients_of_dense_layers_refuse_shapes_that_do_not_fit(cuda: Backend) -> None:
    shapes = {"dz": (4, 2), "x": (4, 5), "w": (5, 2), "dw": (5, 2), "db": (2,)}
    for name, shape in (("dz", (4, 3)), ("dz", (3, 2)), ("dw", (2, 5)), ("db", (3,))):
        arrays = [cuda.asarray(np.ones(s)) for s in {**shapes, name: shape}.values()]
        with pytest.raises(ValueError, match=f"{name} must have shape"):
            cuda.kernels["dense_gradient"](*arrays, True, None)


LAUNCHES = {
    "003-mlp": [
        *("gather_batch", "dense", "dense", "mean_cross_entropy"),
        *("dense_weight_gradient", "dense_input_gradient", "dense_weight_gradient"),
        *("sgd", "write_metrics"),
    ],
    "003-lenet": [
        "gather_batch",
        *("conv_block", "im2col", "product", "max_pool", "elementwise"),  # the second has too many weights
        *("product", "bias_elementwise", "dense", "mean_cross_entropy"),
        *("dense_weight_gradient", "dense_input_gradient"),
        *("product", "column_sums", "product", "elementwise_gradient"),
        *("max_pool_gradient", "product", "partial_sums", "column_sums", "product", "col2im"),
        *("elementwise_gradient", "conv_block_weight_gradient"),
        *("adam_scalars", "adam", "write_metrics"),
    ],
    "004-cnn": [
        "gather_batch",
        *("conv_block", "conv_block", "conv_block"),
        *("dense", "dense", "mean_cross_entropy"),
        *("dense_weight_gradient", "dense_input_gradient") * 2,
        *("elementwise_gradient", "conv_block_weight_gradient", "conv_block_input_gradient") * 2,
        *("elementwise_gradient", "conv_block_weight_gradient"),
        *("rmsprop", "write_metrics"),
    ],
}
"""
Launches of a recorded step.

Before small products, losses, columns and small convolutions had kernels of their own, there were 19, 51 and 66 for
batches of two examples.
"""


BARRIERS = {"003-mlp": 7, "004-cnn": 16}
"""Barriers of a step as a persistent kernel."""


@pytest.mark.mechanism
@pytest.mark.parametrize("name", LAUNCHES)
def test_the_launches_of_the_networks_of_the_reports(cuda: Backend, compute_types: list[int], name: str) -> None:
    from portanet.backends.cupy import persistent
    from portanet.backends.cupy.source import record_launches

    network = NETWORKS[name]
    net = network.build().initialize(device=cuda)
    trainer = pn.Trainer(net, network.loss(), network.optimizer())
    n = network.batch_size
    x = np.random.default_rng(0).random((n, *network.input_shape)).astype("float32")
    executor, _ = trainer._executor(Data(cuda.asarray(x), cuda.asarray(np.arange(n) % 10)), n, record=True)
    executor.start_epoch(None)
    CuPy.current.launches.clear()
    CuPy.current.is_recording = True  # so that they are listed, and take no time
    with record_launches() as launches:
        executor.run()
    assert CuPy.current.launches == LAUNCHES[name]
    if name in BARRIERS:
        assert persistent.is_supported(launches)
        assert 1 + sum(persistent._needs_grid_sync(launches)) == BARRIERS[name]


def test_arrays_of_several_dtypes_are_gathered(cuda: Backend) -> None:
    """In one launch, unless floats of two dtypes are among them or there are more than three arrays."""
    rng, order, index = np.random.default_rng(0), np.asarray([4, 2, 0, 1, 3, 5]), np.asarray([1])
    x, y, weights, other = (
        rng.normal(size=(6, 2, 3)),
        rng.integers(9, size=6, dtype="uint8"),
        rng.random(6),
        rng.random(6),
    )
    cases: list[tuple[list[Any], int]] = [
        ([x, y], 1),
        ([x, y, weights], 1),
        ([y], 1),
        ([x, y, weights, other], 2),
        ([x, y, weights.astype("float32")], 3),
    ]
    for arrays, launches in cases:
        CuPy.current.launches.clear()
        batch = cuda.kernels["gather_batch"](cuda.asarray(order), cuda.asarray(index), 2, [*map(cuda.asarray, arrays)])
        assert CuPy.current.launches == ["gather_batch"] * launches
        for array, found in zip(arrays, batch, strict=True):
            np.testing.assert_array_equal(cuda.to_numpy(found), array[[0, 1]])
            assert found.dtype == array.dtype


@pytest.mark.parametrize("layer", ACTIVATIONS, ids=repr)
def test_an_activation_is_one_kernel_forward_and_one_backward(cuda: Backend, layer: pn.Activation) -> None:
    x = cuda.asarray(np.linspace(-3, 3, 12).reshape(3, 4))
    _, pullback = layer.vjp(x)
    pullback(x)
    assert CuPy.current.launches == ["elementwise", "elementwise_gradient"]


def test_a_derivative_of_the_output_does_not_save_the_input(cuda: Backend) -> None:
    """The next layer saves the output anyway."""
    from portanet.backends.cupy.tracing import TracedFn

    traced = {type(layer).__name__: TracedFn.trace(layer.elementwise, np.dtype("float32")) for layer in ACTIVATIONS}
    assert None not in traced.values()
    assert {name for name, fn in traced.items() if fn and fn.from_output} == {"Hardtanh", "ReLU6", "Sigmoid", "TanH"}


def test_a_function_that_symbols_do_not_support_is_not_traced(cuda: Backend) -> None:
    from portanet.backends.cupy.tracing import TracedFn

    def in_place(xp: Any, x: Any) -> Any:
        y = xp.exp(x)
        z = y
        y += 1.0
        return y, lambda: z

    weight = cuda.asarray(np.ones(4, "float32"))
    for fn in (
        lambda xp, x: (x if x > 0 else -x, lambda: 1.0),
        lambda xp, x: (x * weight, lambda: weight),
        lambda xp, x: (xp.cumulative_sum(x), lambda: 1.0),
        lambda xp, x: (x * float("inf"), lambda: 1.0),
        lambda xp, x: (x, lambda: x.missing),
        lambda xp, x: (((x > 0) + (x > 1)) * x, lambda: 1.0),  # a sum of booleans
        lambda xp, x: (xp.where(x, x, 0.0), lambda: 1.0),
        lambda xp, x: (x, lambda: x > 0),
        lambda xp, x: (xp.astype(x, "int32") * 1.0, lambda: 1.0),
        in_place,
    ):
        assert TracedFn.trace(fn, np.dtype("float32")) is None
