from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet import History, plots
from tests.plots.rendering import pixels

MASKED = np.ma.array([1.0, 2.0], mask=[False, True])


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
        validation_label="test",
    )
    loss, accuracy, lr = figure.axes
    assert figure.get_suptitle() == "a net"
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "accuracy", "learning rate"]
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
    assert [axes.get_ylabel() for axes in history({"loss": 1.0}).plot().axes] == ["loss"]


def test_training_curves_take_any_mapping() -> None:
    (axes,) = plots.training_curves({"loss": [3.0, 2.0], "val_loss": [4.0, 3.0]}).axes
    assert [line.get_ydata().tolist() for line in axes.lines] == [[3.0, 2.0], [4.0, 3.0]]


def test_an_empty_history_is_refused() -> None:
    with pytest.raises(ValueError, match="history is empty: give for instance the result of fit"):
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


@pytest.mark.parametrize(
    ("x", "panels", "message"),
    [
        ([0, 1], {"a": {"b": [1]}}, r"panels\['a'\]\['b'\] must have shape \(2,\), got \(1,\)"),
        ([0, 1], {"a": {"b": 1}}, r"panels\['a'\]\['b'\] must have shape \(2,\), got \(\)"),
        ([0, 1], {"a": {"b": "xy"}}, r"panels\['a'\]\['b'\] is a str: give an array"),
        ([0, 1], {"a": {"b": ["x", "y"]}}, r"panels\['a'\]\['b'\] has dtype <U1: give numbers"),
        ([0, 1], {"a": {"b": [1j, 2]}}, r"panels\['a'\]\['b'\] has dtype complex128: give real numbers"),
        ([0, 1], {"a": {"b": MASKED}}, r"panels\['a'\]\['b'\] is a masked array with 1 masked values"),
        ([0, 1], {"a": {}}, r"panels\['a'\] is empty: give for instance"),
        ([0, 1], {"a": [1, 2]}, r"panels\['a'\] must be a mapping with strings as keys, got \[1, 2\]"),
        ([0, 1], {"a": {0: [1, 2]}}, r"panels\['a'\] must be a mapping with strings as keys"),
        ([0, 1], {0: {"b": [1, 2]}}, "panels must be a mapping with strings as keys"),
        ([[0, 1]], {"a": {"b": [1, 2]}}, r"x must have shape \(N,\), got \(1, 2\)"),
        ([], {"a": {"b": []}}, r"x is empty, of shape \(0,\)"),
        ([0, np.nan], {"a": {"b": [1, 2]}}, "x holds NaN, infinity or numbers above"),
        (["a", "b"], {"a": {"b": [1, 2]}}, "x has dtype <U1: give numbers"),
    ],
)
def test_unfit_curves_are_refused(x: Any, panels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plots.curves(x, panels)


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ({"loss": []}, r"history\['loss'\] is empty"),
        ({"loss": [1.0], "lr": [0.1, 0.1]}, r"history\['lr'\] must have shape \(1,\), got \(2,\)"),
        ({"loss": ["high"]}, r"history\['loss'\] has dtype <U4: give numbers"),
        ({"loss": 1.0}, r"history\['loss'\] must have shape \(N,\), got \(\)"),
        ({0: [1.0]}, "history must be a mapping with strings as keys"),
        ([1.0], r"history must be a mapping with strings as keys, got \[1.0\]: give the result of fit"),
    ],
)
def test_unfit_histories_are_refused(history: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plots.training_curves(history)


def test_the_label_of_validation_curves_is_another_one() -> None:
    with pytest.raises(ValueError, match="validation_label must be another label than 'training'"):
        plots.training_curves({"loss": [1.0], "val_loss": [2.0]}, validation_label="training")


def test_names_that_differ_by_an_underscore_have_a_panel_each() -> None:
    axes = plots.training_curves({"my_score": [1.0], "my score": [2.0]}).axes
    assert [panel.get_ylabel() for panel in axes] == ["my score", "my score"]


def test_a_diverged_run_can_be_drawn() -> None:
    (axes,) = plots.training_curves({"loss": [1.0, np.inf, np.nan]}).axes
    assert axes.lines[0].get_ydata()[0] == 1.0
