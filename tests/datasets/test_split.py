import numpy as np
import pytest

from portanet import get_backend
from portanet.datasets import split

rng = np.random.default_rng(0)
COUNTS = [1, 2, 9, 10, 11, 95, 172]
LABELS = rng.permutation(np.repeat(np.arange(7), COUNTS))
X = np.arange(300.0)[:, np.newaxis] * [1.0, -1.0]


@pytest.mark.parametrize("share", [0.005, 0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("stratify", [True, False])
def test_nothing_is_lost_or_doubled_and_pairs_stay_together(backend, share, stratify):
    parts = split(backend.asarray(X), backend.asarray(LABELS), share=share, stratify=stratify)
    assert all(part.device == backend.device for part in parts)
    x_train, target_train, x_validation, target_validation = map(backend.to_numpy, parts)
    assert len(x_validation) == len(target_validation) == round(share * 300)
    chosen = np.concatenate([x_train, x_validation])[:, 0].astype(int)
    assert sorted(chosen) == list(range(300))
    np.testing.assert_array_equal(np.concatenate([x_train, x_validation]), X[chosen])
    np.testing.assert_array_equal(np.concatenate([target_train, target_validation]), LABELS[chosen])
    for part in (x_train, x_validation):
        assert np.all(np.diff(part[:, 0]) > 0)


@pytest.mark.parametrize("form", ["indices", "uint8", "one-hot", "words"])
@pytest.mark.parametrize("share", [0.005, 0.1, 0.29, 0.5, 0.9])
def test_every_class_keeps_its_share_to_within_one_example(share, form):
    targets = {
        "indices": LABELS - 3,
        "uint8": LABELS.astype("uint8"),
        "one-hot": np.eye(7, dtype="float32")[LABELS],
        "words": np.asarray(list("abcdefg"))[LABELS],
    }
    for seed in range(5):
        held = split(X, targets[form], share=share, seed=seed)[2][:, 0].astype(int)
        counts = np.bincount(LABELS[held], minlength=7)
        assert np.all(np.abs(counts - share * np.asarray(COUNTS)) < 1)


def test_every_example_of_a_class_may_be_held_out():
    held = np.concatenate([split(X, LABELS, seed=seed)[2][:, 0] for seed in range(100)])
    assert np.all(np.bincount(held.astype(int), minlength=300)[LABELS > 1] > 0)


def test_one_seed_gives_the_same_split_on_every_backend(backend):
    here = split(backend.asarray(X), backend.asarray(LABELS), seed=3)[2]
    np.testing.assert_array_equal(backend.to_numpy(here), split(X, LABELS, seed=3)[2])
    assert not np.array_equal(backend.to_numpy(here), split(X, LABELS, seed=4)[2])


def test_examples_and_targets_may_be_on_different_devices_and_in_lists():
    strict = get_backend("strict")
    x_train, target_train, *_ = split(strict.asarray(X), LABELS.tolist())
    assert isinstance(x_train, strict.array_type)
    assert isinstance(target_train, np.ndarray)


def test_parts_are_new_arrays():
    x, target = X.copy(), LABELS.copy()
    for part in split(x, target):
        assert not np.shares_memory(part, x)
        assert not np.shares_memory(part, target)


def test_images_that_are_their_own_targets_need_no_classes():
    images = rng.random((20, 4, 4, 1))
    x_train, target_train, x_validation, _ = split(images, images, share=0.25, stratify=False)
    np.testing.assert_array_equal(x_train, target_train)
    assert x_validation.shape == (5, 4, 4, 1)
    with pytest.raises(ValueError, match=r"target must be class indices .* got shape \(20, 4, 4, 1\) of float64: use"):
        split(images, images)


@pytest.mark.parametrize(
    ("target", "share", "message"),
    [
        (LABELS[:10], 0.1, "target holds 10 examples and x 300: give as many"),
        (LABELS, 0.0, "share must leave examples in both parts, got 0.0 of 300 examples"),
        (LABELS, 1.0, "share must leave examples in both parts"),
        (LABELS, 1e-3, "share must leave examples in both parts"),
        (LABELS, -0.1, "share must leave examples in both parts"),
        (LABELS, np.nan, "share must leave examples in both parts, got nan"),
        (rng.random(300), 0.1, r"target must be class indices or one-hot rows to stratify by, got shape \(300,\)"),
        (np.eye(7)[LABELS] / 2, 0.1, r"target must be class indices or one-hot rows"),
    ],
)
def test_unfit_arguments_are_refused(target, share, message):
    with pytest.raises(ValueError, match=message):
        split(X, target, share=share)
