"""Layers whose input size is left out."""

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portanet as pn
from portanet.config import from_json, to_json

X = np.random.default_rng(0).normal(size=(6, 8, 8, 3)).astype("float32")
LABELS = np.asarray([0, 1, 2, 0, 1, 2])


def unsized() -> pn.Sequential:
    block = pn.Residual(pn.Sequential(pn.Conv2D(4, 3, padding=1), pn.GroupNorm(2)), projection=pn.Conv2D(4, 1))
    return pn.Sequential(
        *(pn.Normalize(), pn.Conv2D(5, 3), pn.BatchNorm(), pn.ReLU(), block, pn.InstanceNorm(), pn.Flatten()),
        *(pn.LayerNorm(), pn.Linear(7), pn.RMSNorm(), pn.Linear(3)),
    )


def sized() -> pn.Sequential:
    block = pn.Residual(pn.Sequential(pn.Conv2D(5, 4, 3, padding=1), pn.GroupNorm(2, 4)), projection=pn.Conv2D(5, 4, 1))
    return pn.Sequential(
        *(pn.Normalize(3), pn.Conv2D(3, 5, 3), pn.BatchNorm(5), pn.ReLU(), block, pn.InstanceNorm(4), pn.Flatten()),
        *(pn.LayerNorm(144), pn.Linear(144, 7), pn.RMSNorm(7), pn.Linear(7, 3)),
    )


def test_build_gives_all_layers_their_sizes() -> None:
    net = unsized()
    assert repr(net.build((8, 8, 3))) == repr(sized())
    assert repr(net.build((8, 8, 3))) == repr(sized())  # nothing is left to do


def test_until_then_layers_read_like_their_constructors() -> None:
    layers = [pn.Linear(7), pn.Conv2D(5, 3, stride=2), pn.BatchNorm(), pn.GroupNorm(2), pn.ConvTranspose1D(4, 3)]
    assert list(map(repr, layers)) == [
        *("Linear(7)", "Conv2D(5, 3, stride=2)", "BatchNorm()", "GroupNorm(2)", "ConvTranspose1D(4, 3)")
    ]
    assert repr(pn.Linear(None, out_features=7)) == repr(pn.Linear(None, 7)) == "Linear(7)"


@pytest.mark.parametrize("use", ["call", "predict", "summary", "fit", "evaluate"])
def test_the_first_data_give_the_sizes(use: str, capsys: pytest.CaptureFixture[str]) -> None:
    net = unsized()
    trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.Adam())
    match use:
        case "call":
            assert net(X).shape == (6, 3)
        case "predict":
            assert net.predict(X.tolist()).shape == (6, 3)
        case "summary":
            net.summary((8, 8, 3))
            assert "Linear(144, 7)" in capsys.readouterr().out
        case "fit":
            trainer.fit(X, LABELS, progress=False)
        case "evaluate":
            trainer.evaluate(x=X, y=LABELS)
    assert repr(net) == repr(sized())


def test_training_is_that_of_a_network_whose_sizes_were_given(backend: pn.backends.Backend) -> None:
    weights = []
    for net in (unsized(), sized()):
        trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.Adam(), device=backend, seed=3)
        trainer.fit(X, LABELS, epochs=2, batch_size=3, progress=False)
        weights.append(net.get_weights())
    assert weights[0].keys() == weights[1].keys()
    for name, values in weights[0].items():
        np.testing.assert_array_equal(values, weights[1][name])


def test_a_trainer_goes_on_as_soon_as_the_network_is_built() -> None:
    net = unsized()
    trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.SGD())
    with pytest.raises(RuntimeError, match=r"Normalize\(\) has no input size yet: call net.build"):
        trainer.step(X, LABELS)
    net.build((8, 8, 3))
    trainer.step(X, LABELS)
    assert trainer.steps == 1


