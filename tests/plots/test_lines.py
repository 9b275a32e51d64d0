import numpy as np
import pytest

import portanet as pn
from portanet import History, plots
from tests.plots.rendering import pixels


def history(*rows: dict[str, float]) -> pn.History:
    result = History()
    for row in rows:
        result.append(row)
    return result


def test_training_curves_show_the_values_of_the_history() -> None:
    figure = plots.training_curves(
        history(
            {"loss": 0.9, "accuracy": 0.5, "val_loss": 1.0, "lr": 0.1},
            {"loss": 0.4, "accuracy": 0.8, "val_loss": 0.6, "lr": 0.05},
        ),
        title="a net",
        held_out="test",
    )
    loss, accuracy, lr = figure.axes
    assert figure.get_suptitle() == "a net"
    assert [axes.get_ylabel() for axes in figure.axes] == ["mean loss", "accuracy", "learning rate"]
    assert {axes.get_xlabel() for axes in figure.axes} == {"epoch"}
    assert [line.get_ydata().tolist() for line in loss.lines] == [[0.9, 0.4], [1.0, 0.6]]
    assert [line.get_xdata().tolist() for line in loss.lines] == [[1, 2], [1, 2]]
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["training", "test"]
    assert accuracy.get_legend() is lr.get_legend() is None
    assert pixels(figure).std() > 0.05


def test_a_quantity_of_validation_only_has_its_own_panel() -> None:
    (_, only) = plots.training_curves(history({"loss": 1.0, "val_accuracy": 0.5})).axes
    assert only.get_ylabel() == "val accuracy"
    assert len(only.lines) == 1


@pytest.mark.parametrize("epochs", [1, 2, 40])
def test_epoch_ticks_are_integers_from_one(epochs: int) -> None:
    figure = plots.training_curves(history(*({"loss": 1 / (i + 1)} for i in range(epochs))))
    pixels(figure)
    (axes,) = figure.axes
    low, high = axes.get_xlim()
    ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
    assert ticks
    assert all(tick == int(tick) and 1 <= tick <= epochs for tick in ticks)


def test_history_plot_draws_the_curves() -> None:
    assert [axes.get_ylabel() for axes in history({"loss": 1.0}).plot().axes] == ["mean loss"]


def test_training_curves_need_only_names_items_and_length() -> None:
    class Recorded:
        names = ("loss", "val_loss")

        def __getitem__(self, name: str) -> list[float]:
            return {"loss": [3.0, 2.0], "val_loss": [4.0, 3.0]}[name]

        def __len__(self) -> int:
            return 2

    (axes,) = plots.training_curves(Recorded()).axes
    assert [line.get_ydata().tolist() for line in axes.lines] == [[3.0, 2.0], [4.0, 3.0]]


def test_an_empty_history_is_refused() -> None:
    with pytest.raises(ValueError, match="history holds no epochs: call fit first"):
        plots.training_curves(History())


def test_curves_label_their_panels_and_lines() -> None:
    x = np.asarray([0.0, 1.0, 2.0])
    figure = plots.curves(
        x, {"height": {"sin": np.sin(x), "cos": np.cos(x)}, "slope": {"": x}}, xlabel="x", title="two"
    )
    height, slope = figure.axes
    assert figure.get_suptitle() == "two"
    assert (height.get_ylabel(), slope.get_ylabel()) == ("height", "slope")
    assert height.get_xlabel() == slope.get_xlabel() == "x"
    assert [text.get_text() for text in height.get_legend().get_texts()] == ["sin", "cos"]
    assert slope.get_legend() is None
    np.testing.assert_array_equal(height.lines[1].get_ydata(), np.cos(x))
    assert pixels(figure).std() > 0.05
