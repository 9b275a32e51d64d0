"""Every layer, loss and optimizer that the contract holds for; a test fails where one is missing here."""

from typing import Literal

import numpy as np

import portanet as pn

rng = np.random.default_rng(0)


def away_from_zero(*shape: int) -> np.ndarray:
    """Normal numbers moved off the kinks of ReLU and its like, which central differences straddle."""
    x = rng.normal(size=shape)
    return x + 0.1 * np.sign(x)


def rows(values: np.ndarray) -> np.ndarray:
    return values / values.sum(axis=-1, keepdims=True)


X = away_from_zero(4, 6)
VOLUMES = away_from_zero(2, 3, 4, 2, 1)
SIGNALS, IMAGES, SMALL_IMAGES = away_from_zero(2, 7, 4), away_from_zero(3, 5, 4, 4), away_from_zero(2, 4, 3, 2)
IDS = np.asarray([[1, 4, 0], [2, 2, 3]])
GROUPED_IMAGES = away_from_zero(2, 3, 3, 4)
LABELS, PADDED = np.asarray([0, 5, 2, 2]), np.asarray([0, -100, 2, -100])
SHARES = rows(rng.uniform(0.1, 1, size=(4, 6)))
SIGNS, COUNTS = np.sign(X[::-1]), np.asarray([[0.0, 1, 2, 3, 1, 3]] * 4)
REDUCTIONS: tuple[Literal["mean"], Literal["sum"], Literal["none"]] = "mean", "sum", "none"

