"""The update of a batch, with pairs that step and pairs that only constrain it."""

import torch

from preflens.mitigations.kinds.batch_update import update_of
from preflens.types import PairCoefficients
from tests.cases.geometries import gram_of_rows


def test_constraint_pairs_have_weight_zero_and_are_free():
    rows = [[1.0, 0.0], [0.0, 2.0], [1.0, 1.0], [0.0, -1.0]]  # chosen of both pairs, then rejected
    c = PairCoefficients(torch.tensor([0.5], dtype=torch.float64), torch.tensor([0.25], dtype=torch.float64))
    update = update_of(c, gram_of_rows(rows))
    assert update.weights.tolist() == [0.5, 0.0, -0.25, 0.0]
    assert update.signs.tolist() == [1, 1, -1, -1]
    assert update.free.tolist() == [True, True, True, True]
    assert update.pairs == 1
    assert update.untreated.tolist() == [False]
    assert update.size(update.weights) == (0.25**2 + 0.25**2) ** 0.5  # 0.5·(1, 0) − 0.25·(1, 1)
    again = update.coefficients(update.weights)
    assert again.chosen.tolist() == [0.5, 0.0]
    assert again.rejected.tolist() == [0.25, 0.0]


def test_a_pair_with_a_negative_coefficient_is_untreated():
    c = PairCoefficients(torch.tensor([-0.5], dtype=torch.float64), torch.tensor([0.25], dtype=torch.float64))
    assert update_of(c, gram_of_rows([[1.0, 0.0], [0.0, 1.0]])).untreated.tolist() == [True]
