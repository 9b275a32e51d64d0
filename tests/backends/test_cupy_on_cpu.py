"""
The CUDA backend's own code without a GPU: its kernels compiled by g++, its cuBLAS calls answered by a few loops.

What a GPU makes of it is for the tests that take the fixture ``backend``, and for test_overrides.py, on a machine with
one. These show that the sources say what they should, and that they are called rightly.
"""

import gc
import re

import array_api_compat  # noqa: F401 (before a part of it is replaced)
import numpy as np
import pytest
from cupy_on_cpu import COMPILER, CuPy, pathfinder, stand_ins, standing_in
from kernel_cases import CASES, compare, copy_batch_last

import portanet as pn
from portanet.backends import Backend, get_backend

ACTIVATIONS = [
    *(pn.ReLU(), pn.LeakyReLU(), pn.ELU(), pn.GELU(), pn.GELU(approximate=True)),
    *(pn.SiLU(), pn.Softplus(), pn.TanH(), pn.Sigmoid()),
]

pytestmark = pytest.mark.skipif(COMPILER is None, reason="g++ compiles the kernels")


@pytest.fixture
def cuda(registry) -> Backend:
    """The backend "cuda" over a stand-in for CuPy."""
    cupy = CuPy()
    with standing_in({**stand_ins(cupy, cupy.cuda.Device), "cuda.pathfinder": pathfinder()}):
        yield get_backend("cuda")


def test_no_override_goes_untested(cuda):
    assert cuda.kernels.keys() <= CASES.keys()


@pytest.mark.parametrize("lay", [np.copy, copy_batch_last], ids=["in order", "batch last"])
@pytest.mark.parametrize("name", CASES)
def test_kernels_equal_the_portable_form(cuda, name, lay):
    if name not in cuda.kernels:
        pytest.skip("CuPy has the portable form")
    with np.errstate(all="ignore"):
        compare(cuda, name, lay)


@pytest.mark.parametrize("name", ["sigmoid", "erf"])
@pytest.mark.parametrize("dtype", ["float16", "int64"])
def test_other_kinds_of_numbers_take_the_portable_form(cuda, name, dtype):
    x = np.asarray([-1, 0, 2], dtype)
    with np.errstate(all="ignore"):
        made, expected = cuda.kernels[name](cuda.asarray(x)), getattr(pn.kernels, name).portable(x)
    assert made.dtype == expected.dtype
    np.testing.assert_allclose(cuda.to_numpy(made), expected, rtol=1e-3)


@pytest.mark.parametrize("dy", [np.asarray([1, 0, 2]), np.asarray([True, False, True]), np.asarray([0.5, 0.0, 2.0])])
def test_gradients_of_another_kind_are_cast(cuda, dy):
    x = np.asarray([-0.5, 0.1, 0.3], "float32")
    _, pullback = pn.TanH().vjp(cuda.asarray(x))
    np.testing.assert_allclose(cuda.to_numpy(pullback(cuda.asarray(dy))), dy * (1 - np.tanh(x) ** 2), rtol=1e-6)


def test_what_a_recorded_step_launches(cuda, asked):
    """Each costs microseconds, of which a small network's step consists: none should come unseen."""
    net = pn.Sequential(pn.Linear(4, 8), pn.Sigmoid(), pn.Linear(8, 3)).initialize(device=cuda)
    trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.Adam())
    steps = trainer._steps(cuda.asarray(np.ones((6, 4), "float32")), cuda.asarray(np.ones(6, int)), 3, recorded=True)
    steps.begin(None)
    CuPy.current.launches.clear()
    steps.take()
    assert CuPy.current.launches == [
        *("gather_batch", "gather_batch"),
        *("product", "add", "elementwise", "product", "add"),
        *("sparse_softmax_cross_entropy", "add", "divide", "multiply"),  # the first is the sum
        *("product", "column_sums", "product", "elementwise_gradient", "product", "column_sums"),
        *("begin_adam", "adam"),
        "write_metrics",
    ]


