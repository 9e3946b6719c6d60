"""Held-out coefficients compare with the reference model as it is at the step, whatever moves it."""

import pytest
import torch
from transformers import TrainerCallback
from trl import DPOTrainer
from trl.trainer.utils import use_adapter

from preflens.language_models.batch import collate
from preflens.language_models.logps import response_logps
from preflens.training.probe.callback import PreflensCallback
from preflens.training.probe.held_out import held_out_pairs
from preflens.training.probe.table import ProbeTable
from tests.cases.training import final_state, make_trainer

BETA = 0.1


@pytest.fixture(scope="module")
def bema():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
        from trl.experimental.bema_for_ref_model import BEMACallback, DPOTrainer
    return DPOTrainer, BEMACallback


class Expecting(TrainerCallback):
    """Scores the held-out pairs by the models' own scores before each step, and works out β σ(−β u)."""

    def __init__(self):
        self.trainer, self.found = None, []

    def logps(self, model, pairs):
        with torch.no_grad():
            return response_logps(model, collate(pairs, pad_token_id=0)).double().chunk(2)

    def on_pre_optimizer_step(self, *_, **__):
        trainer = self.trainer
        pairs = held_out_pairs(3, trainer.eval_dataset, trainer.processing_class, max_length=1024)
        policy = self.logps(trainer.model, pairs)
        if trainer.ref_model is None:
            trained = {p: p.requires_grad for p in trainer.model.parameters()}
            with use_adapter(trainer.model, "ref"):
                reference = self.logps(trainer.model, pairs)
            for p, was in trained.items():
                p.requires_grad_(was)
        else:
            reference = self.logps(trainer.ref_model, pairs)
        margin = (policy[0] - reference[0]) - (policy[1] - reference[1])
        self.found += (BETA * torch.sigmoid(-BETA * margin)).tolist()


class Shaking(TrainerCallback):
    """Moves the weights below an adapter, as the BEMA callback does where there is no reference model."""

    def on_step_end(self, *_, **given):
        with torch.no_grad():
            for p in given["model"].parameters():
                if not p.requires_grad:
                    p.mul_(1.02)


def run(folder, how, bema, *, probed=True):
    expecting = Expecting()
    callbacks = [expecting]
    kind, changes = DPOTrainer, {"max_steps": 4, "learning_rate": 2e-2, "beta": BETA}
    if how == "BEMA":
        kind, callback = bema
        callbacks.append(callback(update_freq=1, update_ref_model=True, ref_model_update_freq=1))
    elif how == "sync_ref_model":
        changes |= {"sync_ref_model": True, "ref_model_sync_steps": 1, "ref_model_mixup_alpha": 0.5}
    elif how == "weights below an adapter":
        callbacks.append(Shaking())
        changes |= {"lora": True}
    if probed:
        callbacks.append(PreflensCallback(every=1, max_overhead=None, probe_pairs=3, alerts=None))
    trainer = make_trainer(folder, trainer=kind, callbacks=callbacks, **changes)
    expecting.trainer = trainer
    trainer.train()
    return trainer, expecting.found


@pytest.mark.parametrize("how", ["nothing", "BEMA", "sync_ref_model", "weights below an adapter"])
def test_held_out_coefficients_are_those_of_the_reference_at_their_step(how, bema, tmp_path):
    _, expected = run(tmp_path, how, bema)
    table = ProbeTable(tmp_path / "preflens" / "probe.parquet").read().to_pylist()
    found = [row["chosen_coefficient"] for row in table if row["set"] == "probe"]
    assert found == pytest.approx(expected, rel=1e-5)
    assert max(expected) - min(expected) > 1e-4  # policy and reference differ


@pytest.mark.parametrize("how", ["BEMA", "weights below an adapter"])
def test_a_probed_run_whose_reference_moves_is_the_same_run(how, bema, tmp_path):
    (one, _), (other, _) = (run(tmp_path / str(probed), how, bema, probed=probed) for probed in (True, False))
    assert all(torch.equal(a, b) for a, b in zip(final_state(one)[0], final_state(other)[0], strict=True))
    assert [p.requires_grad for p in one.model.parameters()] == [p.requires_grad for p in other.model.parameters()]


def test_looking_at_the_reference_of_an_adapter_trains_no_more_weights_than_before(tmp_path):
    states = []
    for name, probes in (("a", [PreflensCallback(every=1, max_overhead=None, probe_pairs=3)]), ("b", [])):
        trainer = make_trainer(
            tmp_path / name, lora=True, callbacks=probes, max_grad_norm=0.01, gradient_checkpointing=False
        )
        for weight, p in trainer.model.named_parameters():
            if "lora_A" in weight:  # until PEFT switches the adapter on again, after the first pass of the reference
                p.requires_grad_(False)
        trainer.train()
        states.append(final_state(trainer))
    (tensors, losses), (others, other_losses) = states
    assert losses == other_losses
    assert all(torch.equal(a, b) for a, b in zip(tensors, others, strict=True))
