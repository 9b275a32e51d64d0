"""The benchmarked networks and their recipes."""

import json
from dataclasses import replace

import numpy as np
import pytest

from bench.networks import NETWORKS, Network
from bench.peers import portanet
from bench.recipe import Recipe

PARAMETERS = {"003-logistic": 7_850, "003-mlp": 79_510, "004-mlp": 238_510, "004-hog": 80_610, "004-cnn": 7_465}


@pytest.mark.parametrize("id", PARAMETERS)
def test_number_of_parameters_is_that_of_the_source(id: str) -> None:
    assert NETWORKS[id].build().n_parameters == PARAMETERS[id]


@pytest.mark.parametrize("network", NETWORKS.values(), ids=lambda network: network.id)
def test_recipe_round_trips_through_json_and_trains(network: Network) -> None:
    recipe = network.recipe()
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe
    assert recipe.output_shape == network.build().output_shape(network.input_shape)

    step = portanet.step(replace(recipe, batch_size=3), "cpu")
    first = float(step())
    assert np.isfinite(first)
    assert float(step()) != first
    assert portanet.inference(recipe, "cpu", 2)().shape == (2, *recipe.output_shape)


def test_fourteen_networks_of_the_reports_and_six_others_have_a_goal() -> None:
    goals = {id: network.goal for id, network in NETWORKS.items() if network.goal is not None}
    assert [sum(id[0].isdigit() == of_report for id in goals) for of_report in (True, False)] == [14, 6]
    assert all(0 < goal < 1 for goal in goals.values())


def test_examples_are_reproducible_with_mean_0_2() -> None:
    recipe = NETWORKS["004-cnn"].recipe()
    x = recipe.examples(50)
    np.testing.assert_array_equal(x, recipe.examples(50))
    assert x.shape == (50, 28, 28, 1)
    assert x.dtype == np.float32
    assert abs(x.mean() - 0.2) < 0.01
    assert set(recipe.targets(x)) <= set(range(10))


def test_ids_are_integers_and_each_position_has_a_label() -> None:
    recipe = NETWORKS["transformer"].recipe()
    x = recipe.examples(4)
    assert x.dtype.kind == "i"
    assert x.shape == recipe.targets(x).shape == (4, 128)
    assert (x.min(), x.max()) == (0, 255)
