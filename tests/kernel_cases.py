"""Arguments for every kernel that a backend overrides, and the comparison with the portable form."""

from collections.abc import Callable
from typing import Any

import numpy as np

from portanet import kernels, layers, losses
from portanet.backends import Backend
from portanet.kernels.windows import Window


def convolutions() -> list[tuple[Window, int, np.ndarray, np.ndarray, np.ndarray]]:
    """Windows, groups, inputs, weights and output gradients: 1-D and 2-D, various strides, dilations and padding."""
    rng, problems = np.random.default_rng(0), []
    for input_shape, size, stride, dilation, padding, channels, groups in (
        ((9,), (3,), (1,), (1,), "valid", (1, 4), 1),
        ((9,), (4,), (2,), (2,), "same", (3, 2), 1),
        ((6, 7), (3, 2), (1, 1), (1, 1), "same", (1, 3), 1),
        ((6, 7), (2, 3), (1, 2), (2, 1), ((1, 0), (2, 2)), (3, 2), 1),
        ((9,), (3,), (1,), (1,), "same", (4, 5), 1),
        ((9, 8), (5, 3), (1, 1), (1, 1), "same", (32, 40), 1),  # large enough for Winograd
        ((10, 8), (7, 2), (1, 2), (1, 1), "valid", (33, 32), 1),
        ((8, 6), (5, 3), (1, 2), (1, 1), "same", (4, 3), 1),
        ((12,), (7,), (1,), (1,), "valid", (5, 4), 1),
        ((9, 8), (1, 1), (1, 1), (1, 1), "valid", (17, 20), 1),
        ((9, 8), (3, 3), (1, 1), (1, 1), "same", (6, 6), 6),  # depthwise
        ((9, 11), (5, 3), (2, 2), (1, 2), "same", (6, 6), 6),
        ((9, 8), (3, 4), (2, 1), (1, 2), "same", (3, 6), 3),
        ((9, 8), (3, 3), (1, 2), (1, 1), "same", (18, 34), 2),
    ):
        window = Window.fit(input_shape, size, stride=stride, dilation=dilation, padding=padding)
        n_in, n_out = channels
        shapes = (5, *input_shape, n_in), (*size, n_in // groups, n_out), (5, *window.output_shape, n_out)
        for dtype in TOLERANCE:
            x, w, dy = (rng.normal(size=shape).astype(dtype) for shape in shapes)
            problems.append((window, groups, x, w, dy))
    return problems


def poolings() -> list[tuple[Window, np.ndarray, np.ndarray]]:
    """Windows with inputs and output gradients: with and without overlaps, padding and equal maxima, in 1-D to 3-D."""
    rng, problems = np.random.default_rng(0), []
    for input_shape, size, stride, dilation, padding, ceil, images, channels in (
        ((8,), (2,), (2,), (1,), "valid", False, 4, 3),
        ((7, 9), (2, 3), (2, 3), (1, 1), "valid", False, 4, 3),
        ((6, 6), (2, 2), (1, 2), (1, 1), "valid", False, 4, 3),
        ((5, 6), (3, 3), (2, 2), (1, 1), "same", False, 4, 3),
        ((9,), (3,), (2,), (2,), ((2, 1),), False, 1, 33),
        ((7,), (3,), (5,), (1,), "valid", False, 33, 1),  # gaps between windows
        ((6, 7), (3, 2), (2, 2), (1, 2), ((1, 1), (1, 0)), True, 3, 17),
        ((4, 5, 6), (2, 3, 2), (2, 1, 3), (1, 1, 1), "same", False, 2, 7),
        ((3, 4, 4), (2, 2, 2), (2, 2, 2), (1, 1, 1), "valid", True, 70, 1),
        ((3, 4), (2, 2), (1, 1), (4, 2), ((3, 3), (0, 0)), False, 2, 3),  # some windows hold padding alone
    ):
        window = Window.fit(input_shape, size, stride=stride, dilation=dilation, padding=padding, ceil=ceil)
        for dtype in TOLERANCE:
            x = rng.integers(-2, 3, size=(images, *input_shape, channels)).astype(dtype)
            problems.append((window, x, rng.normal(size=(images, *window.output_shape, channels)).astype(dtype)))
    return problems


def conv_blocks() -> list[tuple[Any, ...]]:
    """
    Arguments of conv_block, in 1-D to 3-D.

    Small integers give equal maxima, and sums without rounding. With a bias of NaN, some maxima are NaN.
    """
    rng, problems = np.random.default_rng(0), list[tuple[Any, ...]]()
    relu, tanh, silu = (layer.elementwise for layer in (layers.ReLU(), layers.TanH(), layers.SiLU()))
    for input_shape, size, stride, dilation, padding, channels, pool_size in (
        ((300,), (3,), (1,), (1,), "valid", (1, 4), (2,)),
        ((30,), (4,), (2,), (2,), "same", (3, 2), (3,)),
        ((4, 5, 6), (2, 3, 2), (1, 2, 1), (1, 1, 2), "same", (2, 3), (2, 1, 3)),
        ((9, 8), (5, 3), (1, 1), (1, 1), "same", (12, 40), (2, 2)),  # too many weights for one kernel
        ((9, 10), (2, 3), (1, 2), (2, 1), ((1, 0), (2, 2)), (3, 2), (2, 2)),
    ):
        window = Window.fit(input_shape, size, stride=stride, dilation=dilation, padding=padding)
        pool, overlapping = (
            Window.fit(window.output_shape, pool_size, stride=step, dilation=(1,) * len(size), padding=pads)
            for step, pads in ((pool_size, "valid"), ((1,) * len(size), "same"))
        )
        shapes = (4, *input_shape, channels[0]), (*size, *channels), channels[1:]
        x, w, b = (rng.integers(-2, 3, size=shape).astype("float32") for shape in shapes)
        with_nan = np.where(np.arange(len(b)) == 1, np.nan, b).astype("float32")
        problems += [(x, w, with_nan, window, 1, pool, None), (x, w, None, window, 1, None, tanh)]
    double = [array.astype("float64") for array in (x, w, b)]
    problems += [(*double, window, 1, *after) for after in ((pool, tanh), (pool, silu), (None, silu), (pool, relu))]
    problems += [(x, w, b, window, 1, *after) for after in ((None, None), (overlapping, relu), (pool, value_dependent))]
    return [*problems, (np.repeat(x, 2, axis=-1), w, b, window, 2, pool, relu)]


def attentions() -> list[tuple[Any, ...]]:
    """Arguments of attention for one and more heads, more and fewer keys than queries, masks, and in blocks."""
    rng, problems = np.random.default_rng(0), list[tuple[Any, ...]]()
    for lead, n_queries, n_keys, features in (
        *(((1,), 1, 1, 1), ((3,), 5, 7, 4), ((2, 3), 7, 5, 4), ((2, 2), 60, 60, 33), ((5, 4), 33, 40, 8)),
    ):
        for dtype in TOLERANCE:
            q, k, v = (rng.normal(size=(*lead, n, features)).astype(dtype) for n in (n_queries, n_keys, n_keys))
            kept = rng.integers(2, size=(lead[0], *[1] * len(lead), n_keys)).astype(dtype)
            kept[0] = 0.0  # a sequence of padding alone
            for mask, is_causal in ((None, False), (None, True), (kept, False), (kept, True)):
                problems.append((q, k, v, {"mask": mask, "is_causal": is_causal}))
            problems.append((2 * q, k, v, {"is_causal": True, "block_size": 3}))
    return problems


def recurrences() -> list[tuple[Any, ...]]:
    """Arguments of recurrence for the steps of all layers, for few and many numbers, with and without padding."""
    rng, problems = np.random.default_rng(0), []
    for layer in (layers.RNN(1, 1), layers.GRU(1, 1), layers.LSTM(1, 1)):
        for steps, n, hidden in ((1, 1, 1), (3, 5, 4), (4, 17, 70), (2, 3, 256)):
            width = layer.n_gates * hidden
            for dtype in TOLERANCE:
                shapes = (3, width), (hidden, width), (width,), (width,)
                x, w_ih, w_hh, *biases = (rng.normal(size=s).astype(dtype) for s in ((steps, n, 3), *shapes))
                state = tuple(rng.normal(size=(layer.n_states, n, hidden)).astype(dtype))
                kept = rng.integers(2, size=(steps, n, 1)).astype(dtype)
                weights = w_ih, w_hh / hidden, *biases
                problems += [(x, weights, state, layer.step, mask) for mask in (None, kept)]
    return problems


def with_special(x: np.ndarray) -> np.ndarray:
    """Return a copy of x with NaN and infinities at many places, also next to each other."""
    rng, x = np.random.default_rng(0), x.copy()
    places = rng.integers(0, 6, size=x.shape)
    for place, value in enumerate((np.nan, np.inf, -np.inf)):
        x[places == place] = value
    return x


def with_masked(logits: np.ndarray) -> np.ndarray:
    """Return a copy of logits with some at -inf, masked classes, but not the first of a row, and with rows of NaN."""
    logits = logits.copy()
    logits[..., 1::3] = -np.inf
    logits[5::9] = np.nan
    return logits


def normal(*shapes: tuple[int, ...]) -> list[tuple[np.ndarray, ...]]:
    """Normally distributed arrays of these shapes, in each dtype."""
    rng = np.random.default_rng(0)
    return [tuple(rng.normal(size=shape).astype(dtype) for shape in shapes) for dtype in TOLERANCE]


def flat(n_arrays: int) -> list[tuple[np.ndarray, ...]]:
    """Flat arrays, some long enough for several threads and with NaN in the second one, and a learning rate."""
    problems = [*normal(*((50,),) * n_arrays, (1,)), *normal(*((40_001,),) * n_arrays, (1,))]
    for arrays in problems:
        arrays[1][1000::999] = np.nan
    return [(*arrays, lr[0]) for *arrays, lr in problems]


def normalizations() -> list[tuple[Any, ...]]:
    """
    Arguments of normalize: few and many examples, positions, groups and channels, far from 0 too.

    The axes are those of BatchNorm, LayerNorm and GroupNorm.
    """
    problems: list[tuple[Any, ...]] = []
    for axes, shapes in (
        ((0, 1, 3), [(2, 1, 3, 1), (70, 1, 33, 1), (9, 50, 5, 1), (40, 300, 16, 1), (3, 700, 1, 1)]),
        ((3,), [(3, 1, 1, 1), (5, 7, 1, 33), (40, 1, 1, 256), (17, 30, 1, 5), (20, 50, 1, 16)]),
        ((1, 3), [(2, 1, 1, 3), (3, 50, 4, 5), (3, 900, 2, 20), (40, 17, 5, 1), (20, 30, 3, 17)]),
    ):
        for shape in shapes:
            for x, weight, bias in normal(shape, (shape[2] * shape[3],), (shape[2] * shape[3],)):
                np.add(x, 3.0, out=x)
                problems.extend([(x, axes, weight, bias, 1e-3), (x, axes, None, None, 1e-3)])
    return problems


def normalization_gradients() -> list[tuple[Any, ...]]:
    """Arguments of normalize_gradient for the same problems."""
    rng, problems = np.random.default_rng(0), []
    for x, axes, weight, bias, eps in normalizations():
        _, mean, variance = kernels.normalize.portable(x, axes, weight, bias, eps)
        problems.append((rng.normal(size=x.shape).astype(x.dtype), x, axes, mean, variance, weight, eps))
    return problems


def clusters() -> list[tuple[np.ndarray, ...]]:
    """Rows, centres and an origin near them: few and many rows, features and clusters, and two equal centres."""
    shapes = ((5, 4, 1), (40, 3, 2), (61, 35, 17), (1000, 70, 40), (333, 64, 16))
    problems = [arrays for n, d, k in shapes for arrays in normal((n, d), (k, d), (d,))]
    for _, centres, _ in problems:
        if len(centres) < 32:  # with more columns, a BLAS may round the products of equal columns differently
            centres[-1] = centres[0]
    return problems


def softmax_gradients(kernel: Any) -> list[tuple[np.ndarray, ...]]:
    """Gradients dy and outputs of a softmax."""
    shapes = (3, 4), (2, 5, 70), (33, 10), (40, 300)
    return [(dy, kernel.portable(x)) for shape in shapes for dy, x in normal(shape, shape)]


def compound(xp: Any, x: Any) -> tuple[Any, Callable[[], Any]]:
    """A function of all operations that activations do not use."""
    y = abs(-x) ** 2 / (1 + xp.cos(x) * xp.sin(x)) - xp.log(1 + xp.sqrt(xp.abs(x)))
    return y, lambda: xp.where(x != 1.0, xp.zeros_like(x), 2 * y) + xp.astype(x <= 0, x.dtype) - (3.0 - x)


def value_dependent(xp: Any, x: Any) -> tuple[Any, Callable[[], Any]]:
    """A function that cannot be traced: it branches on the values of x."""
    scale = 2.0 if bool(xp.max(x) > 1) else 3.0
    return scale * x, lambda: scale + 0 * x


def elementwise_fns() -> list[Any]:
    """Functions of activations, and others whose derivative depends on x, on the output, on both or on neither."""
    activations = [
        *(layers.ReLU(), layers.LeakyReLU(0.1), layers.ELU(0.7), layers.GELU(), layers.GELU(approximate=True)),
        *(layers.SiLU(), layers.Softplus(), layers.TanH(), layers.Sigmoid(), layers.SELU(), layers.CELU(0.7)),
        *(layers.ReLU6(), layers.Hardtanh(-0.5, 2.0), layers.Hardswish(), layers.Mish(), layers.LogSigmoid()),
    ]
    fns = [layer.elementwise for layer in activations]
    return [*fns, compound, value_dependent, lambda xp, x: (x, lambda: xp.ones_like(x))]


def value_dependent_loss(xp: Any, p: Any, t: Any) -> Any:
    return (p * t if p[0] < 9 else p), lambda: t


def loss_fns() -> list[Any]:
    """Functions of a prediction and a target."""
    elementwise = [
        *(losses.MSELoss(), losses.L1Loss(), losses.HuberLoss(0.5), losses.SmoothL1Loss(0.5)),
        *(losses.BCEWithLogitsLoss(), losses.BCEWithLogitsLoss(pos_weight=3.0), losses.KLDivLoss(log_target=True)),
        *(losses.SoftMarginLoss(), losses.HingeEmbeddingLoss(), losses.PoissonNLLLoss(full=True)),
    ]
    return [
        *(loss.pointwise for loss in elementwise),
        lambda xp, p, t: losses.BCELoss().pointwise(xp, 0.5 + 0.1 * xp.tanh(p), t),
    ]


IN_PLACE = {
    "adagrad",
    "adam",
    "add_scaled",
    "bias_add",
    "dense_gradient",
    "matmul_into",
    "advance_stream",
    "write_metrics",
    "rmsprop",
    "sgd",
}
"""Kernels that change an argument."""

SPECIAL = [[-30.0, -0.0, np.nan, 1.0, 90.0], [-np.inf, 0.0, np.inf, 1.0, -1.0]]
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
# Arguments of each kernel that a backend overrides: NumPy arrays, which are moved to the device, and other values.
CASES: dict[str, list[tuple[Any, ...]]] = {
    "adagrad": [(data, grad, np.abs(square), lr, 1e-7) for data, grad, square, lr in flat(3)],
    "add_scaled": [
        case
        for x, y, factor in flat(2)
        for case in ((x, y, 0.3), (x, y, factor), (x, x, factor), (x, y, 0.3, np.empty_like(x)))
    ],
    "advance_stream": [(np.asarray([2**62, counter]),) for counter in (0, 2**40)],
    "dropout": [
        (x, np.random.default_rng(0).integers(65536, size=shape, dtype="uint16"), keep)
        for shape in ((3, 4), (20, 5, 6, 7))
        for (x,) in normal((20, 5, 6, 7) if len(shape) > 2 else shape)
        for keep in (1, 40_000, 65536)
    ],
    "norm": [
        (factor * x,)
        for shape in ((50,), (40_001,))
        for (x,) in normal(shape)
        for factor in np.asarray([0.0, 1.0, 1e-30, 1e30, np.inf, np.nan], x.dtype)
    ],
    "adam": [
        (*arrays, np.abs(square_sum), np.asarray(step, lr.dtype), lr, betas, 1e-8)
        for *arrays, square_sum, lr in flat(4)
        for step, betas in ((0.0, (0.9, 0.999)), (100_000.0, (0.9, 0.999)), (3.0, (0.0, 0.9999)))
    ],
    "attention": attentions(),
    "bias_add": [
        *(*normal((3, 4, 5), (5,)), *normal((3, 5), (5,)), *normal((2, 3, 4, 2), (2,))),
        *(*normal((33, 9, 17, 1), (1,)), *normal((9, 33, 17), (17,)), *normal((11, 3000), (3000,))),
    ],
    "linear": normal((5, 4), (4, 3)),
    "bias_grad": [
        *(*normal((3, 4, 5)), *normal((3, 5)), *normal((30, 40, 5)), *normal((5000, 3)), *normal((0, 5))),
        *(*normal((33, 90, 17, 1)), *normal((9, 33, 17)), *normal((11, 3000)), *normal((17, 20, 21, 7))),
    ],
    "cluster_sums": clusters(),
    "conv": [
        (x, w, window, groups, bias)
        for window, groups, x, w, _ in convolutions()
        for bias in (None, np.random.default_rng(0).normal(size=(w.shape[-1],)).astype(w.dtype))
    ],
    "conv_block": conv_blocks(),
    "conv_vjp": [
        (x, w, window, groups, bias)
        for window, groups, x, w, _ in convolutions()
        for bias in (None, np.arange(1.0, w.shape[-1] + 1, dtype=w.dtype))
    ],
    "conv_input_gradient": [(dy, w, window, groups) for window, groups, _, w, dy in convolutions()],
    "conv_weight_gradient": [(x, dy, window, groups) for window, groups, x, _, dy in convolutions()],
    "elementwise": [
        *((np.concatenate([x, SPECIAL], dtype=x.dtype), fn) for (x,) in normal((4, 5)) for fn in elementwise_fns()),
        *((p, fn, t) for p, t in normal((4, 5), (4, 5)) for fn in loss_fns()),
    ],
    "embedding_gradient": [
        (dy, np.asarray(ids, kind), 9)
        for ids in ([2, 0, 2, 8, 8], [-1, 9, 3, 300, 3], [4] * 5)
        for kind in ("int64", "int32")
        for (dy,) in normal((5, 3))
    ]
    + [(dy, np.asarray([], "int64"), 4) for (dy,) in normal((0, 3))],
    "erfcx": [(np.asarray([[0.0, 1e-9, 0.4, 2.0], [5.0, 10.0, 27.0, np.nan]], dtype),) for dtype in TOLERANCE],
    "mean_cross_entropy": [
        (logits, np.arange(len(logits), dtype="uint8") % 12)
        for shape in ((3, 4), (300, 10), (33, 64), (5, 65), (1025, 3), (1, 1))
        for (logits,) in normal(shape)
    ]
    + [(logits, np.asarray([[0, 3, 1], [70, -1, 2]])) for (logits,) in normal((2, 3, 4))]
    + [(with_masked(logits), np.arange(20) % 12) for (logits,) in normal((20, 10))],
    "sparse_softmax_cross_entropy": [
        (*logits, np.asarray(labels))
        for logits in (*normal((3, 4)), *normal((3, 4)), *normal((3, 70)))
        for labels in ([0, 3, 1], [0, 70, -1])  # out of range: loss and gradient are 0
    ]
    + [
        (with_masked(logits), np.arange(len(logits), dtype="int8") % 12)
        for shape in ((33, 10), (16, 17), (100, 1), (20, 300))
        for (logits,) in normal(shape)
    ],
    "log_softmax": [
        *((x,) for shape in ((3, 4), (2, 5, 70), (4, 300)) for (x,) in normal(shape)),
        *((with_masked(x),) for shape in ((33, 10), (4, 16, 17), (20, 300)) for (x,) in normal(shape)),
    ],
    "dense": [
        (x, w, b, fn)
        for shape, n_out in (((5, 4), 3), ((2, 3, 4), 3), ((1, 4), 1), ((7, 70), 60))
        for x, w, bias in normal(shape, (shape[-1], n_out), (n_out,))
        for b in (bias, None)
        for fn in (None, layers.TanH().elementwise, layers.SiLU().elementwise)
    ]
    + [(x, w, None, None) for x, w in normal((1025, 2), (2, 3))],  # more rows than a small product has
    "dense_gradient": [
        (dz, x, w, dw if with_grads else None, db if with_bias else None, need_dx, None)
        for n, n_in, n_out in (((5,), 4, 3), ((2, 3), 4, 3), ((1,), 1, 2), ((7,), 70, 60))
        for dz, x, w, dw, db in normal((*n, n_out), (*n, n_in), (n_in, n_out), (n_in, n_out), (n_out,))
        for with_grads, with_bias, need_dx in ((True, True, True), (True, False, False), (False, False, True))
    ]
    + [(dz, x, w, dw, db, True, None) for dz, x, w, dw, db in normal((1025, 3), (1025, 2), (2, 3), (2, 3), (3,))],
    "accuracy": [
        (with_masked(scores) if masked else scores, np.arange(len(scores), dtype=dtype) % 11 - (dtype == "int64"))
        for shape in ((3, 4), (300, 10), (5, 65), (1025, 3))
        for (scores,) in normal(shape)
        for dtype in ("uint8", "int64")
        for masked in (False, shape[-1] > 3)
    ]
    + [
        (
            np.asarray([[0.0, 2.0, 2.0], [np.nan, 1.0, 0.0], [-np.inf, -np.inf, -np.inf]], "float32"),
            np.asarray([1, 1, 0]),
        )
    ]
    + [(scores, np.asarray([[0, 3, 1], [70, -1, 2]])) for (scores,) in normal((2, 3, 4))],
    "mean_elementwise": [
        (x, fn, t) for shape in ((3, 4), (300, 10), (70_000,)) for x, t in normal(shape, shape) for fn in loss_fns()[:4]
    ]
    + [(x, fn, (t > 0).astype(x.dtype)) for x, t in normal((30, 7), (30, 7)) for fn in loss_fns()]
    + [(x[:0], loss_fns()[0], t[:0]) for x, t in normal((3, 4), (3, 4))]
    + [
        (x, lambda xp, p, t: (xp.where(p < 0, p, t) if p[0] < 9 else p, lambda: 2 * p), t)
        for x, t in normal((5,), (5,))
    ],
    "log_softmax_gradient": softmax_gradients(kernels.log_softmax),
    "matmul_into": normal((3, 4), (3, 5), (5, 4)),
    "max_pool": [(form(x), window) for window, x, _ in poolings() for form in (np.copy, with_special)],
    "max_pool_gradient": [(dy, x, kernels.max_pool.portable(x, window), window) for window, x, dy in poolings()],
    "nearest_centres": clusters(),
    "normalize": [
        *normalizations(),
        *(
            (*case, kernels.normalize.portable(0.9 * case[0], *case[1:])[1:])
            for case in normalizations()
            if case[1] == (0, 1, 3)
        ),
    ],
    "normalize_gradient": normalization_gradients(),
    "write_metrics": [
        (table, np.asarray([row]), [np.asarray(i + 2.0, table.dtype) for i in range(columns)])
        for columns in (1, 2, 3, 4, 7)
        for (table,) in normal((4, columns))
        for row in (0, 3)
    ],
    "random_bits": [
        (np.asarray([key, counter]), n, first)
        for key, counter in ((0, 0), (7, 3), (2**63 - 1, 2**63 - 1))
        for n in (0, 1, 4, 5, 1000, 70_001)
        for first in (0, 3, 16, 12_345)
    ],
    "recurrence": recurrences(),
    "rmsprop": [
        (data, grad, np.abs(square), mean, velocity, lr, 0.9, momentum, 1e-7)
        for data, grad, square, m, v, lr in flat(5)
        for mean, velocity, momentum in ((None, None, 0.0), (0.1 * m, None, 0.0), (None, v, 0.5), (0.1 * m, v, 0.5))
    ],
    "sgd": [
        (data, grad, velocity, lr, momentum, nesterov)
        for data, grad, v, lr in flat(3)
        for velocity, momentum, nesterov in ((None, 0.0, False), (v, 0.9, False), (v, 0.9, True))
    ],
    "sum_of_squares": [(x, origin) for x, _, origin in clusters()] + [(x,) for x, _, _ in clusters()],
    "sum_pool": [(x, window, factor) for window, x, _ in poolings() for factor in (1.0, 0.3)],
    "sum_pool_gradient": [(dy, window, factor) for window, _, dy in poolings() for factor in (1.0, 0.3)],
    "gather_batch": [
        (np.arange(7)[::-1], np.asarray([index]), 3, arrays)
        for arrays in ([x, np.arange(7), np.ones((7, 2), bool)] for (x,) in normal((7, 2, 3)))
        for index in (0, 1)
    ],
    "sigmoid": [(np.asarray([[-1e30, -700.0, -90.0, -1.0], [0.0, 1e-9, 20.0, 1e30]], dtype),) for dtype in TOLERANCE],
    "softmax": [
        *((x,) for shape in ((3, 4), (2, 5, 70), (40, 300)) for (x,) in normal(shape)),
        *((with_masked(x),) for shape in ((33, 10), (4, 16, 17), (20, 300)) for (x,) in normal(shape)),
    ],
    "softmax_gradient": softmax_gradients(kernels.softmax),
}


def copy_batch_last(array: np.ndarray) -> np.ndarray:
    """Copy an array to a memory layout with its first axis last."""
    return np.moveaxis(np.moveaxis(array, 0, -1).copy(), -1, 0) if array.ndim else array.copy()


def compare(backend: Backend, name: str, copy: Callable[[np.ndarray], np.ndarray] = np.copy) -> None:
    """Compare a backend's override, and the kernel that calls it, with the portable form on copies of the arrays."""
    kernel = getattr(kernels, name)
    for case in CASES[name]:
        outcomes = []
        for form in (kernel.portable, backend.kernels[name], kernel):
            arguments = [_to_device(backend, a, copy) for a in case]
            options = arguments.pop() if isinstance(case[-1], dict) else {}
            with backend.activate():
                result = form(*arguments, **options)
                if name == "attention":
                    result = result[0], result[1](0.5 * result[0])
                if name == "dropout":
                    result = result[0], result[1](result[0]), result[1](0.5 + 0.0 * result[0])
                if name == "elementwise":  # the second result is a pullback of an array or a number
                    result = result[0], result[1](result[0]), result[1](0.5 + 0.0 * result[0]), result[1](0.5)
                if name == "conv_vjp":
                    y, gradients = result
                    grads = [0.5 * a for a in arguments[1:5:3] if a is not None]
                    written = [0.0 * a for a in grads]
                    without_bias = [None] * (2 - len(grads))
                    gradients(y, *grads, *without_bias, True)
                    gradients(y, *written, *without_bias, False)
                    result = y, *grads, *written
                if name == "conv_block":
                    y, pullback = result
                    w, b = arguments[1:3]
                    grads = [None if a is None else 0.5 * a for a in (w, b)]
                    dy = backend.xp.where(backend.xp.isnan(y), backend.xp.ones_like(y), y)
                    dx = pullback(dy, *grads, True)
                    only = [pullback(dy, grads[0], None, False), pullback(dy, None, grads[1], False)]
                    result = y, dx, *grads, *only, pullback(dy, None, None, False)
                if name == "recurrence":
                    h, state, pullback = result
                    result = h, state, pullback(0.5 * h, state), pullback(None, state)
                if name in {"mean_cross_entropy", "mean_elementwise"}:
                    result = result[0], result[1](1.0), result[1](0.5), result[1](0.5 * result[0])
                if name == "dense" and result[1] is not None:
                    result = result[0], result[1](result[0])
            # The arguments are compared too: some kernels change them, the others must not.
            after = [a for a, original in zip(arguments, case, strict=False) if _is_array(original)]
            outcomes.append((result, *after))
            for array, original in zip(after, filter(_is_array, case), strict=True):
                changed = not np.array_equal(backend.to_numpy(array), original, equal_nan=original.dtype.kind == "f")
                assert name in IN_PLACE or not changed, f"{name} changes its input on {backend.name}"
        for outcome in outcomes[1:]:
            _assert_close(backend, outcome, outcomes[0], f"{name}{case} on {backend.name}")


def _to_device(backend: Backend, value: Any, copy: Callable[[np.ndarray], np.ndarray]) -> Any:
    if isinstance(value, dict):
        return {name: _to_device(backend, item, copy) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_to_device(backend, item, copy) for item in value)
    return backend.asarray(copy(value)) if _is_array(value) else value


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray | np.generic)


def _assert_close(backend: Backend, actual: Any, expected: Any, message: str) -> None:
    if isinstance(expected, tuple):
        for one, other in zip(actual, expected, strict=True):
            _assert_close(backend, one, other, message)
        return
    if expected is None:
        assert actual is None, message
        return
    assert isinstance(actual, backend.array_type | np.generic), message
    actual, expected = backend.to_numpy(actual), backend.to_numpy(expected)
    if expected.dtype.kind == "f":
        rtol = TOLERANCE[expected.dtype.name]
        assert actual.dtype == expected.dtype, message
        # Where the terms of a sum cancel, the error is relative to the terms, and so to the largest result.
        finite = np.abs(expected[np.isfinite(expected)])
        np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol * finite.max(initial=1.0), err_msg=message)
    else:  # the integer type depends on the backend
        np.testing.assert_array_equal(actual, expected, message)