LAYERS: list[tuple[pn.Layer, np.ndarray]] = [
    (pn.Linear(6, 3), X),
    (pn.Linear(6, 3, bias=False, init=pn.initializers.he_normal), X),
    *((activation, X) for activation in (pn.ReLU(), pn.ELU(), pn.ELU(0.7), pn.GELU(), pn.GELU(approximate=True))),
    *((activation, X) for activation in (pn.LeakyReLU(), pn.SiLU(), pn.Softplus(), pn.TanH(), pn.Sigmoid())),
    *((activation, X) for activation in (pn.SELU(), pn.CELU(), pn.CELU(0.7), pn.Mish(), pn.LogSigmoid())),
    *((activation, X) for activation in (pn.ReLU6(), pn.Hardswish(), pn.Hardtanh(), pn.Hardtanh(-0.5, 2.0))),
    (pn.PReLU(), X),
    (pn.PReLU(4), IMAGES),
    (pn.GLU(), X),
    (pn.Softmax(), X),
    (pn.LogSoftmax(), X),
    (pn.Softmax(), away_from_zero(2, 3, 4)),
    (pn.Dropout(0.4), X),
    (pn.Dropout(0.0), X),
    (pn.Flatten(), away_from_zero(3, 2, 2, 2)),
    (pn.Reshape(3, -1), X),
    (pn.Sequential(), X),
    (pn.Conv1D(4, 2, 3), SIGNALS),
    (pn.Conv1D(4, 6, 2, stride=2, padding=1, groups=2, bias=False), SIGNALS),
    (pn.ConvTranspose1D(4, 2, 3, stride=2, output_padding=1), SIGNALS),
    (pn.MaxPool1D(2), SIGNALS),
    (pn.MaxPool1D(3, 1, padding=1), SIGNALS),
    (pn.AvgPool1D(3, 2, padding="same"), SIGNALS),
    *((layer, SIGNALS) for layer in (pn.AdaptiveAvgPool1D(3), pn.AdaptiveMaxPool1D(3), pn.AdaptiveMaxPool1D(None))),
    (pn.Upsample(3), SIGNALS),
    (pn.Upsample(3, mode="linear"), SIGNALS),
    *((layer, SIGNALS) for layer in (pn.Pad(8, mode="circular"), pn.Pad(((1, 2),), value=0.5))),
    (pn.Conv2D(4, 3, 3), IMAGES),
    (pn.Conv2D(4, 4, (3, 2), stride=(2, 1), padding="same", dilation=(1, 2), groups=4), GROUPED_IMAGES),
    (pn.Conv2D(4, 2, 2, padding=((0, 2), 1)), IMAGES),
    (pn.Conv3D(1, 2, 2, stride=2), VOLUMES),
    (pn.ConvTranspose2D(4, 6, (3, 2), stride=2, padding="same", groups=2), GROUPED_IMAGES),
    (pn.ConvTranspose2D(4, 1, 3, padding=1, dilation=2, bias=False), IMAGES),
    (pn.ConvTranspose3D(1, 2, 2, stride=2, output_padding=(0, 1, 0)), VOLUMES),
    (pn.MaxPool2D(2), IMAGES),
    (pn.MaxPool2D(2, 1, dilation=2, padding=1), IMAGES),
    (pn.MaxPool2D(3, 2, padding=1, ceil_mode=True), IMAGES),
    (pn.AvgPool2D(2, 1), IMAGES),
    (pn.AvgPool2D(3, 2, padding=1, ceil_mode=True, count_include_pad=True), IMAGES),
    *((layer, VOLUMES) for layer in (pn.MaxPool3D(2, 1), pn.AvgPool3D(2, padding=1))),
    *((layer, IMAGES) for layer in (pn.AdaptiveAvgPool2D((2, 3)), pn.AdaptiveMaxPool2D((3, None)))),
    *((layer, VOLUMES) for layer in (pn.AdaptiveAvgPool3D(2), pn.AdaptiveMaxPool3D(2))),
    *((layer, IMAGES) for layer in (pn.GlobalAvgPool(), pn.GlobalMaxPool(), pn.Upsample(2))),
    *((layer, IMAGES) for layer in (pn.Upsample((1, 3)), pn.Upsample((3, 2), mode="bilinear"))),
    (pn.Upsample(2, mode="trilinear"), VOLUMES),
    *((layer, IMAGES) for layer in (pn.Pad(1), pn.Pad(3, mode="reflect"), pn.Pad(((0, 2), 1), mode="replicate"))),
    *((layer, SMALL_IMAGES) for layer in (pn.RandomFlip(), pn.RandomTranslation(2), pn.RandomCrop(3, 2))),
    *((layer, SMALL_IMAGES) for layer in (pn.RandomRotation(30.0), pn.RandomRotation(200.0))),
    *((layer, SMALL_IMAGES) for layer in (pn.RandomZoom((0.5, 1.0)), pn.RandomZoom((0.8, 2.5)))),
    *((layer, SMALL_IMAGES) for layer in (pn.GaussianNoise(0.1), pn.SpatialDropout(0.4))),
    *(
        (layer, IMAGES)
        for layer in (pn.BatchNorm(4), pn.LayerNorm(4), pn.GroupNorm(2, 4), pn.Normalize(4), pn.Rescale())
    ),
    *(
        (layer, X)
        for layer in (pn.BatchNorm(6, affine=False), pn.LayerNorm(6, elementwise_affine=False), pn.GroupNorm(3, 6))
    ),
    *((layer, IMAGES) for layer in (pn.BatchNorm(4, momentum=None), pn.LayerNorm((4, 4)), pn.RMSNorm((4, 4)))),
    *((layer, IMAGES) for layer in (pn.InstanceNorm(4), pn.InstanceNorm(4, affine=True))),
    *((layer, X) for layer in (pn.RMSNorm(6), pn.RMSNorm(6, eps=0.1, elementwise_affine=False))),
    (pn.Residual(pn.Sequential(pn.Linear(6, 6), pn.TanH())), X),
    (pn.Residual(pn.TanH(), projection=pn.Linear(6, 6, bias=False)), X),
    (pn.Linear(4, 3), SIGNALS),
    (pn.Embedding(5, 3), IDS),
    (pn.Embedding(5, 3, padding_idx=2), IDS),
    *((layer, SIGNALS) for layer in (pn.PositionalEncoding(4), pn.PositionalEmbedding(9, 4))),
    *((layer, SIGNALS) for layer in (pn.PositionalEncoding(4, mask_zeros=True), pn.RNN(4, 3, mask_zeros=True))),
    (pn.PositionalEmbedding(7, 4, mask_zeros=True), SIGNALS),
    *((kind(4, 3), SIGNALS) for kind in (pn.RNN, pn.GRU, pn.LSTM)),
    *((kind(4, 3, return_sequences=True), SIGNALS) for kind in (pn.RNN, pn.GRU, pn.LSTM)),
    *((layer, SIGNALS) for layer in (pn.GRU(4, 2, go_backwards=True), pn.Bidirectional(pn.LSTM(4, 2)))),
    (pn.Bidirectional(pn.GRU(4, 2, return_sequences=True, mask_zeros=True)), SIGNALS),
    (pn.MultiHeadAttention(4, 2), SIGNALS),
    (pn.MultiHeadAttention(4, 2, dropout=0.4, is_causal=True, bias=False), SIGNALS),
    (pn.MultiHeadAttention(4, 1, mask_zeros=True), SIGNALS),
    (pn.TransformerBlock(4, 2, dim_feedforward=5, dropout=0.2), SIGNALS),
    (pn.TransformerBlock(4, 2, is_causal=True, mask_zeros=True), SIGNALS),
    *(
        (pn.Sequential(pn.Embedding(5, 4, padding_idx=0), layer), IDS)
        for layer in (
            *(kind(4, 3, return_sequences=True, mask_zeros=True) for kind in (pn.RNN, pn.GRU, pn.LSTM)),
            *(pn.TransformerBlock(4, 2, mask_zeros=True), pn.PositionalEmbedding(3, 4, mask_zeros=True)),
        )
    ),
    (pn.Parallel(pn.Linear(6, 2), pn.TanH(), pn.Sequential(pn.Linear(6, 3), pn.Dropout(0.5))), X),
    (pn.Graph((pn.Linear(6, 6), "x", "a"), (pn.Add(), ("x", "a"), "y")), X),
    (pn.Graph((pn.TanH(), "x", "a"), (pn.Linear(6, 6), "a", "b"), (pn.Multiply(), ("a", "x", "b"), "y")), X),
    (pn.Graph((pn.Linear(6, 6), "x", "a"), (pn.Dot(), ("x", "a"), "y")), X),
    (pn.Graph((pn.Linear(4, 2), "x", "a"), (pn.Concatenate(), ("a", "x"), "y")), SIGNALS),
    (pn.AutoEncoder(pn.Sequential(pn.Linear(6, 2), pn.TanH()), pn.Linear(2, 6)), X),
    (pn.Sequential(pn.Flatten(), pn.Linear(6, 4), pn.TanH(), pn.Dropout(0.3), pn.Linear(4, 2)), X),
    (pn.Sequential(pn.Linear(6, 4), pn.Sequential(pn.Sigmoid(), pn.Linear(4, 4)), pn.Softmax()), X),
]

