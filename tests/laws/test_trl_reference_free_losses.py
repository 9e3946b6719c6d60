"""Equality with the losses of TRL's experimental CPO and ORPO trainers on the same log-probs."""

from types import SimpleNamespace

import pytest
import torch

from preflens import OBJECTIVES
from tests.cases.logps import drawn_logps

EXACT = {"rtol": 1e-9, "atol": 1e-12}
FLOAT32 = {"rtol": 1e-5, "atol": 1e-6}  # TRL's odds ratio is in float32


@pytest.fixture(scope="module")
def trainers():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
        from trl.experimental.cpo import CPOTrainer
        from trl.experimental.orpo import ORPOTrainer
    return SimpleNamespace(cpo=CPOTrainer, orpo=ORPOTrainer)


def cpo_loss(trainers, chosen, rejected, **settings):
    values = {"alpha": 0.0, "label_smoothing": 0.0, "accelerator": SimpleNamespace(device="cpu"), **settings}
    return trainers.cpo.cpo_loss(SimpleNamespace(**values), chosen, rejected)[0]


def per_token(logps):
    return logps.chosen / logps.chosen_tokens, logps.rejected / logps.rejected_tokens


@pytest.mark.parametrize(("beta", "gamma"), [(2.0, 1.0), (10.0, 3.0)])
def test_simpo_is_that_of_trl(trainers, beta, gamma):
    logps = drawn_logps()
    theirs = cpo_loss(trainers, *per_token(logps), loss_type="simpo", beta=beta, simpo_gamma=gamma)
    torch.testing.assert_close(OBJECTIVES["simpo"](beta=beta, gamma=gamma).loss(logps), theirs, **EXACT)


@pytest.mark.parametrize("alpha", [0.25, -0.5, 1.0])
def test_alphapo_is_that_of_trl(trainers, alpha):
    logps = drawn_logps()
    theirs = cpo_loss(trainers, *per_token(logps), loss_type="simpo", beta=2.5, simpo_gamma=0.1, alpha=alpha)
    torch.testing.assert_close(OBJECTIVES["alphapo"](alpha=alpha).loss(logps), theirs, **EXACT)


def test_cpo_and_slic_without_likelihood_are_those_of_trl(trainers):
    logps = drawn_logps()
    theirs = cpo_loss(trainers, logps.chosen, logps.rejected, loss_type="sigmoid", beta=0.1)
    torch.testing.assert_close(OBJECTIVES["cpo"](lam=0.0).loss(logps), theirs, **EXACT)
    delta = 4.0  # TRL's hinge is in units of δ = 1/β
    theirs = cpo_loss(trainers, logps.chosen, logps.rejected, loss_type="hinge", beta=1 / delta)
    torch.testing.assert_close(OBJECTIVES["slic"](delta=delta, lam=0.0).loss(logps), delta * theirs, **EXACT)


def test_the_odds_ratio_of_orpo_is_that_of_trl(trainers):
    logps = drawn_logps()
    trainer = SimpleNamespace(beta=0.1, accelerator=SimpleNamespace(device="cpu"))
    theirs = -trainers.orpo.odds_ratio_loss(trainer, *per_token(logps))[0]
    ours = OBJECTIVES["orpo"](lam=0.1).loss(logps) + logps.chosen / logps.chosen_tokens
    torch.testing.assert_close(ours.float(), theirs.float(), **FLOAT32)
