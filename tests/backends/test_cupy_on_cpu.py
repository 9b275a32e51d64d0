"""
The CUDA backend without a GPU: its kernels are compiled by g++, and its cuBLAS calls are answered by plain loops.

These tests show that the sources are correct and are called correctly. Tests on a GPU are those with the fixture
``backend``, test_overrides.py and test_cupy_on_gpu.py.
"""

import gc
import re
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any, Literal

import array_api_compat  # noqa: F401 (before one of its modules is replaced)
import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend, get_backend
from portanet.backends.tracing import Symbol
from portanet.kernels.distances import blocks
from portanet.kernels.windows import Window
from portanet.typing import Pullback
from tests.cupy_on_cpu import CuPy, pathfinder, stand_ins, standing_in
from tests.kernel_cases import CASES, compare, copy_batch_last


def test_every_override_is_tested(cuda: Backend) -> None:
    assert cuda.kernels.keys() <= CASES.keys()


@pytest.mark.parametrize("copy", [np.copy, copy_batch_last], ids=["C order", "batch last"])
@pytest.mark.parametrize("name", CASES)
def test_kernels_equal_the_portable_form(cuda: Backend, name: str, copy: Callable[..., Any]) -> None:
    if name not in cuda.kernels:
        pytest.skip("CuPy uses the portable form")
    with np.errstate(all="ignore"):
        compare(cuda, name, copy)


@pytest.mark.parametrize("name", ["sigmoid", "erfcx"])
@pytest.mark.parametrize("dtype", ["float16", "int64"])
def test_other_dtypes_use_the_portable_form(cuda: Backend, name: str, dtype: str) -> None:
    x = np.asarray([1, 0, 2], dtype)
    with np.errstate(all="ignore"):
        actual, expected = cuda.kernels[name](cuda.asarray(x, dtype)), getattr(pn.kernels, name).portable(x)
    assert actual.dtype == expected.dtype
    np.testing.assert_allclose(cuda.to_numpy(actual), expected, rtol=1e-3)


@pytest.mark.parametrize("dy", [np.asarray([1, 0, 2]), np.asarray([True, False, True]), np.asarray([0.5, 0.0, 2.0])])
def test_gradients_of_another_dtype_are_cast(cuda: Backend, dy: Any) -> None:
    x = np.asarray([-0.5, 0.1, 0.3], "float32")
    _, pullback = pn.TanH().vjp(cuda.asarray(x))
    np.testing.assert_allclose(cuda.to_numpy(pullback(cuda.asarray(dy))), dy * (1 - np.tanh(x) ** 2), rtol=1e-6)


def test_random_bits_of_several_thread_blocks(cuda: Backend) -> None:
    stream = np.asarray([5, 7])
    bits = cuda.kernels["random_bits"](cuda.asarray(stream), 10_000)
    np.testing.assert_array_equal(cuda.to_numpy(bits), pn.kernels.random_bits(stream, 10_000))


def matrices() -> list[tuple[np.ndarray, np.ndarray]]:
    """Factors in all layouts: transposed, sliced, broadcast, with one row or column, empty, vectors, batches."""
    rng = np.random.default_rng(0)
    a, b, stack = (rng.normal(size=shape) for shape in ((4, 3), (3, 5), (2, 4, 3)))
    wide, tall = rng.normal(size=(8, 6)), rng.normal(size=(3, 20))
    return [
        (a, b),
        (a.T.copy().T, b),
        (a, b.T.copy().T),
        (a.T.copy().T, b.T.copy().T),
        (wide[:4, :3], tall[:, :5]),
        (wide[:3, :4].T, tall.reshape(20, 3)[:5].T),
        (wide[::2, ::2], tall[:, ::4]),
        (wide[::-1, :3], b),
        (np.broadcast_to(a[0], (4, 3)), b),
        (a[:1], b),
        (a, b[:, :1]),
        (a[:, :1], b[:1]),
        (wide.T[:1, :3], b),
        (a, tall.T[:3, :1]),
        (a[:0], b),
        (a[:, :0], b[:0]),
        (a[0], b),
        (a, b[:, 0]),
        (a[0], b[:, 0]),
        (stack, b),
        (stack, np.stack([b, 2 * b])),
        (stack[:1], np.stack([b, 2 * b])),
        (a, np.stack([b, 2 * b])),
        (stack[..., :0], b[:0]),
    ]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_matmul_of_any_layout(cuda: Backend, dtype: str) -> None:
    for a, b in matrices():
        product = cuda.xp.matmul(*(cuda.asarray(x.astype(dtype, order="K")) for x in (a, b)))
        np.testing.assert_allclose(cuda.to_numpy(product), a.astype(dtype) @ b.astype(dtype), rtol=1e-5, atol=1e-5)
        assert product.dtype == dtype


