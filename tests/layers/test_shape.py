import numpy as np
import pytest

import portanet as pn


def test_a_shape_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Reshape\(5, 2\) cannot take inputs of shape \(6,\), 6 numbers each"):
        pn.Reshape(5, 2)(np.ones((2, 6)))
    with pytest.raises(ValueError, match="cannot take inputs"):
        pn.Reshape(4, -1).output_shape((6,))


@pytest.mark.parametrize("shape", [(-1, -1), (0, 3), (-2,)], ids=str)
def test_shapes_are_checked(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="shape must"):
        pn.Reshape(*shape)


def test_flatten_of_rows_changes_nothing() -> None:
    assert pn.Flatten()(np.ones((2, 6))).shape == (2, 6)
