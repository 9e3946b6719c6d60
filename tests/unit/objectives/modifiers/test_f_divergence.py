"""Divergences other than the reverse KL."""

from dataclasses import replace

import pytest
import torch

from preflens import OBJECTIVES, parse_objective
from preflens.errors import NumericalError
from preflens.objectives.modifiers.f_divergence import forward_kl
from tests.cases.logps import drawn_logps


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


def test_a_score_that_overflows_is_a_named_error():
    logps = replace(drawn_logps(), chosen=torch.full((32,), -2000.0, dtype=torch.float64))
    with pytest.raises(NumericalError, match="no finite loss for pair 0"):
        parse_objective("dpo@forward_kl").loss(logps)


def test_the_score_takes_the_place_of_the_log_ratio():
    logps = drawn_logps()
    changed = forward_kl().change(logps)
    torch.testing.assert_close(changed.chosen_side.log_ratio, 1 - torch.exp(logps.ref_chosen - logps.chosen))