@pytest.mark.parametrize("layer", ACTIVATIONS, ids=repr)
def test_an_activation_is_one_kernel_each_way(cuda, layer):
    x = cuda.asarray(np.linspace(-3, 3, 12).reshape(3, 4))
    _, pullback = layer.vjp(x)
    pullback(x)
    assert CuPy.current.launches == ["elementwise", "elementwise_gradient"]


def test_what_a_slope_is_made_of_is_kept_once(cuda):
    """Where it can be told from the result, which the next layer keeps too, the input is not kept."""
    from portanet.backends.cupy.formulas import Code

    of_result = {
        type(layer).__name__ for layer in ACTIVATIONS if Code.of(layer.elementwise, np.dtype("float32")).of_result
    }
    assert of_result == {"Sigmoid", "TanH"}


def test_what_is_no_formula_takes_the_portable_form(cuda):
    from portanet.backends.cupy.formulas import Code

    def in_place(xp, x):
        y = xp.exp(x)
        z = y
        y += 1.0
        return y, lambda: z

    weight = cuda.asarray(np.ones(4, "float32"))
    for formula in (
        lambda xp, x: (x if x > 0 else -x, lambda: 1.0),
        lambda xp, x: (x * weight, lambda: weight),
        lambda xp, x: (xp.cumulative_sum(x), lambda: 1.0),
        lambda xp, x: (x * float("inf"), lambda: 1.0),
        lambda xp, x: (x, lambda: x.missing),
        lambda xp, x: (((x > 0) + (x > 1)) * x, lambda: 1.0),  # truth values are no numbers
        lambda xp, x: (xp.where(x, x, 0.0), lambda: 1.0),
        lambda xp, x: (x, lambda: x > 0),
        lambda xp, x: (xp.astype(x, "int32") * 1.0, lambda: 1.0),
        in_place,
    ):
        assert Code.of(formula, np.dtype("float32")) is None


def test_dropout_bits_beyond_one_block_of_threads(cuda):
    stream = np.asarray([5, 7])
    bits = cuda.kernels["random_bits"](cuda.asarray(stream), 10_000)
    np.testing.assert_array_equal(cuda.to_numpy(bits), pn.kernels.random_bits(stream, 10_000))


def matrices() -> list[tuple[np.ndarray, np.ndarray]]:
    """Factors of all layouts: transposed, cut out, broadcast, of one row or column, empty, vectors, batches."""
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
def test_products_of_any_layout(cuda, dtype):
    for a, b in matrices():
        here, there = (cuda.asarray(x.astype(dtype, order="K")) for x in (a, b))
        product = cuda.xp.matmul(here, there)
        np.testing.assert_allclose(cuda.to_numpy(product), a.astype(dtype) @ b.astype(dtype), rtol=1e-5, atol=1e-5)
        assert product.dtype == dtype


def test_the_layouts_are_read_where_they_are(cuda):
    from portanet.backends.cupy.blas import _operand

    for pair in matrices()[:6]:
        for x in map(cuda.asarray, pair):
            assert _operand(x).array is x


def test_a_product_that_does_not_fit_is_refused(cuda):
    with pytest.raises(ValueError, match=re.escape("as many columns as rows, got (2, 3) and (2, 3)")):
        cuda.xp.matmul(*(cuda.asarray(np.ones((2, 3))) for _ in range(2)))


def test_other_dtypes_are_left_to_cupy(cuda):
    with pytest.raises(NotImplementedError):
        cuda.xp.matmul(*(cuda.asarray(np.ones((3, 3), "int64")) for _ in range(2)))


def test_a_product_may_be_added(cuda):
    from portanet.backends.cupy.blas import multiply

    a, b = (cuda.asarray(x) for x in matrices()[0])
    out = cuda.asarray(np.ones((4, 5)))
    multiply(out, a, b, add=True)
    np.testing.assert_allclose(cuda.to_numpy(out), 1 + np.asarray(a) @ np.asarray(b))


