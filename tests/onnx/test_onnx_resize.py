"""Resize as Upsample: what is loaded computes the same as ONNX's own evaluator."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import portanet as pn
from portanet.onnx import load

MODES = ("nearest", "linear", "cubic")
COORDINATES = ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric", "align_corners", "asymmetric")
NEAREST_MODES = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
LENGTHS = (4, 3)


def resize(scales: tuple[int, int], **attributes: Any) -> onnx.ModelProto:
    """Return a model of one node."""
    node = helper.make_node("Resize", ["x", "", "s"], ["y"], name="the Resize", **attributes)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2, *LENGTHS])
    lengths = [n * scale for n, scale in zip(LENGTHS, scales, strict=True)]
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2, *lengths])
    tensors = [numpy_helper.from_array(np.asarray([1, 1, *scales], "float32"), "s")]
    graph = helper.make_graph([node], "g", [x], [y], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def loaded(path: Path, model: onnx.ModelProto, x: np.ndarray) -> np.ndarray | None:
    """Return the output of the network of a model, or None if it is refused."""
    path.write_bytes(model.SerializeToString())
    try:
        net = load(path)
    except pn.FileFormatError:
        return None
    return np.moveaxis(net.predict(np.moveaxis(x, 1, -1)), -1, 1)


@pytest.mark.parametrize("scales", [(1, 1), (2, 2), (3, 3), (2, 5), (1, 4)])
@pytest.mark.parametrize(("mode", "coordinates"), [*product(MODES, COORDINATES)])
def test_a_loaded_resize_is_that_of_onnx(mode: str, coordinates: str, scales: tuple[int, int], tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(2, 2, *LENGTHS)).astype("float32")
    for nearest_mode in NEAREST_MODES if mode == "nearest" else NEAREST_MODES[:1]:
        how = {"mode": mode, "coordinate_transformation_mode": coordinates, "nearest_mode": nearest_mode}
        model = resize(scales, **how)
        y = loaded(tmp_path / "f.onnx", model, x)
        if y is not None:
            outputs: Any = ReferenceEvaluator(model).run(None, {"x": x})
            np.testing.assert_allclose(y, outputs[0], rtol=1e-5, atol=1e-6, err_msg=str(how))


@pytest.mark.parametrize(
    "how",
    [
        {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
        {"coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_ceil"},
        {"coordinate_transformation_mode": "half_pixel"},
        {"coordinate_transformation_mode": "pytorch_half_pixel"},
        {"coordinate_transformation_mode": "half_pixel", "mode": "linear"},
    ],
)
def test_the_resize_of_other_tools_is_loaded(how: dict[str, Any], tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(2, 2, *LENGTHS)).astype("float32")
    assert loaded(tmp_path / "f.onnx", resize((2, 3), **how), x) is not None
