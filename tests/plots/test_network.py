"""Drawings of networks."""

import copy
import pickle
from typing import Any

import pytest

import portanet as pn
from portanet import plots

pytest.importorskip("matplotlib", reason="matplotlib is not installed")

BLOCK = pn.Residual(
    pn.Sequential(pn.Conv2D(3, 6, 3, padding=1), pn.BatchNorm(6)), projection=pn.Sequential(pn.Conv2D(3, 6, 1))
)


def texts(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts if text.get_text()]


def test_layers_and_shapes_follow_each_other() -> None:
    net = pn.Sequential(pn.Linear(64, 32), pn.ReLU(), pn.Linear(32, 10))
    figure = plots.network(net, (64,), title="dense")
    assert texts(figure) == ["(64,)", "Linear(64, 32)", "(32,)", "ReLU()", "(32,)", "Linear(32, 10)", "(10,)"]
    assert figure.axes[0].get_title() == "dense"


def test_branches_lie_side_by_side_in_a_frame() -> None:
    figure = plots.network(pn.Sequential(BLOCK, pn.Flatten()), (8, 8, 3))
    boxes = {text.get_text(): text.get_position() for text in figure.axes[0].texts}
    assert boxes["Conv2D(3, 6, 3, padding=1)"][1] == boxes["Conv2D(3, 6, 1)"][1]
    assert boxes["Conv2D(3, 6, 3, padding=1)"][0] < boxes["Conv2D(3, 6, 1)"][0]
    assert boxes["Conv2D(3, 6, 3, padding=1)"][1] < boxes["BatchNorm(6)"][1] < boxes["Flatten()"][1]
    assert "Residual" in boxes


def test_a_graph_names_what_its_nodes_give() -> None:
    net = pn.Graph(
        (pn.Linear(6, 4), "user", "u"), (pn.Linear(5, 4), "item", "v"), (pn.Dot(), ("u", "v"), "score"), outputs="score"
    )
    figure = plots.network(net, {"item": (5,), "user": (6,)})
    where = {text.get_text(): text.get_position() for text in figure.axes[0].texts if text.get_text()}
    assert {"user", "item", " (6,)", " (5,)", "u (4,)", "v (4,)", "score (1,)", "Dot()"} < where.keys()
    assert (
        where["user"][1] == where["item"][1] < where["Linear(6, 4)"][1] == where["Linear(5, 4)"][1] < where["Dot()"][1]
    )
    assert where["Linear(6, 4)"][0] < where["Dot()"][0] < where["Linear(5, 4)"][0]


def test_a_picture_is_what_a_notebook_shows() -> None:
    figure = plots.network(pn.Linear(2, 1), (2,))
    for again in (figure, copy.deepcopy(figure), pickle.loads(pickle.dumps(figure))):
        assert again._repr_png_().startswith(b"\x89PNG")


def test_a_decoder_follows_its_encoder() -> None:
    net = pn.AutoEncoder(pn.Linear(8, 8), pn.Linear(8, 8, bias=False))  # codes have the shape of the inputs
    boxes = {text.get_text(): text.get_position() for text in plots.network(net, (8,)).axes[0].texts}
    assert boxes["Linear(8, 8)"][1] < boxes["Linear(8, 8, bias=False)"][1]


def test_input_sizes_that_are_left_out_come_from_the_shape() -> None:
    figure = plots.network(pn.Sequential(pn.Linear(32), pn.Linear(10)), (64,))
    assert texts(figure) == ["(64,)", "Linear(64, 32)", "(32,)", "Linear(32, 10)", "(10,)"]


@pytest.mark.parametrize(
    ("net", "shape", "error", "message"),
    [
        (pn.Linear(2, 1), (3,), ValueError, "needs x of shape"),
        (pn.Linear(2, 1), 2, ValueError, "input_shape must be a tuple"),
        ("net", (2,), TypeError, "net must be a layer, got"),
    ],
)
def test_what_cannot_be_drawn_is_refused(net: Any, shape: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        plots.network(net, shape)


def test_branches_are_joined_by_a_sign_and_the_input_goes_past_a_residual_branch() -> None:
    net = pn.Sequential(pn.Residual(pn.Linear(4, 4)), pn.Parallel(pn.Linear(4, 2), pn.Linear(4, 3)))
    texts = [text.get_text() for text in plots.network(net, (4,)).axes[0].texts]
    assert texts.count("+") == texts.count("concat") == 1
    assert texts.count("(4,)") == 4  # input, branch, the input past it, and the sum
