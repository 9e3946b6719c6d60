"""Forecasts of several passes become one result, chosen responses first."""

import torch

from preflens.training.probe.forecasts import PassForecast, join_forecasts
from preflens.types import PairGram


def vector(*values):
    return torch.tensor(values, dtype=torch.float64)


def forecast(logps, changes):
    pairs = len(logps) // 2
    gram = PairGram(torch.ones(pairs).double(), torch.ones(pairs).double(), logps[:pairs] / 100)
    return PassForecast(logps, gram, torch.stack(changes))


def test_passes_are_joined_in_order_for_both_updates():
    first = forecast(vector(-1, -2), [vector(1, 2), vector(10, 20)])
    second = forecast(vector(-3, -5, -4, -6), [vector(3, 5, 4, 6), vector(30, 50, 40, 60)])
    result = join_forecasts([first, second], (), supported=True)
    assert result.chosen_logp.tolist() == [-1, -3, -5]
    assert result.rejected_logp.tolist() == [-2, -4, -6]
    assert result.plain.chosen.tolist() == [1, 3, 5]
    assert result.optimizer.rejected.tolist() == [20, 40, 60]
    assert result.gram.inner_product.tolist() == [-0.01, -0.03, -0.05]
    assert result.coefficients is None
    assert join_forecasts([first], (), supported=False).optimizer is None
