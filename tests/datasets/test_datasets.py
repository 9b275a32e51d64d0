"""The published data sets. Files are read from PORTANET_DATA only; nothing is downloaded."""

import dataclasses
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from portanet.datasets import Dataset, DatasetError, load, names
from portanet.datasets.catalogue import FASHION_MNIST_LICENCE, SOURCES

COUNTS = {
    "digits": ([142, 146, 142, 146, 145, 145, 145, 143, 139, 144], [36, 36, 35, 37, 36, 37, 36, 36, 35, 36]),
    "mnist": (
        [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
        [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
    ),
    "fashion_mnist": ([6000] * 10, [1000] * 10),
    "usps": (
        [1194, 1005, 731, 658, 652, 556, 664, 645, 542, 644],
        [359, 264, 198, 166, 200, 160, 170, 147, 166, 177],
    ),
}
SIDE = {"digits": 8, "mnist": 28, "fashion_mnist": 28, "usps": 16}
RAW = {
    "digits": (0, 16, np.uint8),
    "mnist": (0, 255, np.uint8),
    "fashion_mnist": (0, 255, np.uint8),
    "usps": (-1, 1, np.float32),
}
MEAN_STD = {
    "mnist": (0.13066, 0.30811),
    "fashion_mnist": (0.28604, 0.35302),
    "usps": (0.25448, 0.38462),
}


def require(name: str) -> Path:
    """Skip unless the data set can be loaded without a download. Return its folder; digits has none."""
    folder = Path(os.environ.get("PORTANET_DATA", ""), name)
    if name == "digits":
        pytest.importorskip("sklearn", reason="digits comes with scikit-learn")
    elif not all((folder / file.name).is_file() for file in SOURCES[name].files):
        pytest.skip(f"PORTANET_DATA has no files of {name}")
    return folder


@pytest.fixture(scope="module", params=names())
def loaded(request: pytest.FixtureRequest) -> tuple[Dataset, Dataset]:
    """A data set by default and raw."""
    require(request.param)
    return load(request.param), load(request.param, raw=True)


def test_shapes_dtypes_and_class_counts(loaded: tuple[Dataset, Dataset]) -> None:
    data, _ = loaded
    side, (train, test) = SIDE[data.name], COUNTS[data.name]
    assert len(data.classes) == 10
    assert data.x_train.shape == (sum(train), side, side, 1)
    assert data.x_test.shape == (sum(test), side, side, 1)
    assert data.x_train.dtype == data.x_test.dtype == np.float32
    assert data.y_train.dtype == data.y_test.dtype == np.int64
    np.testing.assert_array_equal(np.bincount(data.y_train), train)
    np.testing.assert_array_equal(np.bincount(data.y_test), test)


@pytest.mark.parametrize("loaded", MEAN_STD, indirect=True)
def test_mean_and_standard_deviation_of_the_training_pixels(loaded: tuple[Dataset, Dataset]) -> None:
    data, _ = loaded
    found = data.x_train.mean(dtype=np.float64), data.x_train.std(dtype=np.float64)
    np.testing.assert_allclose(found, MEAN_STD[data.name], atol=5e-6)


def test_raw_values_are_the_stored_values(loaded: tuple[Dataset, Dataset]) -> None:
    data, raw = loaded
    low, high, dtype = RAW[data.name]
    for x, y, stored, label in (
        (data.x_train, data.y_train, raw.x_train, raw.y_train),
        (data.x_test, data.y_test, raw.x_test, raw.y_test),
    ):
        assert stored.dtype == dtype
        assert label.dtype == np.uint8
        assert (stored.min(), stored.max()) == (low, high)
        assert (x.min(), x.max()) == (0, 1)
        assert np.abs(x[..., 0] * np.float32(high - low) + low - stored).max() <= 4e-5
        np.testing.assert_array_equal(y, label)


def test_arrays_are_contiguous_and_writable(loaded: tuple[Dataset, Dataset]) -> None:
    for data in loaded:
        for array in data.x_train, data.y_train, data.x_test, data.y_test:
            assert array.flags.c_contiguous
            assert array.flags.writeable


def test_digits_are_a_partition_of_the_scikit_learn_set() -> None:
    require("digits")
    from sklearn.datasets import load_digits

    data, reference = load("digits", raw=True), load_digits()
    x = np.concatenate([data.x_train, data.x_test]).reshape(-1, 64)
    found = np.column_stack([np.concatenate([data.y_train, data.y_test]), x])
    expected = np.column_stack([reference.target, reference.data])
    np.testing.assert_array_equal(found[np.lexsort(found.T)], expected[np.lexsort(expected.T)])
    np.testing.assert_array_equal(load("digits").x_test, load("digits").x_test)


def test_usps_equals_an_independently_decoded_copy() -> None:
    path = require("usps") / "usps.npz"
    if not path.is_file():
        pytest.skip("PORTANET_DATA has no usps/usps.npz to compare with")
    data = load("usps")
    with np.load(path) as expected:
        np.testing.assert_array_equal(data.x_train[..., 0], expected["x_train"])
        np.testing.assert_array_equal(data.x_test[..., 0], expected["x_test"])
        np.testing.assert_array_equal(data.y_train, expected["y_train"])
        np.testing.assert_array_equal(data.y_test, expected["y_test"])


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_published_sha256(name: str) -> None:
    folder = require(name)
    for file in SOURCES[name].files:
        assert hashlib.sha256((folder / file.name).read_bytes()).hexdigest() == file.gz_sha256


def test_fashion_mnist_under_the_name_of_mnist_is_detected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(require("fashion_mnist"), tmp_path / "mnist")
    monkeypatch.setenv("PORTANET_DATA", str(tmp_path))
    with pytest.raises(DatasetError, match=r"train-images.*expected decoded content with sha256 741c.*, found 2e48"):
        load("mnist")


def test_fashion_mnist_licence_is_the_published_text() -> None:
    path = require("fashion_mnist") / "LICENSE"
    if not path.is_file():
        pytest.skip("PORTANET_DATA has no fashion_mnist/LICENSE to compare with")
    assert FASHION_MNIST_LICENCE.split() == path.read_text(encoding="utf-8").split()


def test_repr_shows_sizes_shapes_and_dtypes() -> None:
    require("digits")
    expected = "Dataset(digits: 1437 train, 360 test, x (8, 8) uint8, y uint8, 10 classes)"
    assert repr(load("digits", raw=True)) == expected


def test_a_dataset_is_frozen() -> None:
    require("digits")
    data = load("digits")
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.x_train = data.x_test  # type: ignore[misc]


def test_an_unknown_name_raises_and_lists_the_names() -> None:
    with pytest.raises(ValueError, match="name must be 'digits', 'mnist', 'fashion_mnist' or 'usps', got 'cifar'"):
        load("cifar")


def test_error_without_scikit_learn_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"digits needs scikit-learn: pip install 'portanet\[experiments\]'"):
        load("digits")


def test_import_does_not_load_scikit_learn_or_pooch() -> None:
    code = "import sys, portanet.datasets; sys.exit(bool({'sklearn', 'pooch', 'tqdm'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
