"""Outcomes, conditions and band positions of pairs whose numbers can be checked by hand."""

import pytest
import torch

from preflens.dynamics import (
    RELATIVE_TOLERANCE,
    band_position,
    cancellation_tolerance,
    classify,
    gradient_condition,
    predict_change,
)
from preflens.records.outcome import Outcome
from preflens.types import BatchGram, LogpChange, PairCoefficients
from tests.cases.geometries import gram_of_rows as geometry


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(
    ("chosen", "rejected", "outcome"),
    [
        (0.2, -0.3, Outcome.INTENDED),
        (0.2, 0.3, Outcome.BOTH_RISE),
        (-0.2, -0.3, Outcome.BOTH_FALL),
        (-0.2, 0.3, Outcome.REVERSED),
        (0.2, 0.0, Outcome.UNCHANGED),
        (0.0, -0.3, Outcome.UNCHANGED),
        (0.2, 0.01, Outcome.UNCHANGED),
        (-0.01, 0.3, Outcome.UNCHANGED),
        (0.02, -0.3, Outcome.UNCHANGED),
        (0.2, -0.02, Outcome.UNCHANGED),
        (0.0, 0.0, Outcome.UNCHANGED),
    ],
)
def test_an_outcome_is_the_two_directions_and_unchanged_where_either_does_not_move(chosen, rejected, outcome):
    change, limit = LogpChange(tensor(chosen), tensor(rejected)), LogpChange(tensor(0.02), tensor(0.02))
    assert classify(change, limit) == classify(change, 0.02) == (outcome,)


def test_band_is_undefined_for_coefficients_that_are_not_positive():
    gram = geometry([[1.0, 0.0], [0.5, 0.5]]).pair_gram()
    assert band_position(gram, PairCoefficients(tensor(-1.0), tensor(1.0))).slack.isnan().all()
    assert band_position(gram, PairCoefficients(tensor(1.0), tensor(0.0))).slack.isnan().all()


def test_every_ratio_is_inside_the_band_of_opposed_gradients():
    gram = geometry([[1.0, 0.0], [-0.5, 0.5]]).pair_gram()
    assert band_position(gram, PairCoefficients(tensor(1e6), tensor(1e-6))).slack.item() == torch.inf


def test_the_change_of_a_batch_has_the_terms_of_other_pairs_and_the_mean():
    # chosen gradients (1, 0) and (0, 2), rejected (1, 1) and (0, 0): the update is (0.5, 0.5·2 − 0.25)/2 and so on
    gram = geometry([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0], [0.0, 0.0]])
    c = PairCoefficients(tensor(0.5, 0.25), tensor(0.25, 1.0))
    update = tensor(0.5 - 0.25, 0.25 * 2 - 0.25) / 2
    change = predict_change(gram, c, learning_rate=0.1)
    torch.testing.assert_close(change.chosen, 0.1 * tensor(update[0], 2 * update[1]))
    torch.testing.assert_close(change.rejected, 0.1 * tensor(update.sum(), 0.0))


def test_slacks_of_blocks_add_up_to_the_slack_of_their_sum():
    first, second = (geometry(rows).pair_gram() for rows in ([[1.0], [2.0]], [[3.0], [-1.0]]))
    matrix = torch.stack([geometry([[1.0], [2.0]]).matrix, geometry([[3.0], [-1.0]]).matrix])
    gram = BatchGram(matrix, torch.zeros(2, dtype=torch.float64), ("a", "b")).pair_gram()
    c = PairCoefficients(tensor(0.3), tensor(0.7))
    slack = gradient_condition(gram, c)
    torch.testing.assert_close(slack.chosen[:, 0], tensor(0.3 * 1 - 0.7 * 2, 0.3 * 9 + 0.7 * 3))
    torch.testing.assert_close(slack.rejected.sum(0), gradient_condition(gram.total(), c).rejected)
    assert torch.equal(slack.chosen[0], gradient_condition(first, c).chosen)
    assert torch.equal(slack.rejected[1], gradient_condition(second, c).rejected)


def test_the_tolerance_is_a_share_of_the_larger_of_the_two_terms():
    gram = geometry([[1.0, 0.0], [3.0, 0.0]]).pair_gram()  # norms 1 and 9, product 3
    limit = cancellation_tolerance(gram, PairCoefficients(tensor(-2.0), tensor(0.5)), learning_rate=0.1)
    torch.testing.assert_close(limit.chosen, tensor(0.1 * RELATIVE_TOLERANCE * 2.0))  # 2·1 over 0.5·3
    torch.testing.assert_close(limit.rejected, tensor(0.1 * RELATIVE_TOLERANCE * 6.0))  # 2·3 over 0.5·9