def test_matrices_that_cublas_can_read_are_not_copied(cuda: Backend) -> None:
    from portanet.backends.cupy.blas import _operand

    for pair in matrices()[:6]:
        for x in map(cuda.asarray, pair):
            assert _operand(x).array is x


def test_matmul_of_shapes_that_do_not_match_is_refused(cuda: Backend) -> None:
    with pytest.raises(ValueError, match=re.escape("as many columns as rows, got (2, 3) and (2, 3)")):
        cuda.xp.matmul(*(cuda.asarray(np.ones((2, 3))) for _ in range(2)))


def test_matmul_of_other_dtypes_is_computed_by_cupy(cuda: Backend) -> None:
    with pytest.raises(NotImplementedError):
        cuda.xp.matmul(*(cuda.asarray(np.ones((3, 3), "int64")) for _ in range(2)))


@pytest.mark.parametrize(
    ("name", "shapes", "message"),
    [
        ("matmul_into", ((4, 5), (4, 3), (2, 5)), "b must have shape (3, 5), got (2, 5)"),
        ("matmul_into", ((3, 5), (4, 3), (3, 5)), "a must have shape (3, 3), got (4, 3)"),
        ("matmul_into", ((4, 5), (1, 4, 3), (3, 5)), "a must have shape (4, 3), got (1, 4, 3)"),
        ("bias_grad", ((6, 4), (5,)), "out must have shape (4,), got (5,)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    cuda: Backend, name: str, shapes: tuple[tuple[int, ...], ...], message: str
) -> None:
    """A kernel would write outside of the arrays."""
    arrays = [cuda.asarray(np.ones(shape)) for shape in shapes]
    with pytest.raises(ValueError, match=re.escape(message)):
        cuda.kernels[name](*arrays)
    assert "column_sums" not in CuPy.current.launches


@pytest.mark.parametrize("labels", [(5,), (7,), (6, 1)], ids=str)
def test_labels_of_another_shape_are_refused(cuda: Backend, labels: tuple[int, ...]) -> None:
    logits, indices = cuda.asarray(np.ones((6, 3))), cuda.asarray(np.zeros(labels, int))
    with pytest.raises(ValueError, match=re.escape(f"labels must have shape (6,), got {labels}")):
        cuda.kernels["sparse_softmax_cross_entropy"](logits, indices)


def test_windows_that_do_not_fit_are_refused(cuda: Backend) -> None:
    window = Window.fit((9, 8), (3, 2), stride=(2, 1), dilation=(1, 2), padding="valid")
    x, w, dy = (cuda.asarray(np.ones(shape)) for shape in ((2, 9, 8, 3), (3, 2, 3, 4), (2, *window.output_shape, 4)))
    kernels: Any = SimpleNamespace(**cuda.kernels)
    compute: Callable[[], Any]
    for compute in (
        lambda: kernels.conv(x[:, 1:], w, window),
        lambda: kernels.conv(x, w[..., :1, :], window),
        lambda: kernels.conv_weight_gradient(x[1:], dy, window),
        lambda: kernels.conv_input_gradient(dy[:, 1:], w, window),
        lambda: kernels.max_pool(x[:, 1:], window),
        lambda: kernels.max_pool_gradient(x, x, x, window),
        lambda: kernels.sum_pool(dy, window),
        lambda: kernels.sum_pool_gradient(x, window),
    ):
        with pytest.raises(ValueError, match=r"(x|dy) must have shape \(.*\), got"):
            compute()


def test_a_product_of_two_dtypes_is_refused(cuda: Backend) -> None:
    from portanet.backends.cupy.blas import multiply

    out, a, b = (cuda.asarray(np.ones((2, 2), dtype)) for dtype in ("float32", "float64", "float32"))
    with pytest.raises(TypeError, match="one dtype, got float32, float64, float32"):
        multiply(out, a, b)


def test_multiply_can_add_to_its_output(cuda: Backend) -> None:
    from portanet.backends.cupy.blas import multiply

    a, b = (cuda.asarray(x) for x in matrices()[0])
    out = cuda.asarray(np.ones((4, 5)))
    multiply(out, a, b, add=True)
    np.testing.assert_allclose(cuda.to_numpy(out), 1 + np.asarray(a) @ np.asarray(b))


def test_the_precision_selects_the_compute_type_of_cublas(cuda: Backend, compute_types: list[int]) -> None:
    try:
        for precision in ("float32", "tf32", "bfloat16"):
            pn.set_float32_matmul_precision(precision)
            for dtype in ("float32", "float64"):
                cuda.xp.matmul(*(cuda.asarray(np.ones((2, 2), dtype)) for _ in range(2)))
    finally:
        pn.set_float32_matmul_precision("float32")
    assert compute_types == [68, 70, 77, 70, 75, 70]  # 32F, 64F, 32F_FAST_TF32, 64F, 32F_FAST_16BF, 64F


@pytest.mark.parametrize(("precision", "expected"), [(None, {77}), ("bfloat16", {75}), ("float32", {68})])
def test_the_precision_of_a_trainer_applies_to_its_steps_only(
    cuda: Backend,
    compute_types: list[int],
    precision: Literal["float32", "bfloat16"] | None,
    expected: set[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from portanet.backends.cupy import dense

    monkeypatch.setattr(dense, "MAX_ROWS", 2)
    net = pn.Sequential(pn.Linear(80, 60), pn.TanH(), pn.Linear(60, 80)).initialize(device=cuda)
    trainer = pn.Trainer(net, pn.MSELoss(), pn.SGD(0.1), float32_matmul_precision=precision)
    x = np.ones((6, 80), "float32")
    pn.set_float32_matmul_precision("tf32")
    try:
        trainer.fit(x, x, batch_size=3, progress=False, capture="never")
        assert set(compute_types) == expected
        compute_types.clear()
        trainer.predict(x)
        assert set(compute_types) == {77}
    finally:
        pn.set_float32_matmul_precision("float32")


@pytest.mark.parametrize("limit", [1, 3000, 2**28], ids="bytes={}".format)
def test_convolutions_of_a_few_examples_at_a_time(cuda: Backend, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    from portanet.backends.cupy import conv

    monkeypatch.setattr(conv, "MAX_COLUMNS_BYTES", limit)
    for name in ("conv", "conv_input_gradient", "conv_weight_gradient"):
        x, w, window, groups = CASES[name][8 if name == "conv" else 4][:4]
        actual = cuda.kernels[name](cuda.asarray(x), cuda.asarray(w), window, groups)
        expected = getattr(pn.kernels, name).portable(x, w, window, groups)
        np.testing.assert_allclose(cuda.to_numpy(actual), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("limit", "launches"), [(2**27, 1), (0, 2)], ids=["kept", "computed again"])
def test_the_columns_of_a_convolution_are_kept(
    cuda: Backend, monkeypatch: pytest.MonkeyPatch, limit: int, launches: int
) -> None:
    from portanet.backends.cupy import conv

    monkeypatch.setattr(conv, "MAX_KEPT_COLUMNS_BYTES", limit)
    layer = pn.Conv2D(2, 3, 3).initialize(device=cuda)
    x = cuda.asarray(np.random.default_rng(0).normal(size=(4, 6, 7, 2)), "float32")
    CuPy.current.launches.clear()
    y, pullback = layer.vjp(x)
    pullback(y, need_dx=False)
    assert CuPy.current.launches.count("im2col") == launches
    twin = pn.Conv2D(2, 3, 3).initialize(device="cpu")
    y, pullback = twin.vjp(cuda.to_numpy(x))
    pullback(y, need_dx=False)
    np.testing.assert_allclose(cuda.to_numpy(layer.weight.grad), twin.weight.grad, rtol=1e-5, atol=1e-6)


def test_the_weight_gradient_of_no_examples_is_zero(cuda: Backend) -> None:
    x, w, window, groups = CASES["conv"][8][:4]
    dy = np.empty((0, *window.output_shape, w.shape[-1]), x.dtype)
    dw = cuda.kernels["conv_weight_gradient"](cuda.asarray(x[:0]), cuda.asarray(dy), window, groups)
    np.testing.assert_array_equal(cuda.to_numpy(dw), np.zeros_like(w))


def test_concat_of_many_arrays(cuda: Backend) -> None:
    arrays = [np.full((2, i % 3 + 1), i) for i in range(70)]
    joined = cuda.xp.concat([cuda.asarray(a) for a in arrays], axis=1)
    np.testing.assert_array_equal(cuda.to_numpy(joined), np.concatenate(arrays, axis=1))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_vecdot_is_one_sum(cuda: Backend, axis: int) -> None:
    a, b = np.arange(12.0).reshape(3, 4), np.arange(12.0, 0.0, -1.0).reshape(3, 4)
    x, y = cuda.asarray(a), cuda.asarray(b)
    CuPy.current.launches.clear()
    dots = cuda.xp.vecdot(x, y, axis=axis)
    np.testing.assert_array_equal(cuda.to_numpy(dots), np.sum(a * b, axis=axis))
    assert CuPy.current.launches == ["multiply", "add"]  # the add is the sum


def test_clusters_are_computed_in_larger_blocks_than_on_a_cpu(cuda: Backend) -> None:
    x = np.random.default_rng(0).normal(size=(3000, 4))
    sizes = [[rows.stop - rows.start for rows in blocks(values, 2000)] for values in (x, cuda.asarray(x))]
    assert sizes == [[524] * 5 + [380], [3000]]
    centres = [pn.kernels.nearest_centres(a, a[:5], a[0]) for a in (x, cuda.asarray(x))]
    for expected, actual in zip(*centres, strict=True):
        np.testing.assert_allclose(cuda.to_numpy(actual), expected, rtol=1e-12)


def a_trainer(device: Backend | str, dtype: str) -> pn.Trainer:
    net = pn.Sequential(
        *(
            pn.Conv2D(1, 4, 3, padding="same"),
            pn.ReLU(),
            pn.MaxPool2D(2),
            pn.Conv2D(4, 6, 3, stride=2),
            pn.BatchNorm(6),
        ),
        *(pn.GELU(), pn.AvgPool2D(2, stride=1), pn.Flatten(), pn.Linear(6, 8), pn.Sigmoid(), pn.Dropout(0.2)),
        *(pn.GaussianNoise(0.1), pn.Linear(8, 3)),
    )
    net.initialize(1, device=device, dtype=dtype)
    return pn.Trainer(net, pn.CrossEntropyLoss(), pn.Adam(0.01), metrics=[pn.accuracy])


def test_a_network_trains_as_on_the_cpu(cuda: Backend) -> None:
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(30, 10, 10, 1)), rng.integers(3, size=30)
    runs = []
    for device in (cuda, "cpu"):
        trainer = a_trainer(device, "float64")
        history = trainer.fit(x, labels, epochs=2, batch_size=8, progress=False, capture="never")
        runs.append((history, trainer.net.get_weights()))
    np.testing.assert_allclose(runs[0][0]["loss"], runs[1][0]["loss"], rtol=1e-9)
    for name, values in runs[0][1].items():
        np.testing.assert_allclose(values, runs[1][1][name], rtol=1e-7, atol=1e-9, err_msg=name)


def test_data_that_do_not_fit_are_copied_through_pinned_memory(registry: ModuleType) -> None:
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(33, 10, 10, 1)).astype("float32"), rng.integers(3, size=33)
    losses = []
    for memory in (2**30, x.nbytes):
        cupy = CuPy(memory)
        with standing_in({**stand_ins(cupy, cupy.cuda.Device), "cuda.pathfinder": pathfinder()}):
            registry._loaded.clear()
            for kind in registry.by_type.keys() - {Symbol}:
                del registry.by_type[kind]
            cuda = get_backend("cuda")
            assert cuda.fits(x.nbytes) == (memory == 2**30)
            trainer = a_trainer(cuda, "float32")
            fit = trainer.fit(x, labels, epochs=2, batch_size=8, progress=False, capture="never")
            losses.append(fit["loss"])
    assert losses[0] == losses[1]


def test_a_prefetch_that_ends_early_waits_for_the_pending_copy(cuda: Backend) -> None:
    batches: Any = cuda.iter_batches((np.full((2, 3), i),) for i in range(4))
    np.testing.assert_array_equal(cuda.to_numpy(next(batches)[0]), np.zeros((2, 3)))
    assert CuPy.current.events == []
    batches.close()
    assert CuPy.current.events == ["synchronize"]


def test_out_of_memory_reports_the_sizes(cuda: Backend) -> None:
    with pytest.raises(pn.OutOfMemory) as caught, cuda.activate():
        raise CuPy.current.OutOfMemoryError
    assert str(caught.value) == (
        "out of memory on cuda:0: 3.00 GiB were asked for and 1.00 GiB are free; take a smaller batch_size"
    )
    assert CuPy.current.events == ["free"]


def test_cublas_without_memory_is_out_of_memory(cuda: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    from portanet.backends.cupy import blas

    x = cuda.asarray(np.ones((3, 3)))
    CuPy.current.is_full = True
    with pytest.raises(pn.OutOfMemory, match=r"0\.03 GiB were asked for"), cuda.activate():
        cuda.xp.matmul(x, x)
    CuPy.current.is_full = False
    library = SimpleNamespace(cublasCreate_v2=lambda address: 3, cublasGemmEx=None)  # CUBLAS_STATUS_ALLOC_FAILED
    monkeypatch.setattr(blas, "_library", lambda: library)
    with pytest.raises(pn.OutOfMemory, match=r"0\.00 GiB were asked for"), cuda.activate():
        cuda.xp.matmul(x, x)


@pytest.mark.parametrize("capture", ["auto", "never"])
def test_fit_suggests_a_batch_size_that_fits(cuda: Backend, capture: Literal["auto", "never"]) -> None:
    """CuPy's error is raised inside a step, eager or recorded."""

    class Hungry(pn.Layer):
        def vjp(self, x: Any, *, train: bool = True) -> tuple[Any, Pullback]:
            if x.shape[0] > 11:
                raise CuPy.current.OutOfMemoryError
            return x, lambda dy, **_: dy

    net = pn.Sequential(pn.Linear(4, 3), Hungry()).initialize(1, device=cuda)
    before = net.get_weights()
    trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.SGD(0.1))
    x, labels = np.ones((80, 4), "float32"), np.zeros(80, int)
    with pytest.raises(pn.OutOfMemory, match="batch_size=10 fits"):
        trainer.fit(x, labels, batch_size=40, progress=False, capture=capture)
    for name, values in net.get_weights().items():
        np.testing.assert_array_equal(values, before[name])
    trainer.fit(x, labels, batch_size=10, progress=False, capture="never")


def recorded(cuda: Backend, step: Callable[[], Any], *pools: Any) -> Any:
    assert cuda.capture is not None
    return cuda.capture(step, 1, 1, *pools)


class TestCapture:
    def test_a_step_is_recorded_with_its_own_memory_pool(self, cuda: Backend) -> None:
        events = CuPy.current.events
        replay = recorded(cuda, lambda: events.append("step"))
        assert events == [
            *("free", "limit 0", "set allocator", "free", "begin", "step", "end", "reset allocator", "upload"),
        ]
        replay()
        replay()
        assert events[-2:] == ["launch", "launch"]
        del replay
        gc.collect()
        assert events[-1] == "free"  # the memory of the graph, which CuPy would not free

    def test_the_workspace_of_cublas_lives_as_long_as_the_graph(self, cuda: Backend) -> None:
        from portanet.backends.cupy import blas

        streams = []

        def step() -> None:
            streams.append(CuPy.current.streams[-1].ptr)
            assert (0, streams[-1]) in blas._handles.by_stream  # created before the recording

        replay = recorded(cuda, step)
        assert not blas._handles.by_stream
        assert isinstance(replay.cublas, blas.Handle)

    def test_share_pool_with_shares_memory_stream_and_workspace(self, cuda: Backend) -> None:
        first = recorded(cuda, lambda: None)
        second = recorded(cuda, lambda: None, first)
        assert (second.pool, second.stream, second.cublas) == (first.pool, first.stream, first.cublas)

    def test_an_error_in_the_step_ends_the_recording(self, cuda: Backend) -> None:
        def step() -> None:
            raise NotImplementedError("not while capturing")

        with pytest.raises(NotImplementedError, match="not while capturing"):
            recorded(cuda, step)
        assert CuPy.current.events[-1] in {"end", "free"}
        assert len(CuPy.current.streams) == 1

    def test_out_of_memory_frees_no_block_whose_address_is_recorded(self, cuda: Backend) -> None:
        cupy, events = CuPy.current, CuPy.current.events
        first = recorded(cuda, lambda: None)

        def step() -> None:
            cupy.is_full = True
            cupy.empty((2, 3))

        events.clear()
        with pytest.raises(cupy.OutOfMemoryError, match="allocating 48 bytes"):
            recorded(cuda, step, first)
        assert events == ["free", "set allocator", "begin", "end", "reset allocator"]  # the first is another pool's

    def test_no_garbage_is_collected_during_the_capture(self, cuda: Backend) -> None:
        enabled = []
        recorded(cuda, lambda: enabled.append(gc.isenabled()))
        assert enabled == [False]
        assert gc.isenabled()
        gc.disable()
        try:
            recorded(cuda, lambda: None)
            assert not gc.isenabled()
        finally:
            gc.enable()


def test_floats_of_two_dtypes_are_refused(cuda: Backend) -> None:
    """A kernel would misread one of them."""
    flat = [cuda.asarray(np.ones(3, dtype)) for dtype in ("float32", "float64")]
    with pytest.raises(TypeError, match="sgd needs floats of one dtype, got float32, float64, float32"):
        cuda.kernels["sgd"](flat[0], flat[1], None, cuda.asarray(np.float32(0.1)), 0.0, False)


def test_arrays_of_another_device_are_refused(cuda: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    x = cuda.asarray(np.ones((2, 2)))
    monkeypatch.setattr(CuPy.current.cuda.runtime, "getDevice", lambda: 1)
    compute: Callable[[Any], Any]
    for compute in (cuda.kernels["sigmoid"], lambda x: cuda.xp.matmul(x, x)):
        with pytest.raises(ValueError, match="array is on cuda:0 while cuda:1 is the current device: compute inside"):
            compute(x)
