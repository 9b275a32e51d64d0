"""The table of ``summary``."""

from typing import Any

import pytest

import portanet as pn

NETS = {
    "Sequential": (
        pn.Sequential(pn.Sequential(pn.Linear(4, 8), pn.TanH()), pn.Sequential(pn.Sequential(pn.Linear(8, 4)))),
        ["0.0", "0.1", "1.0.0"],
    ),
    "Residual": (
        pn.Residual(pn.Sequential(pn.Linear(4, 8), pn.TanH()), projection=pn.Linear(4, 8, bias=False)),
        ["branch.0", "branch.1", "projection"],
    ),
    "Residual without projection": (pn.Sequential(pn.Residual(pn.Linear(4, 4))), ["0.branch"]),
    "Parallel": (pn.Parallel(pn.Linear(4, 2), pn.Sequential(pn.Linear(4, 3), pn.TanH())), ["0", "1.0", "1.1"]),
    "AutoEncoder": (
        pn.AutoEncoder(pn.Sequential(pn.Linear(4, 2), pn.TanH()), pn.Linear(2, 4)),
        ["encoder.0", "encoder.1", "decoder"],
    ),
    "single layer": (pn.Linear(4, 2), ["0"]),
}


def printed(net: pn.Layer, shape: tuple[int, ...], capsys: pytest.CaptureFixture[str]) -> list[str]:
    net.summary(shape)
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(("net", "names"), NETS.values(), ids=NETS)
def test_composed_layers_are_unfolded(net: pn.Layer, names: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(net, (4,), capsys)
    assert lines[0].split() == ["layer", "output", "shape", "parameters"]
    rows = [line.split() for line in lines[2:-2]]
    assert [row[0] for row in rows] == names
    assert sum(int(row[-1]) for row in rows) == net.n_parameters
    assert lines[-1].split() == ["total", str(net.n_parameters)]


def test_rows_show_shapes_without_the_batch_axis(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(
        pn.Sequential(pn.Conv2D(1, 8, 3), pn.MaxPool2D(2), pn.Flatten(), pn.Linear(1352, 2000)), (28, 28, 1), capsys
    )
    assert ["(26, 26, 8)" in lines[2], "(13, 13, 8)" in lines[3], "(1352,)" in lines[4]] == [True] * 3
    assert lines[5].endswith("2,706,000")


@pytest.mark.parametrize("depth", [0, 6])
def test_lines_fit_a_hundred_columns(depth: int, capsys: pytest.CaptureFixture[str]) -> None:
    net: pn.Layer = pn.Sequential(
        pn.Conv2D(1, 64, (3, 5), stride=(1, 2), padding=((1, 1), (0, 2)), bias=False, init=pn.initializers.he_uniform),
        pn.GlobalAvgPool(),
        pn.Linear(64, 1000000),
    )
    for _ in range(depth):
        net = pn.AutoEncoder(net, pn.Sequential())
    lines = printed(net, (28, 28, 1), capsys)
    assert max(map(len, lines)) <= 100
    assert any("..." in line for line in lines)


@pytest.mark.parametrize("shape", [28, None, "ab"], ids=repr)
def test_an_input_shape_is_a_tuple(shape: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        pn.Linear(4, 2).summary(shape)
