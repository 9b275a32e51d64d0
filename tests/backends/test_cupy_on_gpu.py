"""Tests that need a GPU: recorded steps, cuBLAS during capture, TF32 and memory."""

import gc
import os
import warnings
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

import portanet as pn
import portanet.engine.graph
from portanet.backends import Backend, BackendUnavailable, get_backend
from portanet.backends.disabled import enabled
from portanet.engine.graph import GraphExecutor
from portanet.training.data import Data

pytestmark = pytest.mark.gpu

rng = np.random.default_rng(0)
X = rng.normal(size=(300, 12, 12, 1)).astype("float32")
LABELS = rng.integers(3, size=300)


def usable(device: str) -> Backend:
    try:
        return get_backend(device)
    except BackendUnavailable as reason:
        if device == "cuda" and "cupy" in os.environ.get("PORTANET_REQUIRE", ""):
            raise
        pytest.skip(str(reason))


@pytest.fixture
def cuda() -> Backend:
    return usable("cuda")


def a_trainer(device: Backend | str, *, dtype: str = "float32", optimizer: pn.Optimizer | None = None) -> pn.Trainer:
    # No bias before BatchNorm: its gradient is only rounding error, which Adam would scale up.
    net = pn.Sequential(
        *(pn.Conv2D(1, 8, 3, padding="same"), pn.ReLU(), pn.MaxPool2D(2)),
        *(pn.Conv2D(8, 16, 3, bias=False), pn.BatchNorm(16)),
        *(pn.Sigmoid(), pn.Flatten(), pn.Linear(256, 32), pn.TanH(), pn.Dropout(0.2), pn.Linear(32, 3)),
    )
    net.initialize(1, device=device, dtype=dtype)
    return pn.Trainer(net, pn.CrossEntropyLoss(), optimizer or pn.Adam(0.003), metrics=[pn.accuracy])


Outcome = tuple[list[dict[str, float]], dict[str, np.ndarray]]


def run(trainer: pn.Trainer, *, capture: Literal["auto", "never"] = "auto", epochs: int = 4) -> Outcome:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "training steps run one by one")  # and no other: CuPy has some of its own
        history = trainer.fit(X, LABELS, epochs=epochs, batch_size=32, progress=False, capture=capture)
    return history.epochs, trainer.net.get_weights()


def assert_equal(one: Outcome, other: Outcome) -> None:
    assert one[0] == other[0]
    for name, values in one[1].items():
        np.testing.assert_array_equal(values, other[1][name], name)


def recorded(cuda: Backend, step: Callable[[], None]) -> Callable[[], None]:
    assert cuda.capture is not None
    return cuda.capture(step)


def test_cupys_own_operations_are_recorded(cuda: Backend) -> None:
    """Without a matrix product: if this fails, the reason is not cuBLAS."""
    xp = cuda.xp
    with cuda.activate():
        x, y = cuda.asarray(np.arange(12.0).reshape(3, 4), "float32"), cuda.asarray(np.zeros(4), "float32")
        rows, offset = cuda.asarray(np.asarray([2, 0])), cuda.asarray(np.asarray([0]))

        def step() -> None:
            batch = xp.take(x, rows + offset * 0, axis=0)
            y[...] = xp.sum(xp.where(batch > 2.0, batch, -1.0), axis=0)
            y[1:] += 1.0
            offset[...] = 0

        step()
        expected = np.array(cuda.to_numpy(y))
        replay = recorded(cuda, step)
        y[...] = 0.0
        replay()
        np.testing.assert_array_equal(cuda.to_numpy(y), expected)


def test_cublas_has_the_cuda_version_of_cupy(cuda: Backend) -> None:
    """It differs in an environment with packages for two versions of CUDA."""
    cupy = pytest.importorskip("cupy", reason="it reports its version of CUDA")
    from portanet.backends.cupy.blas import _library

    major = cupy.cuda.runtime.runtimeGetVersion() // 1000
    assert f"libcublas.so.{major}" in _library()._name, f"CuPy is for CUDA {major}: install all packages for it"


