"""Laws of objectives and modifiers that work token by token."""

from dataclasses import replace

import pytest
import torch

from preflens import OBJECTIVES, PairLogps, parse_objective
from preflens.errors import MissingInputError
from tests.cases.logps import drawn_logps, one_at
from tests.oracles import having, oracle

CLOSE = {"rtol": 1e-11, "atol": 1e-12}
every_token_objective = pytest.mark.parametrize("name", having("token_coefficients"))


@every_token_objective
def test_token_coefficients_equal_the_closed_form_and_are_zero_at_padding(name):
    logps = drawn_logps(spread=2.0)
    found = parse_objective(name).coefficients(logps)
    truth = oracle(name).token_coefficients(logps)
    for ours, exact in zip((found.per_token.chosen, found.per_token.rejected), truth, strict=True):
        for row, expected in zip(ours, exact, strict=True):
            torch.testing.assert_close(row[: len(expected)], torch.tensor(expected, dtype=torch.float64), **CLOSE)
            assert not row[len(expected) :].any()


@every_token_objective
def test_coefficients_of_responses_are_means_over_their_tokens(name):
    logps = drawn_logps()
    found = parse_objective(name).coefficients(logps)
    torch.testing.assert_close(found.chosen, found.per_token.chosen.sum(1) / logps.chosen_tokens)
    torch.testing.assert_close(found.rejected, found.per_token.rejected.sum(1) / logps.rejected_tokens)


@every_token_objective
@pytest.mark.parametrize("side", ["chosen", "rejected"])
def test_token_coefficients_are_the_gradient_of_the_loss_by_finite_differences(name, side):
    objective, logps, step = parse_objective(name), drawn_logps(pairs=4), 1e-5
    found = getattr(objective.coefficients(logps).per_token, side) * (-1 if side == "rejected" else 1)
    values = getattr(logps, f"{side}_token_logps")
    for row in range(4):
        for column in range(int(getattr(logps, f"{side}_tokens")[row])):
            losses = []
            for h in (step, -step):
                tokens = values + h * one_at(values, row, column)
                there = replace(logps, **{side: tokens.sum(1), f"{side}_token_logps": tokens})
                losses.append(objective.loss(there).sum())
            slope = (losses[0] - losses[1]) / (2 * step)
            torch.testing.assert_close(-slope, found[row, column], rtol=1e-6, atol=1e-7)


@every_token_objective
def test_what_stands_at_padding_does_not_matter(name):
    logps = drawn_logps()
    columns = torch.arange(12)
    noise = {
        f"{which}{side}_token_logps": getattr(logps, f"{which}{side}_token_logps").masked_fill(
            columns >= getattr(logps, f"{side}_tokens")[:, None], torch.nan
        )
        for side in ("chosen", "rejected")
        for which in ("", "ref_")
    }
    objective = parse_objective(name)
    assert torch.equal(objective.loss(replace(logps, **noise)), objective.loss(logps))
    noisy, clean = (objective.coefficients(x).per_token for x in (replace(logps, **noise), logps))
    assert torch.equal(noisy.chosen, clean.chosen)
    assert torch.equal(noisy.rejected, clean.rejected)


def test_slime_holds_up_unlikely_rejected_tokens():
    one, count = torch.full((1,), -40.0, dtype=torch.float64), torch.ones(1, dtype=torch.long)
    near = torch.full((1,), -1.0, dtype=torch.float64)
    logps = PairLogps(near, one, None, None, count, count, near[:, None], one[:, None])
    assert OBJECTIVES["slime"]().coefficients(logps).rejected.item() < 0


@pytest.mark.parametrize("name", ["slime", "dpo@ld", "dpo@wpo"])
def test_missing_token_log_probs_are_named(name):
    zero, count = torch.zeros(2), torch.ones(2, dtype=torch.long)
    logps = PairLogps(zero, zero, zero, zero, count, count)
    with pytest.raises(MissingInputError, match="log-probs of the tokens were not given"):
        parse_objective(name).loss(logps)
    with pytest.raises(MissingInputError, match="log-probs of the tokens were not given"):
        parse_objective(name).coefficients(logps)
