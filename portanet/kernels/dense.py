"""A dense layer, ``y = f(x W + b)``, and its gradients."""

from collections.abc import Callable

from portanet.backends import namespace
from portanet.kernels.bias import bias_add, bias_grad
from portanet.kernels.dispatch import kernel
from portanet.kernels.elementwise import ElementwiseFn, elementwise
from portanet.kernels.products import as_rows, linear, matmul_into
from portanet.typing import Array


@kernel
def dense(
    x: Array, w: Array, b: Array | None, fn: ElementwiseFn | None
) -> tuple[Array, Callable[[Array], Array] | None]:
    """
    Return ``y = f(z)`` of ``z = x w + b``, and the function ``dy -> dz = dy f'(z)``, None if there is no f.

    Parameters
    ----------
    x : array, shape (N, ..., I)
    w : array, shape (I, O)
    b : array, shape (O,), or None
    fn : callable or None
        See :data:`portanet.kernels.elementwise.ElementwiseFn`.

    Examples
    --------
    >>> y, dz = dense(np.ones((1, 2)), np.asarray([[1.0], [2.0]]), np.asarray([0.5]), portanet.ReLU().elementwise)
    >>> y, dz(np.asarray([[10.0]]))
    (array([[3.5]]), array([[10.]]))
    """
    z = linear(x, w)
    if b is not None:
        bias_add(z, b)
    return (z, None) if fn is None else elementwise(z, fn)


@kernel
def dense_gradient(  # noqa: PLR0917
    dz: Array,
    x: Array,
    w: Array,
    dw: Array | None,
    db: Array | None,
    need_dx: bool,
    below: Callable[[Array], Array] | None,
) -> Array | None:
    """
    Overwrite the gradients of ``z = x w + b``; return that of the layer below, or None if it is not needed.

    ``dw = xᵀ dz``, ``db = Σ dz`` over all axes but the last, and ``dx = dz wᵀ``.

    Parameters
    ----------
    dz : array, shape (N, ..., O)
    x, w
        As for :func:`dense`.
    dw, db : array of the shape of w and b, or None
        Overwritten. Without ``dw``, neither gradient is computed.
    need_dx : bool
    below : callable or None
        The function ``dy -> dz`` of the layer below, which :func:`dense` returned with x. It is applied to dx.

    Examples
    --------
    >>> dw, db, x, w = np.zeros((2, 1)), np.zeros(1), np.asarray([[3.0, 4.0]]), np.asarray([[1.0], [2.0]])
    >>> dense_gradient(np.asarray([[10.0]]), x, w, dw, db, True, None), dw, db
    (array([[10., 20.]]), array([[30.],
           [40.]]), array([10.]))
    """
    xp = namespace(dz)
    if dw is not None:
        dz_rows = as_rows(dz)
        matmul_into(dw, xp.matrix_transpose(as_rows(x)), dz_rows)
        if db is not None:
            bias_grad(dz_rows, db)
    if not need_dx:
        return None
    dx = linear(dz, xp.matrix_transpose(w))
    return dx if below is None else below(dx)