@pytest.mark.parametrize("together", [3, 1000])
@pytest.mark.parametrize("optimizer", [pn.SGD(0.1, momentum=0.9), pn.RMSprop(), pn.Adam(), pn.Adagrad()], ids=repr)
def test_recorded_and_eager_training_are_bit_equal(
    cuda: Backend, optimizer: pn.Optimizer, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portanet.engine.graph, "STEPS_PER_GRAPH", together)
    assert_equal(*(run(a_trainer(cuda, optimizer=optimizer), capture=capture) for capture in ("auto", "never")))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("together", [1, 3])
def test_a_small_network_trains_as_a_persistent_kernel(
    cuda: Backend, dtype: str, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to rounding: the compiler may join a product and a sum in one kernel, and not in the other."""
    cupy = pytest.importorskip("cupy", reason="its kernel is launched")
    from portanet.backends.cupy import graph, persistent

    if not enabled("persistent"):
        pytest.skip("PORTANET_DISABLE contains persistent")
    made: list[graph.Recording] = []

    def capture(step: Callable[[], None], n: int, n_expected: int, *pools: graph.Recording) -> graph.Recording:
        made.append(graph.Recording(step, n, n_expected, *pools))
        return made[-1]

    monkeypatch.setattr(portanet.engine.graph, "STEPS_PER_GRAPH", together)
    monkeypatch.setattr(portanet.engine.graph, "MIN_STEPS_TO_RECORD", 1)
    monkeypatch.setattr(persistent, "MIN_STEPS", 1)
    monkeypatch.setattr(persistent, "N_TIMED_LAUNCHES", 1)
    times = cycle([2.0, 1.0])  # of the graph and of the kernel, so that the kernel is used
    monkeypatch.setattr(cupy.cuda, "get_elapsed_time", lambda begin, end: next(times))
    outcomes = []
    for how in ("auto", "never"):
        net = pn.Sequential(pn.Flatten(), pn.Linear(144, 90), pn.GELU(), pn.Dropout(0.2), pn.Linear(90, 3))
        net.initialize(1, device=replace(cuda, capture=capture), dtype=dtype)
        metrics = ["accuracy"] if dtype == "float32" else []  # CuPy computes that of float64
        outcomes.append(run(pn.Trainer(net, pn.CrossEntropyLoss(), pn.Adam(), metrics=metrics), capture=how)[1])
    assert [*made[0].graph.variants] == ["kernel"]
    for name, values in outcomes[0].items():
        np.testing.assert_allclose(values, outcomes[1][name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_two_runs_are_bit_equal(cuda: Backend) -> None:
    assert_equal(run(a_trainer(cuda)), run(a_trainer(cuda)))


@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 1e-3), ("float64", 1e-9)])
def test_weights_after_100_steps_equal_those_of_the_cpu(cuda: Backend, dtype: str, rtol: float) -> None:
    """The tolerance is large in float32: rounding depends on the order of sums, and training amplifies it."""
    gpu, cpu = (run(a_trainer(device, dtype=dtype), epochs=10)[1] for device in (cuda, "cpu"))
    for name, values in gpu.items():
        np.testing.assert_allclose(values, cpu[name], rtol=rtol, atol=rtol * np.abs(cpu[name]).max(), err_msg=name)


def test_a_network_saved_on_the_gpu_loads_on_the_cpu(cuda: Backend, tmp_path: Path) -> None:
    trainer = a_trainer(cuda)
    run(trainer, epochs=1)
    trainer.net.save(tmp_path / "net.safetensors")
    loaded = pn.load(tmp_path / "net.safetensors", device="cpu")
    np.testing.assert_allclose(loaded.predict(X), trainer.predict(X), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:cupyx.allow_synchronize")  # it warns that it does not detect everything
def test_steps_do_not_synchronize(cuda: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portanet.engine.graph, "STEPS_PER_GRAPH", 4)
    cupyx = pytest.importorskip("cupyx", reason="it detects that the host waits for the device")
    trainer = a_trainer(cuda)
    x, labels = trainer.net.asarray(X), trainer.net.asarray(LABELS)
    steps, _ = trainer._executor(Data(x, labels), 32, record=True)
    with cuda.activate():
        for recorded in (False, True):
            steps.start_epoch(rng.permutation(300))
            with cupyx.allow_synchronize(False):
                while steps.remaining:
                    steps.run(steps.remaining if recorded else 1)
        assert isinstance(steps, GraphExecutor)
        assert steps.replays.keys() == {1, 4}


def test_a_replay_is_independent_of_allocations_before_it(cuda: Backend) -> None:
    xp = cuda.xp
    with cuda.activate():
        x, y = cuda.asarray(rng.normal(size=(64, 64)), "float32"), cuda.asarray(np.zeros((64, 64)), "float32")

        def step() -> None:
            y[...] = xp.matmul(xp.tanh(xp.matmul(x, x) * 0.01), x) + 1.0

        step()
        expected = np.array(cuda.to_numpy(y))
        replay = recorded(cuda, step)
        for i in range(20):
            others = [xp.full((64, 64), float(i), dtype=xp.float32, device=cuda.device) for _ in range(50)]
            y[...] = 0.0
            replay()
            others.append(xp.matmul(others[0], others[1]))
            np.testing.assert_array_equal(cuda.to_numpy(y), expected)


def test_a_deleted_recording_frees_its_memory(cuda: Backend) -> None:
    cupy = pytest.importorskip("cupy", reason="it reports free memory")
    xp = cuda.xp
    with cuda.activate():
        x = cuda.asarray(np.ones((2048, 2048)), "float32")  # 16 MiB

        def step() -> None:
            x[...] = xp.tanh(xp.matmul(x, x)) + 1.0

        def free() -> int:
            gc.collect()
            cupy.get_default_memory_pool().free_all_blocks()
            return cupy.cuda.runtime.memGetInfo()[0]

        step()
        recorded(cuda, step)()
        before = free()
        for _ in range(20):
            recorded(cuda, step)()
        assert before - free() < 100 * 2**20  # each needed 32 MiB, and as much for cuBLAS


def test_a_recorded_product_runs_only_when_replayed(cuda: Backend) -> None:
    with cuda.activate():
        a, out = cuda.asarray(np.eye(8), "float32"), cuda.asarray(np.zeros((8, 8)), "float32")
        pn.kernels.matmul_into(out, a, a)
        out[...] = 0.0
        replay = recorded(cuda, lambda: pn.kernels.matmul_into(out, a, a))
        assert not cuda.to_numpy(out).any()
        a *= 2.0
        replay()
        np.testing.assert_array_equal(cuda.to_numpy(out), 4 * np.eye(8))


def test_replays_draw_new_random_numbers(cuda: Backend) -> None:
    with cuda.activate():
        layer = pn.Dropout(0.5).initialize(device=cuda)
        x = cuda.asarray(np.ones((4, 100)), "float32")
        y = cuda.asarray(np.zeros((4, 100)), "float32")

        def step() -> None:
            y[...] = layer.vjp(x)[0]

        step()
        replay, masks = recorded(cuda, step), []
        for _ in range(3):
            replay()
            masks.append(np.array(cuda.to_numpy(y)))
    twin = pn.Dropout(0.5).initialize(device="cpu")
    expected = [twin.vjp(np.ones((4, 100), "float32"))[0] for _ in range(4)]
    for mask, wanted in zip(masks, expected[1:], strict=True):
        np.testing.assert_array_equal(mask, wanted)


def test_set_float32_matmul_changes_the_precision_of_products(cuda: Backend) -> None:
    cupy = pytest.importorskip("cupy", reason="it reports the compute capability")
    own_rng = np.random.default_rng(1)  # independent of the order of tests
    a, b = (own_rng.normal(size=(512, 512)) for _ in range(2))
    exact, errors = a @ b, {}
    for precision in ("float32", "tf32", "bfloat16"):
        pn.set_float32_matmul_precision(precision)
        try:
            with cuda.activate():
                product = cuda.to_numpy(cuda.xp.matmul(cuda.asarray(a, "float32"), cuda.asarray(b, "float32")))
        finally:
            pn.set_float32_matmul_precision("float32")
        errors[precision] = np.abs(product - exact).max() / np.abs(exact).max()
    assert errors["float32"] < 4e-6  # a sequential sum has an error of about 1e-6
    assert errors["tf32"] < 5e-3
    assert errors["bfloat16"] < 4e-2  # cuBLAS may use TF32 instead
    if int(cupy.cuda.Device().compute_capability) >= 80:
        assert errors["tf32"] > 10 * errors["float32"], "cuBLAS used float32 instead of TF32"


def test_training_with_products_in_bfloat16(cuda: Backend) -> None:
    """The loss of the last epoch is about that of float32."""
    losses = {}
    for precision in ("float32", "bfloat16"):
        trainer = a_trainer(cuda)
        trainer.float32_matmul_precision = precision
        losses[precision] = run(trainer, epochs=10)[0][-1]["loss"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.2)
    assert losses["bfloat16"] != losses["float32"]


def test_data_that_do_not_fit_are_prefetched(cuda: Backend) -> None:
    streaming = replace(cuda, fits=lambda nbytes: False)
    assert_equal(run(a_trainer(streaming)), run(a_trainer(cuda), capture="never"))


def test_out_of_memory_suggests_a_batch_size_and_leaves_the_network_usable(cuda: Backend) -> None:
    cupy = pytest.importorskip("cupy", reason="its pool has a limit")
    net = pn.Sequential(pn.Linear(8, 4096), pn.TanH(), pn.Linear(4096, 2))
    trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.SGD(0.01), device=cuda)
    x, labels = np.ones((40_000, 8), "float32"), np.zeros(40_000, "int64")
    pool = cupy.get_default_memory_pool()
    with cuda.activate():
        pool.free_all_blocks()
        pool.set_limit(size=pool.total_bytes() + 400 * 2**20)  # the output of one layer for all examples needs 625 MiB
    try:
        with pytest.raises(pn.OutOfMemory, match=r"asked for and .* GiB are free; batch_size=\d+ fits") as caught:
            trainer.fit(x, labels, batch_size=40_000, progress=False)
        fits = int(str(caught.value).rpartition("batch_size=")[2].split()[0])
        trainer.fit(x, labels, batch_size=fits, progress=False, capture="never")
    finally:
        with cuda.activate():
            pool.set_limit(size=0)


def test_out_of_memory_while_recording_changes_no_result(cuda: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second recording, of a single step, has no memory left; the first one shares its pool."""
    cupy = pytest.importorskip("cupy", reason="it allocates the memory")
    from portanet.backends.cupy import graph, memory

    monkeypatch.setattr(portanet.engine.graph, "STEPS_PER_GRAPH", 3)
    made: list[graph.Recording] = []

    def allocate(size: int) -> object:
        if made:
            raise cupy.cuda.memory.OutOfMemoryError(size, -1)
        return memory.allocate(size)

    def capture(step: Callable[[], None], n: int, n_expected: int, *pools: graph.Recording) -> graph.Recording:
        made.append(graph.Recording(step, n, n_expected, *pools))
        return made[-1]

    monkeypatch.setattr(graph, "allocate", allocate)
    trainer = a_trainer(replace(cuda, capture=capture))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        history = trainer.fit(X, LABELS, epochs=4, batch_size=32, progress=False)
    assert_equal((history.epochs, trainer.net.get_weights()), run(a_trainer(cuda), capture="never"))


def test_two_gpus_are_bit_equal(cuda: Backend) -> None:
    second = usable("cuda:1")
    assert_equal(run(a_trainer(cuda)), run(a_trainer(second)))
    with pytest.raises(ValueError, match="array is on"):
        a_trainer(second).fit(cuda.asarray(X), cuda.asarray(LABELS), progress=False)
