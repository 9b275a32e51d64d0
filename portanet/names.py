"""Names of other libraries, for messages that say what they are called in PortaNet."""

import inspect
import re
from collections.abc import Callable, Collection, Iterable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

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
    "GlobalAveragePooling1D": "GlobalAvgPool",
    "GlobalAveragePooling2D": "GlobalAvgPool",
    "GlobalAveragePooling3D": "GlobalAvgPool",
    "GlobalMaxPooling1D": "GlobalMaxPool",
    "GlobalMaxPooling2D": "GlobalMaxPool",
    "GlobalMaxPooling3D": "GlobalMaxPool",
    "Rescaling": "Rescale",
    "Normalization": "Normalize",
    "CrossEntropy": "CrossEntropyLoss",
    "BCE": "BCELoss",
    "MAE": "L1Loss",
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
    "NLL": "NLLLoss",
    "SimpleRNN": "RNN",
    "GRUCell": "GRU, which runs all steps,",
    "LSTMCell": "LSTM, which runs all steps,",
    "RNNCell": "RNN, which runs all steps,",
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
    "Attention": "MultiHeadAttention",
    "Identity": "Sequential, with no layers,",
    "Softmax2d": "Softmax",
    "Swish": "SiLU",
    "SyncBatchNorm": "BatchNorm",
    "StandardScaler": "Normalize",
    "train_test_split": "datasets.train_test_split",
    "GlorotNormal": "initializers.glorot_normal",
    "GlorotUniform": "initializers.glorot_uniform",
    "HeNormal": "initializers.he_normal",
    "HeUniform": "initializers.he_uniform",
    "kaiming_normal_": "initializers.he_normal",
    "kaiming_uniform_": "initializers.he_uniform",
    "xavier_normal_": "initializers.glorot_normal",
    "xavier_uniform_": "initializers.glorot_uniform",
    "CosineAnnealingLR": "schedules.CosineDecay",
    "CosineDecay": "schedules.CosineDecay",
    "ExponentialDecay": "schedules.ExponentialDecay",
    "ExponentialLR": "schedules.ExponentialDecay",
    "LambdaLR": "LearningRateScheduler",
    "OneCycleLR": "schedules.OneCycle",
    "StepLR": "schedules.StepDecay",
    "acc": "accuracy",
    "accuracy_score": "accuracy",
    "AUC": "roc_auc_score",
    "CategoricalAccuracy": "accuracy",
    "F1Score": "precision_recall_f1",
    "Precision": "precision_recall_f1",
    "PrecisionScore": "precision_recall_f1",
    "Recall": "precision_recall_f1",
    "RecallScore": "precision_recall_f1",
    "rmse": "mean_squared_error, whose root it is,",
    "RootMeanSquaredError": "mean_squared_error, whose root it is,",
    "SparseCategoricalAccuracy": "accuracy",
    "SparseTopKCategoricalAccuracy": "top_k_accuracy",
    "TopKCategoricalAccuracy": "top_k_accuracy",
}
"""PortaNet's names for names of Keras, PyTorch and scikit-learn."""

ARGUMENTS = {
    "X": "x",
    "callback": "callbacks",
    "class_weights": "class_weight",
    "clipnorm": "clip_norm",
    "criterion": "loss",
    "dilation_rate": "dilation",
    "dim": "axis",
    "epsilon": "eps",
    "filename": "path",
    "filepath": "path",
    "filters": "out_channels",
    "global_clipnorm": "clip_norm",
    "input_dim": "num_embeddings",
    "learning_rate": "lr",
    "loss_fn": "loss",
    "loss_weights": "weights",
    "max_epochs": "epochs",
    "max_norm": "clip_norm",
    "model": "net",
    "module": "net",
    "n_epochs": "epochs",
    "nb_epoch": "epochs",
    "num_epochs": "epochs",
    "output_dim": "embedding_dim",
    "pool_size": "kernel_size",
    "random_state": "seed",
    "rate": "p",
    "rho": "alpha",
    "sample_weights": "sample_weight",
    "strides": "stride",
    "use_bias": "bias",
    "verbose": "progress",
}
"""PortaNet's names for arguments of Keras, PyTorch and scikit-learn."""

