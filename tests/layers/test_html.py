"""What a notebook shows of a network."""

from html.parser import HTMLParser

import pytest

import portanet as pn


class Cells(HTMLParser):
    """The texts of the cells of a page, and the tags that are open at its end."""

    def __init__(self, page: str):
        super().__init__()
        self.cells: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)
        if tag in ("td", "summary"):
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "summary"):
            self.cells[-1] += data


def test_each_layer_has_a_row_with_its_output_shape_and_parameters() -> None:
    page = pn.Sequential(pn.Linear(3, 2), pn.ReLU())._repr_html_()
    assert Cells(page).cells == ["0", "Linear(3, 2)", "(2,)", "8", "1", "ReLU()", "(2,)", "0"]
    assert "8 parameters" in page


def test_nested_networks_can_be_unfolded() -> None:
    net = pn.Sequential(pn.Linear(3, 4), pn.Residual(pn.Sequential(pn.Linear(4, 4), pn.TanH())))
    cells = Cells(net._repr_html_())
    assert not cells.open
    assert {"Residual", "Sequential", "Linear(4, 4)", "TanH()"} <= set(cells.cells)


def test_frozen_layers_are_marked_and_shapes_that_are_unknown_left_out() -> None:
    net = pn.Sequential(pn.Conv2D(1, 2, 3), pn.Flatten())
    net[0].freeze()
    page = net._repr_html_()
    assert "20 of them frozen" in page
    assert Cells(page).cells == ["0", "Conv2D(1, 2, 3)", "", "20 frozen", "1", "Flatten()", "", "0"]


def test_names_of_the_users_are_escaped() -> None:
    class Odd(pn.Layer):
        def __init__(self, text: str):
            self.text = text

    assert "<script>" not in pn.Sequential(Odd("<script>"))._repr_html_()
    assert "&lt;script&gt;" in pn.Sequential(Odd("<script>"))._repr_html_()


def test_a_single_layer_is_a_table_of_one_row() -> None:
    assert Cells(pn.Linear(3, 2)._repr_html_()).cells == ["0", "Linear(3, 2)", "(2,)", "8"]


def test_layers_that_do_not_fit_together_are_shown_all_the_same() -> None:
    cells = Cells(pn.Sequential(pn.Linear(3, 2), pn.Linear(5, 1))._repr_html_()).cells
    assert cells[:4] == ["0", "Linear(3, 2)", "", "8"]


@pytest.mark.parametrize("first", [pn.Normalize(4), pn.ReLU(), pn.BatchNorm(4)], ids=repr)
def test_shapes_are_shown_where_any_first_layer_tells_the_length_of_the_input(first: pn.Layer) -> None:
    assert "<td>(2,)</td>" in pn.Sequential(first, pn.Linear(4, 2))._repr_html_()
