"""The kernels of small convolutions for CUDA: their launches, what they refuse, and what they leave to others."""

import re
from dataclasses import replace
from typing import Any

import array_api_compat  # noqa: F401 (before one of its modules is replaced)
import numpy as np
import pytest

import portanet as pn
from portanet.backends import Backend
from portanet.kernels.windows import Window
from tests.cupy_on_cpu import COMPILER, CuPy

pytestmark = pytest.mark.skipif(COMPILER is None, reason="g++ compiles the kernels")

CONV = Window.fit((6, 7), (3, 2), stride=(1, 1), dilation=(1, 1), padding="same")
POOL = Window.fit((6, 7), (2, 3), stride=(2, 3), dilation=(1, 1), padding="valid")
GELU = pn.GELU().elementwise


def arguments(**changed: Any) -> dict[str, Any]:
    """Arguments of conv_block on the host, some of them changed."""
    rng = np.random.default_rng(0)
    x, w, b = (rng.normal(size=shape) for shape in ((4, 6, 7, 2), (3, 2, 2, 5), (5,)))
    return {"x": x, "w": w, "b": b, "window": CONV, "groups": 1, "pool": POOL, "fn": GELU, **changed}


def on(cuda: Backend, host: dict[str, Any]) -> list[Any]:
    return [cuda.asarray(value) if isinstance(value, np.ndarray) else value for value in host.values()]


@pytest.mark.parametrize(
    ("changed", "launches"),
    [
        ({}, ["elementwise_gradient", "conv_block_weight_gradient", "conv_block_input_gradient"]),
        ({"fn": None}, ["conv_block_weight_gradient", "conv_block_input_gradient"]),
        ({"pool": None, "fn": None, "b": None}, ["conv_block_weight_gradient", "conv_block_input_gradient"]),
    ],
    ids=["all", "without activation", "convolution alone"],
)
def test_the_launches_of_a_block(cuda: Backend, changed: dict[str, Any], launches: list[str]) -> None:
    x, w, b, *others = on(cuda, arguments(**changed))
    dw, db = 0 * w, None if b is None else 0 * b
    found = CuPy.current.launches
    found.clear()
    y, pullback = cuda.kernels["conv_block"](x, w, b, *others)
    assert found == ["conv_block"]
    found.clear()
    pullback(y, dw, db, True)
    assert found == launches
    found.clear()
    pullback(y, dw, db, False)
    assert found == launches[:-1]
    found.clear()
    pullback(y, None, None, True)
    assert found == [*launches[:-2], launches[-1]]


LEFT: dict[str, dict[str, Any]] = {
    "groups": {"w": np.ones((3, 2, 1, 6)), "b": None, "groups": 2},
    "many weights": {"w": np.ones((3, 2, 2, 700)), "b": None},
    "overlapping pooling": {"pool": replace(POOL, stride=(1, 1))},
    "padded pooling": {"pool": replace(POOL, pads=((0, 0), (1, 1)))},
    "weights of another dtype": {"w": np.ones((3, 2, 2, 5), "float32"), "fn": None},
    "a function that is not traced": {"fn": lambda xp, x: (x * float(xp.max(x)), lambda: 1.0)},
}


@pytest.mark.parametrize("changed", LEFT.values(), ids=LEFT)
def test_other_blocks_use_the_portable_form(
    cuda: Backend, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any]
) -> None:
    result = object(), object()
    monkeypatch.setattr(pn.kernels.conv_block, "portable", lambda *args: result)
    assert cuda.kernels["conv_block"](*on(cuda, arguments(**changed))) is result