@pytest.fixture
def asked(cuda, monkeypatch) -> list[int]:
    """The cublasComputeType_t of each product, as it comes."""
    from portanet.backends.cupy import blas

    asked, library = [], blas._library()

    class Watched:
        def cublasGemmEx(self, *arguments):
            asked.append(arguments[-2])
            CuPy.current.launches.append("product")
            return library.cublasGemmEx(*arguments)

        def __getattr__(self, name):
            return getattr(library, name)

    monkeypatch.setattr(blas, "_library", Watched)
    return asked


def test_precision_is_asked_for_by_name(cuda, asked):
    try:
        for precision in ("float32", "tf32", "bfloat16"):
            pn.set_float32_matmul(precision)
            for dtype in ("float32", "float64"):
                cuda.xp.matmul(*(cuda.asarray(np.ones((2, 2), dtype)) for _ in range(2)))
    finally:
        pn.set_float32_matmul("float32")
    assert asked == [68, 70, 77, 70, 75, 70]  # 32F, 64F, 32F_FAST_TF32, 64F, 32F_FAST_16BF, 64F


@pytest.mark.parametrize(("precision", "expected"), [(None, {77}), ("bfloat16", {75}), ("float32", {68})])
def test_a_trainer_has_its_own_precision_for_its_steps(cuda, asked, precision, expected):
    net = pn.Sequential(pn.Linear(3, 4), pn.TanH(), pn.Linear(4, 2)).initialize(device=cuda)
    trainer = pn.Trainer(net, pn.MSELoss(), pn.SGD(0.1), float32_matmul=precision)
    x = np.ones((6, 3), "float32")
    pn.set_float32_matmul("tf32")
    try:
        trainer.fit(x, x[:, :2], batch_size=3, progress=False, capture="never")
        assert set(asked) == expected
        asked.clear()
        trainer.predict(x)
        assert set(asked) == {77}
    finally:
        pn.set_float32_matmul("float32")


@pytest.mark.parametrize("limit", [1, 3000, 2**28], ids="columns={}".format)
def test_convolutions_a_few_examples_at_a_time(cuda, monkeypatch, limit):
    from portanet.backends.cupy import conv

    monkeypatch.setattr(conv, "COLUMNS", limit)
    for name in ("conv", "conv_input_gradient", "conv_weight_gradient"):
        x, w, window = CASES[name][4]
        given = [cuda.asarray(x), cuda.asarray(w), window]
        expected = getattr(pn.kernels, name).portable(x, w, window)
        np.testing.assert_allclose(cuda.to_numpy(cuda.kernels[name](*given)), expected, rtol=1e-5, atol=1e-5)


def test_no_examples_give_no_gradient(cuda):
    x, w, window = CASES["conv"][4]
    dy = np.empty((0, *window.output_shape, w.shape[-1]), x.dtype)
    dw = cuda.kernels["conv_weight_gradient"](cuda.asarray(x[:0]), cuda.asarray(dy), window)
    np.testing.assert_array_equal(cuda.to_numpy(dw), np.zeros_like(w))


def test_many_arrays_are_joined_a_few_at_a_time(cuda):
    arrays = [np.full((2, i % 3 + 1), i) for i in range(70)]
    joined = cuda.xp.concat([cuda.asarray(a) for a in arrays], axis=1)
    np.testing.assert_array_equal(cuda.to_numpy(joined), np.concatenate(arrays, axis=1))


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


def test_a_network_trains_as_on_the_cpu(cuda):
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


def test_data_that_do_not_fit_are_fed_through_pinned_memory(registry):
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(33, 10, 10, 1)).astype("float32"), rng.integers(3, size=33)
    losses = []
    for memory in (2**30, x.nbytes):
        cupy = CuPy(memory)
        with standing_in({**stand_ins(cupy, cupy.cuda.Device), "cuda.pathfinder": pathfinder()}):
            registry._loaded.clear()
            registry._by_type.clear()
            cuda = get_backend("cuda")
            assert cuda.fits(x.nbytes) == (memory == 2**30)
            trainer = a_trainer(cuda, "float32")
            fit = trainer.fit(x, labels, epochs=2, batch_size=8, progress=False, capture="never")
            losses.append(fit["loss"])
    assert losses[0] == losses[1]


