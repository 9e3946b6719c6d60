"""The margin form, with functions whose derivatives are known by heart."""

import torch

from preflens.objectives.kinds.base import Citation
from preflens.objectives.kinds.margin import MarginObjective
from preflens.pair_logps import PairLogps

SOURCE = Citation("t", "a", 2026, "", "")


def test_the_loss_is_minus_the_margin_function_and_the_regularizer():
    objective = MarginObjective(
        "x", lambda z: z, lambda r: 2 * r.logp, lambda r: 3 * r.logp, SOURCE, regularizer=lambda r: r.logp**2
    )
    logps = PairLogps(torch.tensor([-1.0]), torch.tensor([-2.0]))
    assert objective.loss(logps).tolist() == [-(2 * -1 - 3 * -2 + 1.0)]
    c = objective.coefficients(logps)
    assert (c.chosen.item(), c.rejected.item()) == (2 + 2 * -1, 3.0)
    assert objective.kind == "margin"
    assert not objective.needs_reference
    assert not objective.uses_length
