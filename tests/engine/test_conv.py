"""Segments of a convolution, max pooling and an activation compute what the layers compute."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet import kernels
from portanet.backends import Backend
from portanet.backends.disabled import enabled
from portanet.engine import compiled

pytestmark = pytest.mark.skipif(not enabled("conv_block"), reason="PORTANET_DISABLE contains conv_block")


@pytest.fixture
def segmented(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> Backend:
    """A backend with a kernel for segments; without one there are none."""
    overrides: Any = backend.kernels
    monkeypatch.setattr(kernels.conv_block, "chosen", {})
    if "conv_block" not in overrides:
        monkeypatch.setitem(overrides, "conv_block", partial(kernels.conv_block.portable))
    return backend


class MyConv(pn.Conv2D):
    """A convolution that could compute something else."""


class MyPool(pn.MaxPool2D):
    """Pooling that could compute something else."""


class Doubled(pn.TanH):
    """An activation with a pullback of its own."""

    def vjp(self, x: Any, *, train: bool = True) -> tuple[Any, Any]:
        y, pullback = super().vjp(x, train=train)
        return 2 * y, lambda dy, **need: pullback(2 * dy, **need)


def conv(n_in: int = 2, n_out: int = 3, **options: Any) -> pn.Conv2D:
    return pn.Conv2D(n_in, n_out, 3, padding="same", **options)


NETS: dict[str, tuple[Callable[[], list[pn.Layer]], str]] = {
    "all three": (
        lambda: [conv(), pn.TanH(), pn.MaxPool2D(2), conv(3, 2, stride=2)],
        "<Conv2D MaxPool2D TanH> <Conv2D>",
    ),
    "without pooling": (lambda: [conv(bias=False), pn.GELU(), pn.MaxPool2D(2)], "<Conv2D GELU> MaxPool2D"),
    "without activation": (lambda: [conv(), pn.MaxPool2D(2), pn.MaxPool2D(2)], "<Conv2D MaxPool2D> MaxPool2D"),
    "two activations": (lambda: [pn.ReLU(), conv(), pn.ReLU(), pn.ELU()], "ReLU <Conv2D ReLU> ELU"),
    "groups": (lambda: [conv(2, 4, groups=2), pn.SiLU()], "<Conv2D SiLU>"),
    "overlapping pooling": (lambda: [conv(), pn.MaxPool2D(3, 1, padding=1)], "<Conv2D MaxPool2D>"),
    "other pooling": (lambda: [conv(), pn.AvgPool2D(2), pn.ReLU()], "<Conv2D> AvgPool2D ReLU"),
    "nested": (
        lambda: [pn.Sequential(conv(), pn.Sequential(pn.ReLU())), pn.MaxPool2D(2)],
        "<Conv2D MaxPool2D ReLU>",
    ),
    "before dense layers": (
        lambda: [conv(), pn.ReLU(), pn.Flatten(), pn.Linear(108, 2), pn.TanH()],
        "<Conv2D ReLU> Flatten <Linear TanH>",
    ),
    "subclasses": (lambda: [MyConv(2, 3, 3), pn.ReLU(), conv(3), MyPool(2)], "MyConv ReLU <Conv2D> MyPool"),
    "own pullback": (lambda: [conv(), Doubled()], "<Conv2D> Doubled"),
    "frozen": (lambda: [conv().freeze(), pn.ReLU(), conv(3)], "Conv2D ReLU <Conv2D>"),
    "used twice": (lambda: [again := conv(2, 2), pn.ReLU(), again], "Conv2D ReLU Conv2D"),
    "in a residual block": (lambda: [pn.Residual(conv(2, 2)), conv()], "Residual <Conv2D>"),
}


def described(net: pn.Layer) -> str:
    def name(part: Any) -> str:
        names = " ".join(type(layer).__name__ for layer in getattr(part, "layers", [part]))
        return f"<{names}>" if hasattr(part, "layers") else names

    return " ".join(map(name, compiled(net).layers))


@pytest.mark.parametrize(("build", "expected"), NETS.values(), ids=NETS)
def test_segments_begin_with_convolutions_that_nothing_else_uses(
    segmented: Backend, build: Callable[[], list[pn.Layer]], expected: str
) -> None:
    assert described(pn.Sequential(*build()).initialize(device=segmented)) == expected


def test_a_backend_without_the_kernel_has_no_segments() -> None:
    net = pn.Sequential(conv(), pn.MaxPool2D(2), pn.ReLU()).initialize(device="cpu")
    assert described(net) == "Conv2D MaxPool2D ReLU"


@pytest.mark.parametrize("n", [3, 0], ids="batch={}".format)
@pytest.mark.parametrize("build", [build for build, _ in NETS.values()], ids=NETS)
def test_outputs_and_gradients_are_those_of_the_layers(
    segmented: Backend, build: Callable[[], list[pn.Layer]], n: int
) -> None:
    net = pn.Sequential(*build()).initialize(seed=1, device=segmented, dtype="float64")
    x = net.asarray(np.random.default_rng(0).normal(size=(n, 6, 6, 2)))
    found: list[list[Any]] = []
    for runnable in (net, compiled(net)):
        outcomes: list[Any] = []
        with segmented.activate():
            for need_dx, need_grads in ((True, True), (False, True), (True, False)):
                net.flat.grad[...] = 7.0  # of a step before
                runnable.zero_grad()
                y, pullback = runnable.vjp(x)
                dx = pullback(y, need_dx=need_dx, need_grads=need_grads)
                assert (dx is None) == (not need_dx)
                outcomes += [y, *([dx] if need_dx else []), *([net.flat.grad + 0.0] if need_grads else [])]
            outcomes.append(runnable.forward(x))
        found.append([segmented.to_numpy(array) for array in outcomes])
    for expected, ours in zip(*found, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ones((4, 6, 6, 3), "float32"), r"needs x of shape \(N, H, W, 2\), got \(N, 6, 6, 3\)"),
        (np.ones((6, 6, 2), "float32"), "for a single example"),
        (np.ones((4, 6, 6, 2)), "x has dtype .*float64 but the weights have .*float32"),
        (np.ones((4, 6, 1, 2), "float32"), "reaches over 2 x 2 does not fit into 6 x 1"),
    ],
    ids=["channels", "axes", "dtype", "too small for the pooling"],
)
def test_inputs_are_refused_as_by_the_layers(segmented: Backend, x: np.ndarray, message: str) -> None:
    net = pn.Sequential(conv(), pn.MaxPool2D(2), pn.ReLU()).initialize(device=segmented, dtype="float32")
    for call in (net.vjp, compiled(net).vjp):
        with pytest.raises(ValueError, match=message):
            call(segmented.asarray(x))


def test_pooling_over_other_axes_is_refused_as_by_the_layers(segmented: Backend) -> None:
    net = pn.Sequential(conv(), pn.MaxPool1D(2)).initialize(device=segmented)
    x = net.asarray(np.ones((4, 6, 6, 2)))
    for call in (net.vjp, compiled(net).vjp):
        with pytest.raises(ValueError, match=r"MaxPool1D\(2\) needs x of 3 axes"):
            call(x)


def test_a_gradient_of_another_dtype_is_cast(segmented: Backend) -> None:
    net = pn.Sequential(conv(), pn.TanH()).initialize(device=segmented, dtype="float32")
    y, pullback = compiled(net).vjp(net.asarray(np.ones((4, 6, 6, 2))))
    assert pullback(segmented.asarray(np.ones(y.shape), "float64")).dtype == y.dtype