def test_a_pass_that_ends_early_waits_for_the_copy_under_way(cuda):
    fed = cuda.iter_batches((np.full((2, 3), i),) for i in range(4))
    np.testing.assert_array_equal(cuda.to_numpy(next(fed)[0]), np.zeros((2, 3)))
    assert CuPy.current.notes == []
    fed.close()
    assert CuPy.current.notes == ["synchronize"]


def test_out_of_memory_says_how_much(cuda):
    with pytest.raises(pn.OutOfMemory) as caught, cuda.activate():
        raise CuPy.current.OutOfMemoryError
    assert str(caught.value) == (
        "out of memory on cuda:0: 3.00 GiB were asked for and 1.00 GiB are free; take a smaller batch_size"
    )
    assert CuPy.current.notes == ["free"]


@pytest.mark.parametrize("capture", ["auto", "never"])
def test_fit_names_a_batch_size_that_fits(cuda, capture):
    """The library's own error is raised inside of a step; it is the same for one that is recorded."""

    class Hungry(pn.Layer):
        def vjp(self, x, *, train=True):
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


class TestCapture:
    def test_a_step_is_recorded_under_an_allocator_of_its_own(self, cuda):
        notes = CuPy.current.notes
        replay = cuda.capture(lambda: notes.append("step"))
        assert notes == ["free", "allocator", "free", "begin", "step", "end", "allocator before", "upload"]
        replay()
        replay()
        assert notes[-2:] == ["launch", "launch"]
        del replay
        gc.collect()
        assert notes[-1] == "free"  # the memory of the graph, which CuPy would keep

    def test_products_have_a_workspace_that_lives_with_the_graph(self, cuda):
        from portanet.backends.cupy import blas

        streams = []

        def step():
            streams.append(CuPy.current.streams[-1].ptr)
            assert (0, streams[-1]) in blas._handles.by_stream  # there before the recording began

        replay = cuda.capture(step)
        assert not blas._handles.by_stream
        assert isinstance(replay.cublas, blas.Handle)

    def test_recordings_beside_each_other_share_memory_and_workspace(self, cuda):
        one = cuda.capture(lambda: None)
        two = cuda.capture(lambda: None, one)
        assert (two.pool, two.stream, two.cublas) == (one.pool, one.stream, one.cublas)

    def test_what_cannot_be_recorded_ends_the_recording(self, cuda):
        def step():
            raise NotImplementedError("not while capturing")

        with pytest.raises(NotImplementedError, match="not while capturing"):
            cuda.capture(step)
        assert CuPy.current.notes[-1] in {"end", "free"}
        assert len(CuPy.current.streams) == 1


def test_floats_of_two_kinds_are_refused(cuda):
    """A kernel would take the ones for the others."""
    flat = [cuda.asarray(np.ones(3, dtype)) for dtype in ("float32", "float64")]
    with pytest.raises(TypeError, match="sgd needs floats of one dtype, got float32, float64, float32"):
        cuda.kernels["sgd"](flat[0], flat[1], None, cuda.asarray(np.float32(0.1)), 0.0, False)


def test_arrays_of_another_device_are_refused(cuda, monkeypatch):
    x = cuda.asarray(np.ones((2, 2)))
    monkeypatch.setattr(CuPy.current.cuda.runtime, "getDevice", lambda: 1)
    for compute in (cuda.kernels["sigmoid"], lambda x: cuda.xp.matmul(x, x)):
        with pytest.raises(ValueError, match="array is on cuda:0 while cuda:1 is the current device: compute inside"):
            compute(x)