@pytest.mark.parametrize(
    "use",
    [
        lambda net: net.initialize(),
        lambda net: net.to("cpu"),
        lambda net: net.get_weights(),
        lambda net: net.n_parameters,
        lambda net: net.save("net.safetensors"),
        lambda net: net.vjp(X),
    ],
)
def test_what_needs_weights_says_what_to_do(use: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RuntimeError, match=r"call (net\.build|initialize)"):
        use(unsized())
    assert not list(tmp_path.iterdir())


def test_a_shape_that_does_not_fit_changes_nothing() -> None:
    net = pn.Sequential(pn.Conv2D(5, 3), pn.Flatten(), pn.Linear(7), pn.Linear(8, 3))
    with pytest.raises(ValueError, match=r"Linear\(8, 3\) needs x"):
        net.build((8, 8, 3))
    with pytest.raises(ValueError, match="does not fit into 2 x 2"):
        net.build((2, 2, 3))
    assert repr(net) == "Sequential(Conv2D(5, 3), Flatten(), Linear(7), Linear(8, 3))"
    net.pop()
    assert net.build((8, 8, 3)).output_shape((8, 8, 3)) == (7,)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: pn.Linear(-1), ValueError, "out_features must be"),
        (lambda: pn.Conv2D(6, 3, groups=4), ValueError, "groups=4"),
        (lambda: pn.Conv2D(6, 0), ValueError, "kernel_size"),
        (lambda: pn.GroupNorm(0), ValueError, "num_groups"),
        (pn.Linear, ValueError, "in_features must be"),
        (lambda: pn.Linear(1, 2, 3), TypeError, "positional"),  # type: ignore[call-arg, arg-type]
        (lambda: pn.Linear(1, 2, in_features=3), TypeError, "by position and by name"),  # type: ignore[misc]
        (lambda: pn.Linear(7).build(()), ValueError, "takes its input size"),
        (lambda: pn.Linear(7).build(5), ValueError, "input_shape must be a tuple"),
    ],
)
def test_other_arguments_are_checked_at_once(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_settings_that_change_before_the_size_is_known_count() -> None:
    layer = pn.Conv2D(4, 3)
    layer.stride = 2
    layer.freeze()
    layer.build((8, 8, 3))
    assert repr(layer) == "Conv2D(3, 4, 3, stride=2)"
    assert layer.frozen
    assert all(parameter.frozen for parameter in layer.parameters())


def test_a_layer_that_is_used_twice_has_one_size() -> None:
    shared = pn.Linear(4)
    net = pn.Sequential(pn.Linear(4), shared, shared).build((3,))
    assert repr(net) == "Sequential(Linear(3, 4), Linear(4, 4), Linear(4, 4))"
    assert net.n_parameters == 3 * 4 + 4 + 4 * 4 + 4


def test_networks_without_sizes_can_be_copied_and_described() -> None:
    net = unsized()
    for again in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), from_json(to_json(net))):
        assert repr(again) == repr(net)
        assert repr(again.build((8, 8, 3))) == repr(sized())
    assert "not known yet" in net._repr_html_()


def test_a_file_holds_the_sizes(tmp_path: Path) -> None:
    net = unsized()
    y = net(X)
    net.save(tmp_path / "net")
    again = pn.load(tmp_path / "net")
    assert repr(again) == repr(sized())
    np.testing.assert_array_equal(again(X), y)


def test_layers_of_ones_own_may_leave_out_their_input_size() -> None:
    class Scale(pn.Layer):
        input_size_argument = "features"

        def __init__(self, features: int | None = None, *, power: float = 1.0):
            self.features, self.power = features, power
            self.weight = pn.Parameter((features or 1,), pn.initializers.ones)

    assert (
        repr(pn.Sequential(pn.Linear(5), Scale(power=2.0)).build((3,)))
        == "Sequential(Linear(3, 5), Scale(5, power=2.0))"
    )

    class Wide(pn.Linear):
        def __init__(self, width: int):
            super().__init__(width)  # no in_features
            self.width = width

    with pytest.raises(TypeError, match="Wide must pass on in_features"):
        Wide(4)

    class Hidden(pn.Layer):
        def __init__(self) -> None:
            self.inner = pn.Linear(4)

    with pytest.raises(ValueError, match="does not say the shape of its input: give its size"):
        Hidden().build((3,))


