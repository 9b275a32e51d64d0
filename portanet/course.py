"""
The interface of courses in which students write a network library, over PortaNet's layers, losses and k-means.

A script of such a course runs with one changed import. Its training loop, which is also in :class:`Optim`:

>>> x, y = np.asarray([[0, 0], [0, 1], [1, 0], [1, 1]]), np.asarray([[-1], [1], [1], [-1]])
>>> net, loss = Sequential(Linear(2, 4), TanH(), Linear(4, 1), TanH()), MSELoss()
>>> for _ in range(500):
...     yhat = net.forward(x)
...     net.zero_grad()
...     net.backward_update_gradient(x, loss.backward(yhat, y))
...     net.update_parameters(0.1)
>>> net.forward(x).round(1)
array([[-1.],
       [ 1.],
       [ 1.],
       [-1.]])

Where courses differ:

- A loss takes the prediction first, ``forward(yhat, y)``; a script with the other order writes ``y=y, yhat=yhat``.
- ``forward`` of a loss returns one cost for each example, summed over its numbers; ``backward`` returns the gradient of
  the sum of all costs. A script that uses their mean divides ``eps`` by the batch size.
- Constructors are PortaNet's: ``Conv1D(in_channels, out_channels, kernel_size)`` with a bias unless ``bias=False``;
  activations are modules of their own. Data are channels-last, (N, L, C) and (N, H, W, C).
- Modules compute in float64; ``net.to(dtype="float32")`` changes that, ``net.to("cuda")`` the device. Weights are drawn
  at the first use: those of a network from seed 0, those of single modules from seeds 0, 1, 2 ... in the order of their
  first use. ``net.to(seed=1)`` before the first use draws others.
- A module of one's own is a :class:`portanet.Layer` with ``vjp``, a loss a :class:`portanet.Loss` with ``unreduced``;
  :class:`Module` and :class:`Loss` add the methods of the course.
- Parameters are ``net[0].weight.data`` and ``net[0].bias.data``, their gradients ``net[0].weight.grad`` and so on.
- The cost of k-means is ``inertia_``, its cost after each iteration ``cost_history_``, its centres
  ``cluster_centers_``.
"""

from itertools import count
from typing import Any, Self

from portanet import layers, losses
from portanet.backends import Backend, backend_of, get_backend
from portanet.cluster import KMeans
from portanet.config import Configured
from portanet.layers import Layer
from portanet.optimizers import SGD
from portanet.parameters import FlatParameters
from portanet.training.trainer import Trainer
from portanet.typing import Array

__all__ = [
    "BCE",
    "AvgPool1D",
    "AvgPool2D",
    "Conv1D",
    "Conv2D",
    "CrossEntropy",
    "Flatten",
    "KMeans",
    "Linear",
    "LogSoftmaxCrossEntropy",
    "Loss",
    "MSELoss",
    "MaxPool1D",
    "MaxPool2D",
    "Module",
    "Optim",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "TanH",
]


_alone = count()
"""Seeds of modules outside of networks: two of one shape must not have the same weights."""


class _Course(Configured):
    """Base of classes with a namesake in PortaNet: the registry for files has them under names of their own."""

    @classmethod
    def _register(cls) -> None:
        if cls.__module__ == __name__:
            Configured._own[f"course.{cls.__name__}"] = cls
        else:
            super()._register()


