"""Log-probs as objectives take them: alignment, sums, missing parts."""

import pytest
import torch

from preflens import PairLogps
from preflens.errors import MissingInputError
from preflens.pair_logps import ResponseLogps


def rows(*, left_padded):
    """Four responses of 1 to 4 tokens in rows of six positions, prompts of one token."""
    counts = torch.tensor([3, 1, 2, 4])
    values = torch.full((4, 6), torch.nan)
    mask = torch.zeros(4, 6, dtype=torch.bool)
    for row, n in enumerate(counts.tolist()):
        start = 6 - n if left_padded else 1
        mask[row, start : start + n] = True
        values[row, start : start + n] = -torch.arange(1.0, n + 1) - row
    return values, mask, counts


@pytest.mark.parametrize("left_padded", [False, True])
def test_rows_padded_on_either_side_give_the_same_log_probs(left_padded):
    values, mask, counts = rows(left_padded=left_padded)
    logps = PairLogps.from_rows(values, mask, ref_token_logps=2 * values, log_sum_sq_probs=values)
    assert torch.equal(torch.cat([logps.chosen_tokens, logps.rejected_tokens]), counts)
    assert logps.chosen_token_logps.tolist() == [[-1, -2, -3, 0], [-2, 0, 0, 0]]
    assert logps.rejected_token_logps.tolist() == [[-3, -4, 0, 0], [-4, -5, -6, -7]]
    assert logps.chosen.tolist() == [-6, -2]
    assert torch.equal(logps.ref_rejected, 2 * logps.rejected)
    assert torch.equal(logps.ref_chosen_token_logps, 2 * logps.chosen_token_logps)
    assert torch.equal(logps.rejected_log_sum_sq_probs, logps.rejected_token_logps)


def test_gradients_reach_the_tokens_of_responses_and_nothing_else():
    values, mask, _ = rows(left_padded=False)
    live = values.nan_to_num(-1.0).requires_grad_()
    logps = PairLogps.from_rows(live, mask)
    (gradient,) = torch.autograd.grad(logps.chosen.sum() + logps.rejected.sum(), live)
    assert torch.equal(gradient, mask.float())


def test_double_cuts_the_graph_and_keeps_counts_whole():
    values, mask, _ = rows(left_padded=False)
    exact = PairLogps.from_rows(values.nan_to_num(-1.0).requires_grad_(), mask).double()
    assert exact.chosen_token_logps.dtype == torch.float64
    assert not exact.chosen.requires_grad
    assert exact.chosen_tokens.dtype == torch.int64


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda r: r.log_ratio, "no reference log-probs were given"),
        (lambda r: r.logp_per_token, "no token counts were given"),
        (lambda r: r.future_log_ratio, "This objective uses a future policy, and no log-probs under it were given"),
        (lambda r: r.at_tokens(None, "log-probs"), "log-probs of the tokens were not given"),
    ],
)
def test_what_is_missing_is_named(use, message):
    with pytest.raises(MissingInputError, match=message):
        use(ResponseLogps(torch.zeros(2)))
