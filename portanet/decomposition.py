"""Principal component analysis on the device of the data."""

from typing import Any, Self

from portanet.backends import Backend, namespace
from portanet.checks import Checked, check_count
from portanet.estimator import Estimator, like_input
from portanet.kernels.distances import blocks
from portanet.typing import Array


class PCA(Estimator):
    """
    Principal components: the orthogonal directions along which examples vary most [1]_.

    They are the right singular vectors of the centred examples. For more examples than features, they are computed as
    eigenvectors of the covariance matrix, summed in float64 block by block. This is several times faster, and loses
    only components whose standard deviation is less than 1e-8 of the largest.

    Parameters
    ----------
    n_components : int
        Number K of components; at most N and D.
    device : str, optional
        Device to compute on; by default that of the data, and for host data the default device.

    Attributes
    ----------
    components_ : array, shape (K, D)
        Unit vectors in order of decreasing variance, on the device. In each, the element of largest absolute value is
        positive.
    explained_variance_ : array, shape (K,)
        Variance of the examples along each component, with N - 1 degrees of freedom; on the device. It is infinite or
        0 where no number of the dtype is near it, as for examples of 1e160.
    explained_variance_ratio_ : array, shape (K,)
        Fraction of the total variance of the features; on the device.
    singular_values_ : array, shape (K,)
        Singular values of the centred examples, on the device: ``explained_variance_ = singular_values_² / (N - 1)``.
    noise_variance_ : float
        Mean variance along the directions that are left out; 0 if there are none.
    mean_ : array, shape (D,)
        Mean of the examples, on the device.
    n_components_, n_samples_ : int
        K and N.

    References
    ----------
    .. [1] C. M. Bishop, Pattern Recognition and Machine Learning, Springer, 2006, section 12.1.

    Examples
    --------
    >>> x = np.asarray([[0.0, 0.0], [2.0, 2.0], [1.0, 1.5], [1.0, 0.5]])
    >>> pca = PCA(1).fit(x)
    >>> pca.components_.round(4), pca.explained_variance_ratio_.round(4)
    (array([[0.6618, 0.7497]]), array([0.9479]))
    >>> pca.inverse_transform(pca.transform(x[1:2])).round(2)
    array([[1.93, 2.06]])
    """

    components_: Array
    explained_variance_: Array
    explained_variance_ratio_: Array
    singular_values_: Array
    noise_variance_: float
    mean_: Array
    n_components_: int
    n_samples_: int

    n_components = Checked(check_count)

    def __init__(self, n_components: int, *, device: str | Backend | None = None):
        super().__init__(device)
        self.n_components = n_components

    def fit(self, x: Any, y: Any = None) -> Self:
        """
        Compute the components of examples.

        Parameters
        ----------
        x : array_like, shape (N, D)
            At least 2 different examples. Integers of more than 16 bits become float64, other integers float32; those
            that float64 rounds are refused.
        y : object
            Ignored.

        Raises
        ------
        ValueError
            If the examples are unfit. An earlier fit is kept then.
        """
        backend, examples, scale = self._to_device(x)
        xp, dtype, shape = backend.xp, examples.dtype, tuple(examples.shape)
        if self.n_components > min(shape):
            raise ValueError(f"n_components is {self.n_components}, but x of shape {shape} has at most {min(shape)}")
        with backend.activate():
            if bool(xp.all(xp.min(examples, axis=0) == xp.max(examples, axis=0))):
                raise ValueError("all examples of x are equal: there is no variance")
            mean = xp.sum(examples, axis=0, dtype=xp.float64) / shape[0]
            axes, squares = (_eigenvectors if shape[0] > shape[1] else _singular_vectors)(examples, mean)
            total = xp.sum(squares)
            rest = squares[self.n_components :]
            axes, squares = axes[: self.n_components, ...], squares[: self.n_components]
            self.components_ = xp.astype(axes * _signs(axes), dtype)
            self.explained_variance_ = xp.astype(squares / (shape[0] - 1) * scale * scale, dtype)
            self.explained_variance_ratio_ = xp.astype(squares / total, dtype)
            self.singular_values_ = xp.astype(xp.sqrt(squares) * scale, dtype)
            self.noise_variance_ = float(xp.mean(rest)) / (shape[0] - 1) * scale * scale if rest.shape[0] else 0.0
            self.mean_ = xp.astype(mean * scale, dtype)
            self.n_components_, self.n_samples_ = self.n_components, shape[0]
        return self

    def transform(self, x: Any) -> Any:
        """
        Coordinates of examples along the components.

        Parameters
        ----------
        x : array_like, shape (N, D)
            Host data are moved to the device of the components.

        Returns
        -------
        array, shape (N, K)
            NumPy for host data, else on the device.
        """
        backend, examples, _ = self._to_device_of(self.components_, x)
        xp, axes = backend.xp, backend.xp.matrix_transpose(self.components_)
        with backend.activate():
            pieces = [_product(examples[rows, ...] - self.mean_, axes) for rows in blocks(examples, examples.shape[1])]
            return like_input(backend, x, xp.concat(pieces))

    def inverse_transform(self, z: Any) -> Any:
        """
        Examples from their coordinates: the projection of the original examples onto the components.

        Parameters
        ----------
        z : array_like, shape (N, K)
            Host data are moved to the device of the components.

        Returns
        -------
        array, shape (N, D)
            NumPy for host data, else on the device.
        """
        axes = self.components_
        backend, coordinates, _ = self._to_device_of(namespace(axes).matrix_transpose(axes), z, name="z")
        with backend.activate():
            examples = _product(coordinates, axes)
            examples += self.mean_
            return like_input(backend, z, examples)


def _product(x: Array, axes: Array) -> Array:
    """Return ``x axes``; x is scaled where it is so small that fast kernels may take it for 0."""
    xp = namespace(x)
    largest = float(xp.max(xp.abs(x))) if 0 not in x.shape else 0.0
    tiny = 0 < largest < float(xp.finfo(x.dtype).smallest_normal) * 2**30
    return xp.matmul(x / largest, axes) * largest if tiny else xp.matmul(x, axes)


def _eigenvectors(x: Array, mean: Array) -> tuple[Array, Array]:
    """Eigenvectors of the scatter matrix as rows, largest eigenvalue first, and the eigenvalues."""
    xp = namespace(x)
    scatter = xp.zeros((x.shape[1], x.shape[1]), dtype=mean.dtype, device=x.device)
    for rows in blocks(x, x.shape[1]):
        centred = x[rows, ...] - mean
        scatter += xp.matmul(xp.matrix_transpose(centred), centred)
    values, vectors = xp.linalg.eigh(scatter)
    return xp.flip(xp.matrix_transpose(vectors), axis=0), xp.maximum(xp.flip(values), 0.0)


def _singular_vectors(x: Array, mean: Array) -> tuple[Array, Array]:
    """Right singular vectors as rows, largest singular value first, and the squares of the singular values."""
    xp = namespace(x)
    _, values, vectors = xp.linalg.svd(x - mean, full_matrices=False)
    return vectors, values**2


def _signs(axes: Array) -> Array:
    """Return 1 or -1 for each row: the sign of its element of largest absolute value."""
    xp = namespace(axes)
    largest = xp.expand_dims(xp.argmax(xp.abs(axes), axis=1), axis=1)
    return xp.sign(xp.take_along_axis(axes, largest, axis=1))