ADVICE = {
    "activation": "add the activation as a layer, such as ReLU()",
    "batch_first": "leave it out, sequences are (N, T, features)",
    "batch_size": "give it to fit",
    "beta_1": "give both, such as betas=(0.9, 0.999)",
    "beta_2": "give both, such as betas=(0.9, 0.999)",
    "bias_regularizer": "give weight_decay to the optimizer",
    "bidirectional": "write Bidirectional(layer)",
    "callbacks": "give it to fit",
    "clipvalue": "clip the norm, with clip_norm",
    "data_format": "leave it out, images are (N, H, W, C)",
    "decay": "give fit LearningRateScheduler(schedule) as a callback",
    "device": "give it to the Trainer, or to initialize",
    "dtype": "give it to initialize",
    "epochs": "give it to fit",
    "from_logits": "leave it out, CrossEntropyLoss and BCEWithLogitsLoss take logits",
    "initial_epoch": "write resume=True, with a ModelCheckpoint",
    "inplace": "leave it out",
    "input_dim": "give the number first, such as Linear(in_features, out_features)",
    "inputs": "name inputs in the nodes, such as Graph((layer, 'x', 'y'))",
    "input_shape": "leave it out, the first data or net.build(shape) set it",
    "kernel_initializer": "give init, such as init=portanet.initializers.he_normal",
    "kernel_regularizer": "give weight_decay to the optimizer",
    "key_dim": "give embed_dim, which is num_heads * key_dim",
    "learning_rate": "give lr to the optimizer, such as Adam(lr=0.001)",
    "loss": "give it to the Trainer",
    "lr": "give it to the optimizer, such as Adam(lr=0.001)",
    "max_epochs": "give epochs to fit",
    "mask_zero": "leave it out, layers that skip padding take mask_zeros=True",
    "metrics": "give it to the Trainer",
    "name": "leave it out, layers have no names",
    "num_layers": "put several layers into a Sequential",
    "optimizer": "give it to the Trainer",
    "padding_mode": "put Pad(padding, mode=...) before the layer",
    "params": "leave it out, the Trainer or bind(net) sets it",
    "recurrent_dropout": "put Dropout between the layers",
    "return_dict": "leave it out, the result is a dict",
    "save_best_only": "give monitor, such as 'val_loss'",
    "save_freq": "give every, a number of epochs, or of steps with per='step'",
    "save_weights_only": "leave it out, and use net.save(path) for the network alone",
    "size_average": "write reduction='mean' or reduction='sum'",
    "stateful": "give truncated_bptt_steps to fit",
    "trainable": "call freeze() of the layer",
    "units": "give the number first, without a name",
    "use_ema": "give fit WeightAveraging() as a callback",
    "validation_batch_size": "leave it out",
    "validation_freq": "leave it out, every epoch is validated",
    "validation_steps": "leave it out, all validation data are used",
    "verbose": "leave it out",
    "workers": "leave it out",
}
"""What to write in place of an argument of Keras, PyTorch or scikit-learn where there is none of this name."""

