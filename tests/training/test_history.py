import math
from typing import Any

import pytest

from portanet.training.history import History


def test_an_unknown_name_lists_the_known() -> None:
    history = History()
    history.append({"loss": 1.0, "accuracy": 0.5})
    with pytest.raises(KeyError, match="'val_loss' is not recorded: there are loss, accuracy"):
        history["val_loss"]


def test_is_a_mapping_of_names_to_one_number_an_epoch() -> None:
    history = History()
    assert (len(history), dict(history)) == (0, {})
    history.append({"loss": 1.0})
    history.append({"loss": 0.5, "lr": 0.1})
    assert list(history) == ["loss", "lr"]
    assert "lr" in history
    assert "val_loss" not in history
    assert history["loss"] == [1.0, 0.5]
    assert math.isnan(history["lr"][0])
    assert history["lr"][1] == 0.1
    assert history.epochs == [{"loss": 1.0}, {"loss": 0.5, "lr": 0.1}]


@pytest.mark.parametrize("logs", ["loss", None, 3, [0.5], {0: 0.5}, {}], ids=repr)
def test_an_epoch_is_a_mapping_of_names(logs: Any) -> None:
    with pytest.raises(ValueError, match=r"logs (must be a mapping with strings as keys, got|is empty)"):
        History().append(logs)


def test_plotting_without_epochs_is_refused() -> None:
    with pytest.raises(ValueError, match="history is empty: give for instance the result of fit"):
        History().plot()
