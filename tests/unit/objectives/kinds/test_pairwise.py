"""Losses of two responses."""

import torch

from preflens.objectives.kinds.base import Citation
from preflens.objectives.kinds.pairwise import PairwiseObjective
from preflens.pair_logps import PairLogps


def test_a_detached_factor_is_a_constant_for_the_coefficients():
    def of_pair(chosen, rejected):
        return -chosen.logp.detach() * chosen.logp + rejected.logp**2

    objective = PairwiseObjective("x", of_pair, Citation("t", "a", 2026, "", ""))
    logps = PairLogps(torch.tensor([-2.0]), torch.tensor([-3.0]))
    assert objective.loss(logps).tolist() == [-4.0 + 9.0]
    c = objective.coefficients(logps)
    assert (c.chosen.item(), c.rejected.item(), objective.kind) == (-2.0, -6.0, "pairwise")
