"""The comparison of the estimators with those of scikit-learn."""

import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from bench.estimators import FOLDS, OURS, SCALED, SIDES, THEIRS, alternate, fit_fold, table_rows, verdict


def test_all_sides_are_fitted_fold_by_fold_after_a_fit_that_does_not_count() -> None:
    calls: list[tuple[str, int]] = []

    def fit(side: str, fold: int) -> tuple[float, float]:
        calls.append((side, fold))
        return float(len(calls)), float(fold)

    found = alternate(fit)
    assert calls == [(side, fold) for fold in (0, *range(FOLDS)) for side in SIDES]
    assert found[OURS] == {"seconds": [4.0, 7.0, 10.0, 13.0, 16.0], "scores": [0.0, 1.0, 2.0, 3.0, 4.0]}


def test_a_row_holds_mean_scores_and_the_median_ratio_of_times() -> None:
    sides = {
        OURS: {"seconds": [1.0, 2.0, 9.0], "scores": [0.9, 0.8, 0.7]},
        THEIRS: {"seconds": [2.0, 2.0, 3.0], "scores": [0.9, 0.7, 0.8]},
        SCALED: {"seconds": [4.0, 4.0, 4.0], "scores": [0.5, 0.6, 0.5]},
    }
    alone, scaled = table_rows({"wine": sides})
    assert alone == ("wine", THEIRS, "0.8000", "0.8000", "equal", "2.00 s", "2.00 s", "1.00")
    assert scaled == ("wine", SCALED, "0.5333", "0.8000", "better", "4.00 s", "2.00 s", "0.50")


@pytest.mark.parametrize(("ours", "word"), [([0.5, 0.7], "equal"), ([0.8, 0.9], "better"), ([0.4, 0.3], "worse")])
def test_a_difference_within_its_standard_error_is_none(ours: list[float], word: str) -> None:
    assert verdict(ours, [0.6, 0.6]) == word


@pytest.mark.parametrize("side", SIDES)
def test_a_fold_is_fitted_and_scored(side: str) -> None:
    seconds, score = fit_fold("wine", side, 0)
    assert seconds > 0
    assert score <= 1
