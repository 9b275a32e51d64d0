"""Split arrays of examples into a training and a test part."""

from typing import Any

import numpy as np

from portanet.backends import as_array, backend_of, host_values, take_rows
from portanet.checks import check_count, check_flag, check_number, optional, shown
from portanet.typing import Array


def train_test_split(
    *arrays: Any,
    test_size: float = 0.25,
    random_state: int | None = 0,
    shuffle: bool = True,
    stratify: Any = None,
) -> list[Array]:
    """
    Split arrays at random into a training and a test part.

    Parameters
    ----------
    *arrays : array_like, shape (N, ...)
        Inputs, targets ..., each on the host or on a device. Host data may also hold strings, dates or objects.
    test_size : float or int
        A float is the fraction to hold out, in (0, 1): ``round(test_size * N)`` examples. An int is their number.
    random_state : int or None
        Seed of the random draw. It is made on the host, so that a seed gives the same split on every device.
        None draws differently at each call.
    shuffle : bool
        Hold out random examples; False holds out the last ones.
    stratify : array_like, shape (N,) or (N, C), optional
        Class labels, integers or strings, or one-hot rows. The same fraction of each class is held out, to within one
        example.

    Returns
    -------
    list of array
        ``a_train, a_test, b_train, b_test, ...`` for the arrays a, b, ...: copies on the device of their array.
        Unlike scikit-learn's, each part keeps the order of its examples.

    Raises
    ------
    ValueError
        If the arrays differ in length or have masked values, a part would be empty, or an option is unfit.

    Examples
    --------
    >>> x, y = np.arange(10.0), np.asarray([0, 0, 0, 0, 0, 0, 1, 1, 1, 1])
    >>> x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.5, stratify=y)
    >>> y_test
    array([0, 0, 0, 1, 1])
    >>> np.sort(np.concat([x_train, x_test])).tolist() == x.tolist()
    True
    """
    if not arrays:
        raise ValueError("arrays is empty: give at least one array to split")
    optional(check_count)("random_state", random_state, at_least=0)
    converted = [_array(f"arrays[{i}]", values) for i, values in enumerate(arrays)]
    lengths = [values.shape[0] for values in converted]
    if len(set(lengths)) > 1:
        raise ValueError(f"arrays must hold the same number of examples, got {', '.join(map(str, lengths))}")
    n = lengths[0]
    n_test, fraction = _test_size(test_size, n)
    if check_flag("shuffle", shuffle):
        order = np.random.default_rng(random_state).permutation(n)
        classes = np.zeros(n, dtype=int) if stratify is None else _classes(stratify, n)
        test = _draw(order, classes, n_test, fraction)
    elif stratify is not None:
        raise ValueError("stratify needs shuffle=True")
    else:
        test = np.arange(n) >= n - n_test
    rows = np.flatnonzero(~test), np.flatnonzero(test)
    return [take_rows(values, part) for values in converted for part in rows]


def _array(name: str, values: Any) -> Array:
    array = as_array(values, name=name, read=host_values)
    if array.ndim == 0:
        raise ValueError(f"{name} must hold examples along its first axis, got {shown(values)}")
    return array


def _test_size(test_size: Any, n: int) -> tuple[int, float]:
    """Return the number of test examples, and their fraction of ``n``."""
    size = check_number("test_size", test_size, above=0)
    n_test = size if isinstance(size, int) else round(size * n) if size < 1 else 0
    fraction = size / max(n, 1) if isinstance(size, int) else size
    if not 0 < n_test < n:
        raise ValueError(f"test_size must leave examples in both parts, got {test_size} for {n} examples")
    return n_test, fraction


def _draw(order: np.ndarray, classes: np.ndarray, n_test: int, fraction: float) -> np.ndarray:
    """Mask of the test examples: the first of each class in ``order``."""
    classes = classes[order]
    wanted = fraction * np.bincount(classes)
    quotas = np.floor(wanted).astype(int)
    quotas[np.argsort(quotas - wanted, kind="stable")[: n_test - quotas.sum()]] += 1  # the largest remainders
    test = np.zeros(len(order), dtype=bool)
    test[np.concatenate([order[classes == c][:quota] for c, quota in enumerate(quotas)])] = True
    return test


def _classes(stratify: Any, n: int) -> np.ndarray:
    """Class of each example on the host, from 0 on without gaps."""
    labels = _array("stratify", stratify)
    host = backend_of(labels, name="stratify").to_numpy(labels)
    if host.ndim == 2 and host.dtype.kind in "biuf" and np.isin(host, (0, 1)).all() and (host.sum(axis=1) == 1).all():
        host = np.argmax(host, axis=1)
    if host.dtype.kind == "O" and all(isinstance(label, str) for label in host.flat):
        host = host.astype(str)
    if host.ndim != 1 or host.dtype.kind not in "biuSU":
        found = f"shape {host.shape} of dtype {host.dtype}"
        raise ValueError(f"stratify must be class labels, integers or strings, or one-hot rows, got {found}")
    if len(host) != n:
        raise ValueError(f"stratify must hold a label for each of {n} examples, got {len(host)}")
    return np.unique(host, return_inverse=True)[1]