LOSSES: list[tuple[pn.Loss, np.ndarray, np.ndarray]] = [
    *(
        (kind(reduction=reduction), X, away_from_zero(4, 6))
        for kind in (pn.MSELoss, pn.L1Loss, pn.HuberLoss, pn.SmoothL1Loss)
        for reduction in REDUCTIONS
    ),
    *((loss, X, away_from_zero(4, 6)) for loss in (pn.HuberLoss(0.3), pn.SmoothL1Loss(0.3))),
    *((pn.BCELoss(reduction=reduction), SHARES, rows(np.abs(X))) for reduction in REDUCTIONS),
    *(
        (pn.BCEWithLogitsLoss(pos_weight=weight, reduction=reduction), X, rows(np.abs(X)))
        for weight in (None, 3.0, (1.0, 2.0, 3.0, 4.0, 5.0, 6.0))
        for reduction in REDUCTIONS
    ),
    *((pn.KLDivLoss(reduction=reduction), np.log(SHARES), rows(np.abs(X))) for reduction in (*REDUCTIONS, "batchmean")),
    *((pn.KLDivLoss(log_target=True, reduction=r), np.log(SHARES), np.log(SHARES[::-1])) for r in REDUCTIONS),
    *((pn.PoissonNLLLoss(full=full, reduction=r), X, COUNTS) for full in (False, True) for r in REDUCTIONS),
    *((pn.PoissonNLLLoss(log_input=False, reduction=r), SHARES, COUNTS) for r in REDUCTIONS),
    *((pn.GaussianNLLLoss(full=full, reduction=r), np.abs(X), X[:, :3]) for full in (False, True) for r in REDUCTIONS),
    *((kind(reduction=r), X, SIGNS) for kind in (pn.SoftMarginLoss, pn.HingeEmbeddingLoss) for r in REDUCTIONS),
    *(
        (pn.MultiMarginLoss(p=p, margin=margin, weight=weight, reduction=reduction), X, LABELS)
        for p, margin, weight in ((1, 1.0, None), (2, 0.5, (1, 2, 3, 4, 5, 6)))
        for reduction in REDUCTIONS
    ),
    *(
        (kind(ignore_index=ignored, reduction=reduction), p, target)
        for kind, p in ((pn.NLLLoss, np.log(SHARES)), (pn.CrossEntropyLoss, X))
        for reduction in REDUCTIONS
        for ignored, target in ((None, LABELS), (2, LABELS), (-100, PADDED), (None, rows(np.abs(X))))
    ),
    *(
        (
            pn.CrossEntropyLoss(
                label_smoothing=0.2, weight=(1, 2, 3, 4, 5, 6), ignore_index=ignored, reduction=reduction
            ),
            X,
            target,
        )
        for reduction in REDUCTIONS
        for ignored, target in ((None, LABELS), (-100, PADDED), (None, rows(np.abs(X))))
    ),
]

