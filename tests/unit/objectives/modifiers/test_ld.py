"""Length desensitization."""

import torch

from preflens import OBJECTIVES, parse_objective
from preflens.objectives.modifiers.ld import ld
from tests.cases.logps import drawn_logps


def test_all_tokens_at_full_weight_are_the_plain_objective():
    logps = drawn_logps()
    plain, same = OBJECTIVES["dpo"]().coefficients(logps), parse_objective("dpo@ld:alpha=1").coefficients(logps)
    torch.testing.assert_close(same.chosen, plain.chosen)
    torch.testing.assert_close(same.rejected, plain.rejected)


def test_tokens_beyond_the_shorter_response_get_the_weight_alpha():
    logps = drawn_logps()
    shared = torch.minimum(logps.chosen_tokens, logps.rejected_tokens)
    changed = ld(alpha=0.25).change(logps)
    for pair in range(4):
        values = logps.chosen_token_logps[pair, : logps.chosen_tokens[pair]]
        expected = values[: shared[pair]].sum() + 0.25 * values[shared[pair] :].sum()
        torch.testing.assert_close(changed.chosen[pair], expected)
