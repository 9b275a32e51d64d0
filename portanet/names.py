"""Names of other libraries, for messages that say what they are called in PortaNet."""

from collections.abc import Iterable

ALIASES = {
    "Dense": "Linear",
    "BatchNormalization": "BatchNorm",
    "BatchNorm1d": "BatchNorm",
    "BatchNorm2d": "BatchNorm",
    "BatchNorm3d": "BatchNorm",
    "InstanceNorm1d": "InstanceNorm",
    "InstanceNorm2d": "InstanceNorm",
    "InstanceNorm3d": "InstanceNorm",
    "RMSNormalization": "RMSNorm",
    "LayerNormalization": "LayerNorm",
    "GroupNormalization": "GroupNorm",
    "Conv1DTranspose": "ConvTranspose1D",
    "Conv2DTranspose": "ConvTranspose2D",
    "Conv3DTranspose": "ConvTranspose3D",
    "MaxPooling1D": "MaxPool1D",
    "MaxPooling2D": "MaxPool2D",
    "MaxPooling3D": "MaxPool3D",
    "AveragePooling1D": "AvgPool1D",
    "AveragePooling2D": "AvgPool2D",
    "AveragePooling3D": "AvgPool3D",
    "ZeroPad2d": "Pad",
    "ConstantPad2d": "Pad",
    "ReflectionPad2d": "Pad",
    "ReplicationPad2d": "Pad",
    "CircularPad2d": "Pad",
    "ZeroPadding1D": "Pad",
    "ZeroPadding2D": "Pad",
    "ZeroPadding3D": "Pad",
    "UpSampling1D": "Upsample",
    "UpSampling2D": "Upsample",
    "UpSampling3D": "Upsample",
    "GlobalAveragePooling2D": "GlobalAvgPool",
    "GlobalMaxPooling2D": "GlobalMaxPool",
    "Rescaling": "Rescale",
    "Normalization": "Normalize",
    "CrossEntropy": "CrossEntropyLoss",
    "MSE": "MSELoss",
    "MaxPool": "MaxPool2D",
    "AvgPool": "AvgPool2D",
    "GlobalAvgPool2D": "GlobalAvgPool",
    "GlobalMaxPool2D": "GlobalMaxPool",
    "AdaptiveAvgPool": "AdaptiveAvgPool2D",
    "AdaptiveMaxPool": "AdaptiveMaxPool2D",
    "BatchNorm2D": "BatchNorm",
    "Normalise": "Normalize",
    "CategoricalCrossentropy": "CrossEntropyLoss, which takes logits,",
    "SparseCategoricalCrossentropy": "CrossEntropyLoss, which takes logits,",
    "BinaryCrossentropy": "BCELoss",
    "MeanSquaredError": "MSELoss",
    "Huber": "HuberLoss",
    "KLDivergence": "KLDivLoss, which takes log-probabilities,",
    "Poisson": "PoissonNLLLoss, with log_input=False,",
    "MeanAbsoluteError": "L1Loss",
    "SimpleRNN": "RNN",
    "TransformerEncoderLayer": "TransformerBlock",
    "TransformerEncoder": "Sequential, of TransformerBlock layers,",
    "SpatialDropout1D": "SpatialDropout",
    "SpatialDropout2D": "SpatialDropout",
    "SpatialDropout3D": "SpatialDropout",
    "Dropout1d": "SpatialDropout",
    "Dropout2d": "SpatialDropout",
    "Dropout3d": "SpatialDropout",
    "DepthwiseConv2D": "Conv2D, with groups=,",
    "DataLoader": "datasets.batches",
    "Model": "Sequential, or Graph,",
    "to_categorical": "one_hot",
    "load_model": "load",
    "SwapEMAWeights": "WeightAveraging",
    "AveragedModel": "WeightAveraging",
    "Module": "Layer",
    "Functional": "Graph",
    "Concat": "Concatenate",
}
"""PortaNet's names for names of Keras and PyTorch."""

ARGUMENTS = {
    "beta_1": "betas",
    "beta_2": "betas",
    "clipnorm": "clip_norm",
    "dilation_rate": "dilation",
    "dim": "axis",
    "epsilon": "eps",
    "filters": "out_channels",
    "global_clipnorm": "clip_norm",
    "kernel_initializer": "init",
    "learning_rate": "lr",
    "loss_weights": "weights",
    "max_norm": "clip_norm",
    "pool_size": "kernel_size",
    "rate": "p",
    "rho": "alpha",
    "strides": "stride",
    "use_bias": "bias",
}
"""PortaNet's names for arguments of Keras and PyTorch."""

ADVICE = {
    "activation": "add the activation as a layer, such as ReLU()",
    "batch_first": "leave it out, sequences are (N, T, features)",
    "bidirectional": "write Bidirectional(layer)",
    "device": "give it to the Trainer, or to initialize",
    "dtype": "give it to initialize",
    "from_logits": "leave it out, CrossEntropyLoss and BCEWithLogitsLoss take logits",
    "inplace": "leave it out",
    "input_shape": "leave it out, the first data or net.build(shape) set it",
    "kernel_regularizer": "give weight_decay to the optimizer",
    "save_best_only": "give monitor, such as 'val_loss'",
    "num_layers": "put several layers into a Sequential",
    "units": "give the number first, such as Linear(units)",
}
"""What to write in place of arguments of Keras and PyTorch that no layer has."""

METHODS = {
    "add": "append(layer)",
    "compile": "Trainer(net, loss, optimizer, metrics=...)",
    "count_params": "n_parameters",
    "cuda": 'to("cuda")',
    "eval": "net(x), which is inference",
    "evaluate": "Trainer(net, loss, optimizer).evaluate(x, y)",
    "get_layer": "net[i]",
    "fit": "Trainer(net, loss, optimizer).fit(x, y)",
    "load_state_dict": "set_weights(weights), or portanet.interop.load_state_dict(net, path)",
    "load_weights": "set_weights(weights), or portanet.load(path)",
    "save_weights": "save(path)",
    "state_dict": "get_weights()",
    "train": "net.vjp(x), which is training",
}
"""What to write in place of methods of networks of Keras and PyTorch."""


def unknown_argument(kind: str, name: str, accepted: Iterable[str]) -> str:
    """
    Say that a constructor has no argument of a name, and what to write.

    Examples
    --------
    >>> unknown_argument("Conv2D", "strides", ["kernel_size", "stride"])
    "Conv2D has no argument 'strides': it is called stride here"
    >>> unknown_argument("Dropout", "probability", ["p"])
    "Dropout has no argument 'probability': it takes p"
    """
    accepted = list(accepted)
    if ARGUMENTS.get(name) in accepted:
        advice = f"it is called {ARGUMENTS[name]} here"
    else:
        advice = ADVICE.get(name, f"it takes {', '.join(accepted)}" if accepted else "it takes none")
    return f"{kind} has no argument {name!r}: {advice}"


def our_name(name: str, ours: Iterable[str]) -> str | None:
    """
    Return what a name of another library is called here, or None.

    Examples
    --------
    >>> our_name("Dense", []), our_name("Conv2d", ["Conv2D"]), our_name("Frobnicate", ["Conv2D"])
    ('Linear', 'Conv2D', None)
    """
    return ALIASES.get(name) or next((other for other in ours if other.lower() == name.lower()), None)