ATTRIBUTES = {
    "Layer": {
        "add": "append(layer)",
        "backward": "y, pullback = net.vjp(x)",
        "buffers": "named_buffers()",
        "call": "net(x)",
        "children": "named_children()",
        "clone": "copy.deepcopy(net)",
        "compile": "Trainer(net, loss, optimizer, metrics=...)",
        "copy": "copy.deepcopy(net)",
        "count_params": "n_parameters",
        "cpu": 'to("cpu")',
        "cuda": 'to("cuda")',
        "device": "backend",
        "double": 'to(dtype="float64")',
        "eval": "net(x), which is inference",
        "evaluate": "Trainer(net, loss, optimizer).evaluate(x, y)",
        "extend": "append(layer)",
        "float": 'to(dtype="float32")',
        "get_config": "arguments()",
        "get_layer": "net[i]",
        "fit": "Trainer(net, loss, optimizer).fit(x, y)",
        "history": "trainer.history",
        "kernel": "weight",
        "load_state_dict": "set_weights(weights), or portanet.interop.load_state_dict(net, path)",
        "load_weights": "set_weights(weights), or portanet.load(path)",
        "loss": "trainer.loss",
        "modules": "named_children()",
        "named_modules": "named_children()",
        "optimizer": "trainer.optimizer",
        "predict_classes": "predict(x).argmax(axis=-1)",
        "predict_on_batch": "predict(x)",
        "predict_proba": "Sequential(net, Softmax()).predict(x)",
        "register_forward_hook": "net[:i](x), the output of the first i layers",
        "requires_grad_": "freeze() or unfreeze()",
        "save_weights": "save(path)",
        "score": "Trainer(net, loss, optimizer).evaluate(x, y)",
        "state_dict": "get_weights()",
        "train": "net.vjp(x), which is training",
        "train_on_batch": "Trainer(net, loss, optimizer).step(x, y)",
        "trainable": "freeze() or unfreeze()",
        "trainable_variables": "parameters()",
        "trainable_weights": "parameters()",
        "training": "train, an argument of vjp",
        "variables": "parameters()",
        "weights": "parameters()",
    },
    "Normalize": {
        "fit": "adapt(x)",
        "fit_transform": "adapt(x), then call the layer",
        "transform": "layer(x): a layer is a function",
    },
    "Parameter": {
        "numpy": "data, an array",
        "requires_grad": "frozen, which freeze() of the layer sets",
    },
    "Loss": {
        "backward": "value, pullback = loss.vjp(prediction, target)",
        "forward": "loss(prediction, target)",
    },
    "Optimizer": {
        "apply_gradients": "step()",
        "learning_rate": "lr",
        "load_state_dict": "load(path) of the Trainer",
        "minimize": "step()",
        "param_groups": "lr, or groups=[ParameterGroup(...)] for some of the parameters",
        "state_dict": "save(path) of the Trainer",
        "zero_grad": "net.zero_grad()",
    },
    "Trainer": {
        "compile": "Trainer(net, loss, optimizer, metrics=...)",
        "cuda": 'Trainer(..., device="cuda")',
        "device": "backend",
        "eval": "net(x), which is inference",
        "get_weights": "net.get_weights()",
        "learning_rate": "optimizer.lr",
        "load_weights": "load(path)",
        "lr": "optimizer.lr",
        "model": "net",
        "parameters": "net.parameters()",
        "predict_on_batch": "predict(x)",
        "predict_proba": "Sequential(trainer.net, Softmax()).predict(x)",
        "save_weights": "save(path)",
        "score": "evaluate(x, y)",
        "state_dict": "save(path)",
        "summary": "net.summary(input_shape)",
        "test": "evaluate(x, y)",
        "test_on_batch": "evaluate(x, y)",
        "to": 'Trainer(..., device="cuda")',
        "train": "fit(x, y)",
        "train_on_batch": "step(x, y)",
        "train_step": "step(x, y)",
        "validate": "evaluate(x, y)",
    },
    "History": {
        "epoch": "epochs",
        "history": 'history["loss"]',
    },
}
"""What to write in place of attributes of Keras, PyTorch and scikit-learn, for each class that lacks them."""

WITHOUT_COUNTERPART = {
    "F": "ReLU()(x), for instance: a layer is a function",
    "Input": "net.build(shape), or leave it out: the first data set the shape",
    "InputLayer": "net.build(shape), or leave it out: the first data set the shape",
    "L2": "Adam(weight_decay=...)",
    "Lambda": "a class with a method elementwise(self, xp, x), see Activation",
    "MLPClassifier": "from portanet.sklearn import NetClassifier",
    "MLPRegressor": "from portanet.sklearn import NetRegressor",
    "Masking": "mask_zeros=True, an argument of the layers that skip padding",
    "ModuleList": "self.layers = [...]: a layer finds the layers in its lists",
    "SeparableConv2D": "Sequential(Conv2D(C, C, kernel_size, groups=C), Conv2D(C, D, 1))",
    "Tensor": "net.asarray(values)",
    "TensorDataset": "fit(x, y), which takes arrays",
    "TimeDistributed": "the layer alone: Linear takes (N, T, features)",
    "callbacks": "portanet.EarlyStopping, for instance",
    "clip_grad_norm_": "Adam(clip_norm=1.0)",
    "cuda": "devices(), which lists the devices",
    "device": 'Trainer(..., device="cuda")',
    "fashion_mnist": 'portanet.datasets.load("fashion_mnist")',
    "from_numpy": "net.asarray(values)",
    "functional": "ReLU()(x), for instance: a layer is a function",
    "inference_mode": "net(x), which is inference",
    "load_digits": 'portanet.datasets.load("digits")',
    "manual_seed": "Trainer(..., seed=0) or net.initialize(seed=0)",
    "mnist": 'portanet.datasets.load("mnist")',
    "models": "portanet.Sequential, for instance",
    "nn": "portanet.Linear, for instance",
    "no_grad": "net(x), which is inference",
    "optim": "portanet.Adam, for instance",
    "save": "net.save(path)",
    "set_random_seed": "Trainer(..., seed=0) or net.initialize(seed=0)",
    "tensor": "net.asarray(values)",
    "utils": "fit(x, y, batch_size=32), for instance, which divides arrays into batches",
}
"""What to write in place of names of modules of Keras, PyTorch and scikit-learn that have no counterpart."""