class Module(_Course, Layer):
    """
    The methods of the course, over any layer.

    Nothing is kept between calls: each ``backward_`` method computes the output for its input again. The methods
    differentiate ``forward``, which is inference; layers that are random in training, such as dropout, are trained by
    :class:`Optim`.

    Examples
    --------
    A module of any other layer; inside a :class:`Sequential` of this file, a plain layer will do:

    >>> class GELU(Module, portanet.GELU):
    ...     pass
    >>> GELU().backward_delta([[0.0, 100.0]], [[1.0, 1.0]])
    array([[0.5, 1. ]])
    """

    def forward(self, x: Any) -> Array:
        """Return the output for a batch, as an array on the module's device."""
        flat = self.flat
        with flat.backend.activate():
            return self.vjp(_floats("x", x, flat), train=False)[0]

    def backward_update_gradient(self, input: Any, delta: Any) -> None:
        """
        Add to the gradients of the parameters.

        Parameters
        ----------
        input : array_like, shape (N, ...)
            The input of ``forward``.
        delta : array_like
            Gradient with respect to the output, of its shape.

        Raises
        ------
        ValueError
            If a shape does not fit.
        """
        self._pull(input, delta, need_dx=False)

    def backward_delta(self, input: Any, delta: Any) -> Array:
        """Return the gradient with respect to ``input``; see :meth:`backward_update_gradient`."""
        return self._pull(input, delta, need_grads=False)

    def update_parameters(self, gradient_step: float = 1e-3) -> None:
        """Subtract ``gradient_step`` times the gradient from the parameters."""
        flat = self.flat
        with flat.backend.activate():
            flat.data -= gradient_step * flat.grad

    def _pull(self, input: Any, delta: Any, **wanted: bool) -> Array:
        flat = self.flat
        delta = _floats("delta", delta, flat)
        with flat.backend.activate():
            y, pullback = self.vjp(_floats("input", input, flat), train=False)
            if delta.shape != y.shape:
                raise ValueError(f"delta must have the output's shape {tuple(y.shape)}, got {tuple(delta.shape)}")
            return pullback(delta, **wanted)

    def _default(self) -> tuple[Backend, str]:
        return super()._default() if self._flat else (get_backend(), "float64")

    def to(self, device: str | Backend | None = None, *, dtype: str | None = None, seed: int | None = None) -> Self:
        """See :meth:`portanet.Layer.to`; without a seed, weights are drawn as at the first use."""
        return super().to(device, dtype=dtype, seed=self._seed() if seed is None else seed)

    def _flatten(self, backend: Backend, dtype: str, seed: int | None = None) -> FlatParameters:
        return super()._flatten(backend, dtype, self._seed() if seed is None else seed)

    def _seed(self) -> int:
        return 0 if self.initialized or any(self.named_children()) else next(_alone)


class Sequential(Module, layers.Sequential):
    """
    Modules, or layers, one after another; a list of them will do.

    Parameters
    ----------
    *layers : Layer
        The first takes the input, and each other one the output of the one before.

    Examples
    --------
    >>> Sequential([Linear(4, 4), TanH()])
    Sequential(Linear(4, 4), TanH())
    """

    def __init__(self, *layers: Any):
        super().__init__(*(layers[0] if len(layers) == 1 and isinstance(layers[0], (list, tuple)) else layers))

    def backward(self, input: Any, delta: Any) -> Array:
        """Do both :meth:`Module.backward_update_gradient` and :meth:`Module.backward_delta`."""
        return self._pull(input, delta)


class Linear(Module, layers.Linear):
    """Affine map: :class:`portanet.Linear`."""


class TanH(Module, layers.TanH):
    """Hyperbolic tangent: :class:`portanet.TanH`."""


class Sigmoid(Module, layers.Sigmoid):
    """Logistic function: :class:`portanet.Sigmoid`."""


class Softmax(Module, layers.Softmax):
    """Probabilities of classes: :class:`portanet.Softmax`."""


class ReLU(Module, layers.ReLU):
    """Rectified linear unit: :class:`portanet.ReLU`."""


class Conv1D(Module, layers.Conv1D):
    """Convolution of signals: :class:`portanet.Conv1D`."""


class MaxPool1D(Module, layers.MaxPool1D):
    """Maximum of each window of a signal: :class:`portanet.MaxPool1D`."""


class AvgPool1D(Module, layers.AvgPool1D):
    """Mean of each window of a signal: :class:`portanet.AvgPool1D`."""


class Conv2D(Module, layers.Conv2D):
    """Convolution of images: :class:`portanet.Conv2D`."""


class MaxPool2D(Module, layers.MaxPool2D):
    """Maximum of each window of an image: :class:`portanet.MaxPool2D`."""


class AvgPool2D(Module, layers.AvgPool2D):
    """Mean of each window of an image: :class:`portanet.AvgPool2D`."""


class Flatten(Module, layers.Flatten):
    """Examples as rows: :class:`portanet.Flatten`."""


class Loss(_Course, losses.Loss):
    """
    The methods of the course, over any loss: one cost for each example, and the gradient of their sum.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        See :class:`portanet.Loss`.

    Examples
    --------
    >>> loss = MSELoss()
    >>> yhat, y = np.asarray([[1.0, 2.0], [3.0, 4.0]]), np.asarray([[1.0, 0.0], [0.0, 0.0]])
    >>> loss.forward(yhat, y)
    array([ 4., 25.])
    >>> loss.backward(yhat, y)
    array([[0., 4.],
           [6., 8.]])
    """

    def __init__(self, *, reduction: losses.base.Reduction = "sum"):
        super().__init__(reduction=reduction)

    def forward(self, yhat: Array, y: Any) -> Array:
        """
        Return the cost of each example.

        Parameters
        ----------
        yhat : array, shape (N, ...)
            Output of a network.
        y : array_like
            Targets, as PortaNet's loss documents. Values are not checked, as in a training step.

        Returns
        -------
        array of float64, shape (N,)

        Raises
        ------
        ValueError
            If the shape of the targets does not fit.
        """
        backend, yhat, y = self._to_device(yhat, y)
        self._check_shapes(yhat.shape, y.shape)
        with backend.activate():
            terms, _ = self.unreduced(backend.xp, yhat, y)
            return backend.xp.sum(terms, axis=tuple(range(1, terms.ndim)))

    def backward(self, yhat: Array, y: Any) -> Array:
        """Return the gradient of the sum of the costs with respect to ``yhat``; see :meth:`forward`."""
        backend, yhat, y = self._to_device(yhat, y)
        with backend.activate():
            return self.vjp(yhat, y)[1]()

    def _to_device(self, yhat: Array, y: Any) -> tuple[Backend, Array, Array]:
        backend = backend_of(yhat, name="yhat")
        return backend, backend.asarray(yhat, "float64", name="yhat"), backend.asarray(y, name="y")


