"""A loss with mitigated coefficients."""

import pytest
import torch

from preflens.errors import UnsupportedObjectiveError
from preflens.mitigations.parse import parse_mitigation
from preflens.objectives.parse import parse_objective
from preflens.pair_logps import PairLogps
from preflens.training.mitigation.two_pass import TwoPassReweighting
from preflens.types import BatchGram, PairCoefficients
from tests.support.stub_trainer import StubTrainer


def pairs():
    chosen = torch.tensor([-3.0, -4.0], dtype=torch.float64, requires_grad=True)
    rejected = torch.tensor([-5.0, -4.5], dtype=torch.float64, requires_grad=True)
    zeros = torch.zeros(2, dtype=torch.float64)
    return PairLogps(chosen, rejected, ref_chosen=zeros, ref_rejected=zeros)


def gram():
    g = torch.Generator().manual_seed(0)
    factors = torch.randn(4, 6, generator=g, dtype=torch.float64)
    return BatchGram(factors @ factors.T, torch.zeros(4, dtype=torch.float64))


def test_the_loss_keeps_its_value_and_has_the_mitigated_derivatives():
    mitigation, objective, logps = parse_mitigation("normalized"), parse_objective("dpo:beta=1"), pairs()
    loss = objective.loss(logps).mean()
    strategy = TwoPassReweighting(mitigation, StubTrainer())
    reweighted = strategy.reweighted(loss, logps, gram)
    assert reweighted.item() == loss.item()
    found = torch.autograd.grad(reweighted, (logps.chosen, logps.rejected))
    margin = (logps.chosen - logps.rejected).detach()
    d = torch.sigmoid(-margin)  # β σ(−β u) with β = 1
    expected = mitigation.apply(PairCoefficients(d, d), gram()).coefficients
    torch.testing.assert_close(found[0], -expected.chosen / 2)
    torch.testing.assert_close(found[1], expected.rejected / 2)


def test_a_loss_of_single_tokens_is_refused():
    logps = pairs()
    strategy = TwoPassReweighting(parse_mitigation("normalized"), StubTrainer())
    with pytest.raises(UnsupportedObjectiveError, match="whole responses"):
        strategy.reweighted(logps.chosen.sum(), logps, gram)
