import pytest

from portanet.training.history import History


def test_an_unknown_name_lists_the_known() -> None:
    history = History()
    history.append({"loss": 1.0, "accuracy": 0.5})
    with pytest.raises(KeyError, match="'val_loss' is not recorded: there are loss, accuracy"):
        history["val_loss"]


def test_plotting_without_epochs_is_refused() -> None:
    with pytest.raises(ValueError, match="no epochs: call fit first"):
        History().plot()
