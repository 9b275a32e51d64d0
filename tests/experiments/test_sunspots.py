"""Forecasts of a series."""

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="experiments draw with matplotlib")

from experiments.sunspots import autoregression, forecast
from portanet import RNN


def test_a_forecast_is_an_input_of_the_next() -> None:
    linear = RNN(1, 1, return_sequences=True).initialize(dtype="float64")
    for name, value in {"weight_ih": 1e-6, "weight_hh": 0, "bias_ih": 0, "bias_hh": 0}.items():
        getattr(linear, name).data[...] = value
    np.testing.assert_allclose(forecast(linear, np.array([5.0, 1.0]), 3), [1e-6, 1e-12, 1e-18], rtol=1e-9)


def test_autoregression_finds_a_linear_law() -> None:
    x = [1.0, 2.0]
    for _ in range(30):
        x.append(1.2 * x[-1] - 0.9 * x[-2] + 0.5)
    series = np.array(x)
    forecasts = autoregression(series, 10, 2)
    assert forecasts.shape == (31,)
    np.testing.assert_allclose(forecasts[1:], series[2:], rtol=1e-9)
    changed = np.append(series[:10], series[10:] + 1)  # values after those of training change no coefficient
    np.testing.assert_allclose(autoregression(changed, 10, 2)[:9], forecasts[:9], rtol=1e-12)