class MSELoss(Loss, losses.MSELoss):
    """Squared error: :class:`portanet.MSELoss`."""


class BCE(Loss, losses.BCELoss):
    """Binary cross-entropy of probabilities: :class:`portanet.BCELoss`."""


class CrossEntropy(Loss, losses.ClassificationLoss):
    """
    Cross-entropy ``-Σ t log p`` of probabilities p, such as outputs of ``Softmax``; the gradient is ``-t / p``.

    No p counts as less than 1e-12. ``LogSoftmaxCrossEntropy`` on the outputs before the softmax is more exact.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        See :class:`portanet.Loss`.

    Examples
    --------
    >>> CrossEntropy(reduction="mean")(np.asarray([[0.25, 0.75]]), np.asarray([0])).round(4)  # log 4
    np.float64(1.3863)
    """

    def unreduced(self, xp: Any, prediction: Array, target: Array) -> losses.base.Unreduced:
        t = self.probabilities(xp, prediction, target)
        p = xp.maximum(prediction, losses.elementwise.EPS)
        least = float(xp.finfo(prediction.dtype).smallest_normal)
        divisor = xp.maximum(prediction, least)  # smaller than EPS: the softmax pullback multiplies by p again
        return -xp.sum(t * xp.log(p), axis=-1), lambda factor: -t / divisor * factor


class LogSoftmaxCrossEntropy(Loss, losses.CrossEntropyLoss):
    """Cross-entropy of logits: :class:`portanet.CrossEntropyLoss`."""


class Optim(Trainer):
    """
    Gradient descent of a network: a :class:`portanet.Trainer` with ``SGD(eps)``, under the names of the course.

    Parameters
    ----------
    net : Layer
        A :class:`Sequential` for instance. Weights it does not have yet are drawn from ``seed``.
    loss : Loss
        Compares its output with the targets.
    eps : float
        Learning rate; the losses of this file are sums over a batch.
    seed : int
        Of initial weights and of the order of examples.

    Examples
    --------
    >>> x, y = np.asarray([[0.0, 1.0], [1.0, 0.0]]), np.asarray([[3.0], [5.0]])
    >>> net = Sequential(Linear(2, 1, bias=False))
    >>> costs = Optim(net, MSELoss(), eps=0.2).sgd(x, y, batch_size=2, n_iter=50)
    >>> net[0].weight.data.round(4)
    array([[5.],
           [3.]])
    """

    def __init__(self, net: Layer, loss: losses.Loss, eps: float, *, seed: int = 0):
        super().__init__(net, loss, SGD(eps), seed=seed)

    def step(self, batch_x: Any, batch_y: Any) -> Array:  # type: ignore[override]
        """Change the weights once, for one batch; return the cost before."""
        x, y = _floats("batch_x", batch_x, self.net.flat), self.backend.asarray(batch_y, name="batch_y")
        return super().step(x, y)

    def sgd(self, x: Any, y: Any, batch_size: int, n_iter: int) -> list[float]:
        """
        Train on batches, in a new order for each epoch; see :meth:`portanet.Trainer.fit`.

        Parameters
        ----------
        x, y : array_like
            Inputs and targets, N of each.
        batch_size : int
            Examples a step: N is gradient descent, 1 stochastic gradient descent.
        n_iter : int
            Number of epochs.

        Returns
        -------
        list of float
            Cost of all examples in each epoch, as they were trained on.
        """
        x = _floats("x", x, self.net.flat)
        return self.fit(x, y, batch_size=batch_size, epochs=n_iter, progress=False)["loss"]


def _floats(name: str, values: Any, flat: FlatParameters) -> Array:
    """Bring an argument, which may hold integers, to the device and dtype of the parameters."""
    return flat.backend.asarray(values, flat.dtype, name=name)
