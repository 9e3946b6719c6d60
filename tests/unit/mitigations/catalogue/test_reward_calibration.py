"""Reward calibration: the balance of a batch, averaged over updates."""

import numpy as np
import pytest
import torch

from preflens.mitigations import parse_mitigation
from preflens.mitigations.catalogue.reward_calibration import reward_calibration
from preflens.types import PairCoefficients
from tests.cases.geometries import drawn_coefficients, drawn_gradients, gram_of
from tests.cases.mitigations import drawn


def test_reward_calibration_is_normalized_for_a_batch_of_one_pair_and_remembers():
    gradients = drawn_gradients(1)
    gram, c = gram_of(gradients), drawn_coefficients(1)
    mitigation = parse_mitigation("reward_calibration")
    found = mitigation.apply(c, gram)
    torch.testing.assert_close(
        found.coefficients.chosen, parse_mitigation("normalized").apply(c, gram).coefficients.chosen
    )
    again = mitigation.apply(PairCoefficients(c.chosen * 4, c.rejected), gram, found.state)
    assert again.state.updates == 2
    # log D_w rose by 0.02 · log 4, and k is its inverse square root
    expected = found.report["log_k"] - 0.5 * 0.02 * np.log(4)
    assert again.report["log_k"] == pytest.approx(expected)


def test_reward_calibration_leaves_a_batch_alone_whose_mean_coefficient_is_negative():
    _, gram, c = drawn(2)
    found = parse_mitigation("reward_calibration").apply(PairCoefficients(-c.chosen, c.rejected), gram)
    assert found.untreated.all()
    assert found.state is None


def test_the_factor_balances_mean_coefficients_and_norms_of_mean_gradients():
    gradients, gram, c = drawn(4)
    norms = [gradients[part].mean(0).norm() for part in (slice(4), slice(4, 8))]
    expected = 0.5 * torch.log(norms[1] / norms[0] * c.rejected.mean() / c.chosen.mean())
    assert reward_calibration().apply(c, gram).report["log_k"] == pytest.approx(expected.item())