def test_a_large_batch_uses_the_portable_form(cuda: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    from portanet.backends.cupy import conv_block

    products = 4 * 42 * 60  # examples, positions, weights
    for limit, launched in ((products, True), (products - 1, False)):
        monkeypatch.setattr(conv_block, "MAX_PRODUCTS", limit)
        CuPy.current.launches.clear()
        cuda.kernels["conv_block"](*on(cuda, arguments()))
        assert ("conv_block" in CuPy.current.launches) == launched


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": np.ones((4, 7, 6, 2))}, "x must have shape (4, 6, 7, 2), got (4, 7, 6, 2)"),
        ({"x": np.ones((4, 6, 7, 3))}, "x must have shape (4, 6, 7, 2), got (4, 6, 7, 3)"),
        ({"w": np.ones((2, 3, 2, 5))}, "w must have shape (3, 2, 2, 5), got (2, 3, 2, 5)"),
        ({"b": np.ones(4)}, "b must have shape (5,), got (4,)"),
        ({"pool": replace(POOL, input_shape=(6, 9))}, "x must have shape (4, 6, 9, 5), got (4, 6, 7, 5)"),
    ],
    ids=["positions", "channels", "weights", "bias", "pooling"],
)
def test_shapes_that_do_not_fit_are_refused(cuda: Backend, changed: dict[str, Any], message: str) -> None:
    """A kernel would read outside of the arrays."""
    with pytest.raises(ValueError, match=re.escape(message)):
        cuda.kernels["conv_block"](*on(cuda, arguments(**changed)))
    assert "conv_block" not in CuPy.current.launches


@pytest.mark.parametrize(
    ("name", "shape"), [("dy", (4, 3, 3, 5)), ("dy", (3, 3, 2, 5)), ("dw", (3, 2, 5, 2)), ("db", (6,))]
)
def test_gradients_of_other_shapes_are_refused(cuda: Backend, name: str, shape: tuple[int, ...]) -> None:
    """A kernel would write outside of the arrays."""
    x, w, b, *others = on(cuda, arguments())
    y, pullback = cuda.kernels["conv_block"](x, w, b, *others)
    gradients = {"dy": y, "dw": w, "db": b, name: cuda.asarray(np.ones(shape))}
    with pytest.raises(ValueError, match=re.escape(f"{name} must have shape")):
        pullback(*gradients.values(), True)
    assert "conv_block_weight_gradient" not in CuPy.current.launches


def test_a_maximum_of_nan_gets_no_gradient(cuda: Backend) -> None:
    x = arguments()["x"]
    x[1, 2, 3, 0] = np.nan
    outcomes = []
    for kernel in (cuda.kernels["conv_block"], pn.kernels.conv_block.portable):
        arrays = on(cuda, arguments(x=x, fn=None))
        y, pullback = kernel(*arrays)
        outcomes.append((cuda.to_numpy(y), cuda.to_numpy(pullback(cuda.asarray(np.ones(y.shape)), None, None, True))))
    for actual, expected in zip(*outcomes, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)
    assert np.isnan(outcomes[0][0]).any()
    assert not np.isnan(outcomes[0][1]).any()


@pytest.mark.mechanism
def test_small_convolutions_train_as_on_the_cpu(cuda: Backend) -> None:
    rng, runs = np.random.default_rng(0), []
    x, labels = rng.normal(size=(30, 40, 1)), rng.integers(3, size=30)
    for device in (cuda, "cpu"):
        net = pn.Sequential(
            *(pn.Conv1D(1, 4, 5, padding="same"), pn.ReLU(), pn.MaxPool1D(2)),
            *(pn.Conv1D(4, 6, 3, stride=2), pn.MaxPool1D(3), pn.GELU()),
            *(pn.Conv1D(6, 5, 2, bias=False), pn.TanH(), pn.Conv1D(5, 4, 2), pn.Flatten(), pn.Linear(4, 3)),
        )
        trainer = pn.Trainer(net.initialize(1, device=device, dtype="float64"), pn.CrossEntropyLoss(), pn.Adam(0.01))
        history = trainer.fit(x, labels, epochs=3, batch_size=8, progress=False, capture="never")
        runs.append({"loss": history["loss"], "prediction": trainer.predict(x), **net.get_weights()})
    counts = [CuPy.current.launches.count(f"conv_block{kind}") for kind in ("_weight_gradient", "_input_gradient")]
    assert counts == [4 * 3 * 4, 3 * 3 * 4]  # layers, epochs and steps
    assert "im2col" not in CuPy.current.launches
    for name, values in runs[0].items():
        np.testing.assert_allclose(values, runs[1][name], rtol=1e-7, atol=1e-9, err_msg=name)
