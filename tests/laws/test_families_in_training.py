"""Families that are no plain stack of known layers, watched and measured in training."""

import copy

import pytest
import torch

from preflens.training import PreferenceTrainer
from tests.cases.families import FAMILIES, tiny_family
from tests.cases.training import final_state, make_trainer
from tests.support.probed_runs import ExactTrainer, column, logged, spied, trained

KINDS = ["falcon", "lfm2", "jetmoe", "recurrent_gemma", "mamba2"]


def policy_and_reference(kind):
    model = tiny_family(kind, dtype=torch.float32)
    return {"model": model, "reference": copy.deepcopy(model), "gradient_checkpointing": False}


@pytest.mark.parametrize("kind", KINDS)
def test_a_probed_run_is_the_same_run_and_the_probe_stays_on(kind, tmp_path, caplog):
    with_probe, without = (
        trained(tmp_path / str(probe), probe=probe, max_steps=2, **policy_and_reference(kind))
        for probe in (True, False)
    )
    assert len(logged(with_probe, "measured_chosen")) == 2
    assert "the loss has other terms" not in caplog.text  # what did not come by is no term of the loss
    (tensors, losses), (others, other_losses) = final_state(with_probe), final_state(without)
    assert losses == other_losses
    assert all(torch.equal(a, b) for a, b in zip(tensors, others, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_the_plain_forecast_is_that_of_brute_force(kind, tmp_path):
    trainer, spy, table = spied(tmp_path, optim="sgd", max_grad_norm=0.0, **policy_and_reference(kind))
    (gram,) = spy.grams
    c = torch.cat([column(table, "chosen_coefficient"), -column(table, "rejected_coefficient")])
    expected = trainer.args.learning_rate / gram.pairs * gram.matrix @ c
    found = torch.cat([column(table, "plain_chosen"), column(table, "plain_rejected")])
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_geometry_read_off_a_training_step_is_that_of_brute_force(kind, tmp_path):
    trainer = make_trainer(
        tmp_path, trainer=ExactTrainer, objective="dpo", geometry_every=1, max_steps=2, **policy_and_reference(kind)
    )
    trainer.train()
    found = [log["preflens/cosine"] for log in trainer.state.log_history if "preflens/cosine" in log]
    assert found[-1] == pytest.approx(float(trainer.exact.cosine.mean()), abs=2e-5)


@pytest.mark.parametrize("name", ["mamba2", "trainable tokens"])
def test_a_mitigated_step_forms_the_gradients_of_such_parameters_too(name, tmp_path):
    if name == "mamba2":
        given = policy_and_reference(name)
    else:
        given = {"model": FAMILIES[name]().float(), "gradient_checkpointing": False}
    model = given["model"]
    trainer = make_trainer(
        tmp_path, trainer=PreferenceTrainer, objective="dpo", mitigation="normalized", max_steps=1, **given
    )
    before = {n: p.clone() for n, p in model.named_parameters() if p.requires_grad}
    trainer.train()
    there = {n for n, p in model.named_parameters() if p.requires_grad and not torch.equal(p, before[n])}
    assert {n for n in before if "conv1d.weight" in n or "tokens_delta" in n} <= there
