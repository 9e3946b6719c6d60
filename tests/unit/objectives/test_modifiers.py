"""Modifiers: what each leaves alone, what it changes, and what it refuses. Equality with TRL is in the laws."""

from dataclasses import replace

import pytest
import torch

from preflens import MODIFIERS, OBJECTIVES, modified, parse_objective
from preflens.errors import MissingInputError, NumericalError, ObjectiveError
from tests.cases.logps import drawn_logps


def test_all_tokens_at_full_weight_are_the_plain_objective():
    logps = drawn_logps()
    plain, same = OBJECTIVES["dpo"]().coefficients(logps), parse_objective("dpo@ld:alpha=1").coefficients(logps)
    torch.testing.assert_close(same.chosen, plain.chosen)
    torch.testing.assert_close(same.rejected, plain.rejected)


def test_the_alpha_divergence_at_one_is_the_reverse_kl_and_near_one_close_to_it():
    logps = drawn_logps()
    plain = OBJECTIVES["dpo"]().loss(logps)
    torch.testing.assert_close(parse_objective("dpo@alpha_divergence:alpha=1").loss(logps), plain)
    torch.testing.assert_close(
        parse_objective("dpo@alpha_divergence:alpha=1.0001").loss(logps), plain, rtol=1e-4, atol=0
    )


@pytest.mark.parametrize(
    ("name", "slope"),
    [
        ("forward_kl", lambda a: torch.exp(-a)),
        ("js_divergence", lambda a: torch.sigmoid(-a)),
        ("alpha_divergence", lambda a: torch.exp(-0.5 * a)),
    ],
)
def test_a_divergence_multiplies_each_coefficient_by_the_slope_of_its_score(name, slope):
    logps = drawn_logps()
    c = parse_objective(f"dpo@{name}").coefficients(logps)
    a, b = logps.chosen - logps.ref_chosen, logps.rejected - logps.ref_rejected
    torch.testing.assert_close(c.chosen / c.rejected, slope(a) / slope(b))


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


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nca@forward_kl", "`forward_kl` does not go with objective `nca`: it is defined for losses of a difference"),
        ("simpo@js_divergence", "does not go with objective `simpo`"),
        ("aot@wpo", "sorts the batch"),
        ("slime@ld", "it weights tokens itself"),
        ("dpo@ld@ld", "`ld` was given twice"),
        ("dpo@ld:alpha=2", r"`alpha` of objective `ld` should be in \[0, 1\]"),
    ],
)
def test_what_does_not_go_together_is_refused(text, reason):
    with pytest.raises(ObjectiveError, match=reason):
        parse_objective(text)


def test_a_score_that_overflows_is_a_named_error():
    logps = replace(drawn_logps(), chosen=torch.full((32,), -2000.0, dtype=torch.float64))
    with pytest.raises(NumericalError, match="no finite loss for pair 0"):
        parse_objective("dpo@forward_kl").loss(logps)


@pytest.mark.parametrize("name", MODIFIERS)
def test_every_modifier_has_a_paper_and_says_what_it_does(name):
    modifier = MODIFIERS[name]()
    assert modifier.name == name
    assert modifier.source.arxiv in MODIFIERS[name].__doc__
    assert modified(OBJECTIVES["dpo"](), modifier).name == f"dpo@{name}"
