"""Coefficients and inputs of losses whose derivatives are known by heart."""

import pytest
import torch

from preflens.errors import MissingInputError, NumericalError
from preflens.objectives.kinds.coefficients import checked, inputs_of, pair_coefficients, token_coefficients
from preflens.pair_logps import PairLogps


def pairs(chosen, rejected):
    return PairLogps(torch.tensor(chosen), torch.tensor(rejected))


def test_coefficients_are_derivatives_in_float64_whatever_the_type_of_the_log_probs():
    c = pair_coefficients("x", lambda x: x.chosen**2 + 3 * x.rejected, pairs([-1.0, -2.0], [-5.0, -6.0]))
    assert c.chosen.tolist() == [2.0, 4.0]  # −2 a_w
    assert c.rejected.tolist() == [3.0, 3.0]
    assert c.chosen.dtype == torch.float64


def test_a_loss_that_uses_one_side_has_a_zero_coefficient_for_the_other():
    assert pair_coefficients("x", lambda x: -x.chosen, pairs([-1.0], [-2.0])).rejected.tolist() == [0.0]


def test_a_loss_or_derivative_that_is_not_finite_names_the_pair_and_its_log_probs():
    logps = pairs([-1.0, 0.0], [-2.0, -3.0])
    with pytest.raises(
        NumericalError, match=r"Objective `x` has no finite coefficients for pair 1 .* are 0 \(chosen\)"
    ):
        pair_coefficients("x", lambda x: (-x.chosen).sqrt(), logps)
    with pytest.raises(NumericalError, match="has no finite loss for pair 1"):
        checked("x", torch.tensor([1.0, torch.inf]), logps)
    assert checked("x", torch.tensor([1.0, 2.0]), logps).tolist() == [1.0, 2.0]


def test_token_coefficients_are_those_of_the_tokens_and_their_mean():
    rows, mask = torch.tensor([[-1.0, -2.0], [-3.0, -4.0]]), torch.tensor([[True, True], [True, False]])
    logps = PairLogps.from_rows(rows, mask)
    c = token_coefficients("x", lambda x: -(x.chosen_token_logps[:, 0] ** 2) + x.rejected, logps)
    assert c.per_token.chosen.tolist() == [[-2.0, 0.0]]
    assert c.chosen.tolist() == [-1.0]
    assert c.per_token.rejected.tolist() == [[1.0, 0.0]]
    with pytest.raises(MissingInputError, match="Objective `x` weights tokens"):
        token_coefficients("x", lambda x: x.chosen, pairs([-1.0], [-1.0]))


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (lambda x: x.chosen, set()),
        (lambda x: x.chosen_side.log_ratio, {"reference"}),
        (lambda x: x.rejected_side.logp_per_token, {"length"}),
        (lambda x: x.chosen_side.future_log_ratio, {"reference", "future policy"}),
    ],
)
def test_inputs_are_what_the_loss_cannot_do_without(loss, expected):
    assert inputs_of(loss) == expected