def check_arguments(kind: str, given: Iterable[str], accepted: Collection[str]) -> None:
    """Refuse an argument of a name that a function does not accept, and say what to write."""
    for name in given:
        if name not in accepted:
            raise TypeError(unknown_argument(kind, name, accepted))


def with_checked_arguments(method: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[Any, P], R]:
    """Let a method say what to write for an argument of another name."""
    accepted = [*inspect.signature(method).parameters]

    @wraps(method)
    def checked(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        check_arguments(method.__name__, kwargs, accepted[1:])
        return method(self, *args, **kwargs)

    return checked


def unknown_argument(kind: str, name: str, accepted: Collection[str]) -> str:
    """
    Say that a constructor or function has no argument of a name, and what to write.

    Examples
    --------
    >>> unknown_argument("Conv2D", "strides", ["kernel_size", "stride"])
    "Conv2D has no argument 'strides': it is called stride here"
    >>> unknown_argument("Dropout", "probability", ["p"])
    "Dropout has no argument 'probability': it takes p"
    """
    if ARGUMENTS.get(name) in accepted:
        advice = f"it is called {ARGUMENTS[name]} here"
    else:
        advice = ADVICE.get(name, f"it takes {', '.join(accepted)}" if accepted else "it takes none")
    return f"{kind} has no argument {name!r}: {advice}"


def unknown_attribute(thing: Any, name: str) -> Any:
    """
    Say what to write in place of an attribute of another library, or raise Python's error: ``__getattr__`` of a class.

    Examples
    --------
    >>> unknown_attribute(portanet.SGD(0.1), "zero_grad")
    Traceback (most recent call last):
    AttributeError: SGD has no attribute 'zero_grad': write net.zero_grad()
    """
    for kind in type(thing).__mro__:
        if name in (advice := ATTRIBUTES.get(kind.__name__, {})):
            text = f"{type(thing).__name__} has no attribute {name!r}: write {advice[name]}"
            raise AttributeError(text, name=name, obj=thing)
    return object.__getattribute__(thing, name)  # raises Python's error again


def unknown_name(module: str, name: str, ours: Iterable[str]) -> AttributeError:
    """
    Return an error that says that a module has no such name, and what to write.

    Examples
    --------
    >>> unknown_name("portanet", "Dense", ["Linear"])
    AttributeError("module 'portanet' has no attribute 'Dense': it is called Linear here")
    """
    hint = ""
    if name in WITHOUT_COUNTERPART:
        hint = f": write {WITHOUT_COUNTERPART[name]}"
    elif known := our_name(name, ours):
        hint = f": it is called {known} here"
    return AttributeError(f"module {module!r} has no attribute {name!r}{hint}", name=name)


def our_name(name: object, ours: Iterable[str]) -> str | None:
    """
    Return which of our names another library's name stands for, perhaps with a remark, or None.

    Capitals and underscores do not count, unless the other library has the very name.

    Examples
    --------
    >>> our_name("Dense", ["Linear"]), our_name("Conv2d", ["Conv2D"]), our_name("Frobnicate", ["Conv2D"])
    ('Linear', 'Conv2D', None)
    >>> our_name("sparse_categorical_accuracy", ["accuracy"])
    'accuracy'
    """
    ours = [*ours]
    same = next((own for own in ours if _plain(own) == _plain(name)), None)
    alike = [alias for other, alias in ALIASES.items() if _plain(other) == _plain(name)]
    for known in (ALIASES.get(str(name)), same, *alike):
        if known and re.split(r"\W", known)[0] in ours:
            return known
    return None


def our_class(name: object, ours: Iterable[str]) -> str | None:
    """Return the class name that :func:`our_name` finds, without its remark, or None."""
    known = our_name(name, ours)
    return known and re.split(r"\W", known)[0]


def _plain(name: object) -> str:
    return str(name).replace("_", "").lower()
