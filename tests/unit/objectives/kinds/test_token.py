"""Losses of tokens."""

import torch

from preflens.objectives.kinds.base import Citation
from preflens.objectives.kinds.token import TokenObjective
from preflens.pair_logps import PairLogps


def test_gradients_reach_tokens_directly_and_through_the_sum():
    rows, mask = torch.tensor([[-1.0, -2.0], [-3.0, -9.0]]), torch.tensor([[True, True], [True, False]])

    def of_tokens(chosen, rejected):
        return -chosen.logp - chosen.token_logps[:, 1] + rejected.logp

    objective = TokenObjective("x", of_tokens, Citation("t", "a", 2026, "", ""))
    logps = PairLogps.from_rows(rows, mask)
    assert objective.loss(logps).tolist() == [3.0 + 2.0 - 3.0]
    c = objective.coefficients(logps)
    assert c.per_token.chosen.tolist() == [[1.0, 2.0]]
    assert c.per_token.rejected.tolist() == [[1.0, 0.0]]
    assert (c.chosen.item(), c.rejected.item(), objective.kind) == (1.5, 1.0, "token")