OPTIMIZERS: list[pn.Optimizer] = [
    pn.SGD(0.1),
    pn.SGD(0.1, momentum=0.9),
    pn.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.01, clip_norm=0.5),
    pn.RMSprop(0.01),
    pn.RMSprop(0.01, momentum=0.5, centered=True),
    pn.Adam(0.01),
    pn.Adam(0.01, weight_decay=0.01),
    pn.Adam(0.01, amsgrad=True),
    pn.AdamW(0.01),
    pn.NAdam(0.01),
    pn.NAdam(0.01, momentum_decay=0.1, weight_decay=0.01, decoupled_weight_decay=True),
    pn.RAdam(0.01),
    pn.RAdam(0.01, weight_decay=0.01, decoupled_weight_decay=True),
    pn.Adamax(0.01),
    pn.Adagrad(0.1),
    pn.Adadelta(eps=1e-3),
    pn.LBFGS(0.1, history_size=3),
    pn.Lion(0.01),
    pn.Lion(0.01, weight_decay=0.1),
]


def linear(net: pn.Layer, i: int) -> pn.Linear:
    """Layer ``i`` of a network, where it is linear."""
    assert isinstance(net, pn.Sequential)
    layer = net[i]
    assert isinstance(layer, pn.Linear)
    return layer


def concrete(base: type) -> set[type]:
    """Public classes below a base, without the bases."""
    public = {kind for name in pn.__all__ if isinstance(kind := getattr(pn, name), type) and issubclass(kind, base)}
    bases = {pn.Layer, pn.Activation, pn.Recurrent, pn.Loss, pn.ElementwiseLoss, pn.ClassificationLoss, pn.Optimizer}
    return public - bases


def state_of(net: pn.Layer) -> tuple[str, dict[str, bytes | None]]:
    """Sizes and values of a network; None for an array that has no values yet."""
    values: dict[str, bytes | None] = {}
    for name, parameter in net.named_parameters():
        values[name] = None if parameter.flat is None else np.asarray(parameter.data).tobytes()
    for name, buffer in net.named_buffers():
        values[name] = None if buffer.backend is None else np.asarray(buffer.data).tobytes()
    return repr(net), values
