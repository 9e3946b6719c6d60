"""Weights of pairs by their probability under the policy."""

from dataclasses import replace

import pytest
import torch

from preflens import parse_objective
from preflens.errors import MissingInputError
from preflens.objectives.modifiers.wpo import wpo
from tests.cases.logps import drawn_logps


def test_weighting_keeps_the_ratio_of_coefficients_and_is_not_differentiated():
    logps = drawn_logps()
    weighted, plain = (parse_objective(n).coefficients(logps) for n in ("simpo@wpo", "simpo"))
    torch.testing.assert_close(weighted.chosen / weighted.rejected, plain.chosen / plain.rejected)
    weight = 1.0
    for side in ("chosen", "rejected"):
        level = getattr(logps, f"{side}_token_logps") - getattr(logps, f"{side}_log_sum_sq_probs")
        weight = weight * torch.exp(level.sum(1) / getattr(logps, f"{side}_tokens"))
    torch.testing.assert_close(weighted.chosen, weight * plain.chosen)


def test_weighting_needs_the_confidence_of_tokens():
    logps = replace(drawn_logps(), chosen_log_sum_sq_probs=None)
    with pytest.raises(MissingInputError, match="sums of squared probabilities of the tokens were not given"):
        parse_objective("dpo@wpo").loss(logps)


def test_a_weight_has_no_graph():
    logps = drawn_logps()
    live = replace(logps, chosen_token_logps=logps.chosen_token_logps.clone().requires_grad_())
    assert not wpo().weight(live).requires_grad