@pytest.mark.parametrize(
    "arguments", [{"x": X, "y": LABELS + 7}, {"x": X, "y": LABELS, "batch_size": 0}, {"x": [(X, LABELS[:2])]}]
)
def test_a_call_that_is_refused_leaves_the_sizes_open(arguments: dict[str, Any]) -> None:
    net = unsized()
    trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.Adam())
    with pytest.raises(ValueError, match=r"class indices|batch_size|batch 0"):
        trainer.fit(**arguments, progress=False)
    assert repr(net) == repr(unsized())
    assert net(X[:, :7, :7]).shape == (6, 3)
    other = pn.Trainer(unsized(), pn.CrossEntropyLoss(), pn.Adam())
    with pytest.raises(ValueError, match=r"class indices|batch_size|batch 0"):
        other.fit(**arguments, progress=False)
    other.fit(X, LABELS, progress=False)
    assert repr(other.net) == repr(sized())


def test_adapt_tells_the_size() -> None:
    assert repr(pn.Normalize().adapt(X)) == "Normalize(3)"


def test_a_trainer_without_sizes_is_like_any_other() -> None:
    trainer = pn.Trainer(pn.Sequential(pn.Linear(8), pn.Linear(3)), pn.CrossEntropyLoss(), pn.Adam(0.01), seed=3)
    assert (trainer.backend.name, trainer.steps, trainer.history.epochs) == ("cpu", 0, [])
    assert repr(trainer.optimizer) == repr(pn.Adam(0.01))
    x, y = np.ones((6, 4)), np.arange(6) % 3
    losses = []
    for copied in (trainer, copy.deepcopy(trainer), pickle.loads(pickle.dumps(trainer))):
        losses.append(copied.fit(x, y, epochs=2, progress=False)["loss"])
    assert losses[0] == losses[1] == losses[2]
    with pytest.raises(ValueError, match="device 'foo' is unknown"):
        pn.Trainer(pn.Linear(3), pn.MSELoss(), pn.SGD(0.1), device="foo")


def test_layers_that_are_appended_without_sizes_after_training_need_a_new_trainer() -> None:
    x, y = np.ones((6, 4)), np.arange(6) % 3
    net = pn.Sequential(pn.Linear(8), pn.ReLU(), pn.Linear(3))
    trainer = pn.Trainer(net, pn.CrossEntropyLoss(), pn.SGD(0.1))
    trainer.fit(x, y, progress=False)
    kept = net.get_weights()["0.weight"]
    net[-1] = pn.Linear(5)
    for use in (trainer.fit, trainer.evaluate):
        with pytest.raises(RuntimeError, match="make a new Trainer"):
            use(x, y)
    net[:2].freeze()
    again = pn.Trainer(net, pn.CrossEntropyLoss(), pn.SGD(0.1))
    again.fit(x, y, progress=False)
    np.testing.assert_array_equal(net.get_weights()["0.weight"], kept)
    assert repr(net[-1]) == "Linear(8, 5)"


def test_the_output_shape_is_told_before_the_size_is_known() -> None:
    net = pn.Sequential(pn.Conv2D(8, 3), pn.BatchNorm(), pn.Flatten(), pn.Linear(10))
    assert net.output_shape((5, 5, 2)) == (10,)
    assert net.topology.unsized


def test_images_without_a_channel_axis_are_told_apart() -> None:
    net = pn.Sequential(pn.Conv2D(8, 3), pn.Flatten(), pn.Linear(10))
    with pytest.raises(ValueError, match=r"got \(N, 28, 28\): give x\[..., None\], with one channel"):
        net(np.zeros((2, 28, 28)))
