"""Facts are finer than the steps that they are about, or it is known how coarse they are."""

import copy

import pytest
import torch
from transformers import TrainerCallback

from preflens.language_models.batch import collate
from preflens.language_models.logps import response_logps
from preflens.training.probe.alerts import Alerts
from preflens.training.probe.callback import PreflensCallback
from preflens.training.probe.held_out import held_out_pairs
from preflens.training.probe.table import ProbeTable
from tests.cases.language_models import tiny_model
from tests.cases.training import make_trainer

USUAL = 1e-6  # the default learning rate of TRL's DPOTrainer


def trained(folder, *, dtype, callbacks=(), alerts=None, stop=False, **changes):
    model = tiny_model("llama", dtype=dtype, num_hidden_layers=4, hidden_size=32)
    probe = PreflensCallback(every=1, max_overhead=None, probe_pairs=3, alerts=alerts, stop_on_alert=stop)
    settings = {"learning_rate": USUAL, "max_steps": 3} | changes
    trainer = make_trainer(
        folder, model=model, reference=copy.deepcopy(model), callbacks=[*callbacks, probe], **settings
    )
    trainer.train()
    return trainer


def logged(trainer, name):
    return [log[f"preflens/{name}"] for log in trainer.state.log_history if f"preflens/{name}" in log]


class Exact(TrainerCallback):
    """Log-probs of the held-out pairs before and after each step, by a copy of the model in float64."""

    def __init__(self):
        self.trainer, self.metadata, self.before = None, [], None

    def logps(self):
        trainer = self.trainer
        pairs = held_out_pairs(3, trainer.eval_dataset, trainer.processing_class, max_length=1024)
        twin = tiny_model("llama", dtype=torch.float64, num_hidden_layers=4, hidden_size=32)
        twin.load_state_dict(trainer.model.state_dict())
        with torch.no_grad():
            return response_logps(twin, collate(pairs, pad_token_id=0))

    def on_pre_optimizer_step(self, *_, **__):
        self.before = self.logps()

    def on_optimizer_step(self, *_, **__):
        self.metadata.append(self.logps() - self.before)


def exactly(folder, **changes):
    """Logged facts of the held-out responses, the true ones, and the floors; a row a step."""
    exact = Exact()
    model = tiny_model("llama", dtype=changes.pop("dtype"), num_hidden_layers=4, hidden_size=32)
    probe = PreflensCallback(every=1, max_overhead=None, probe_pairs=3, alerts=None)
    settings = {"learning_rate": USUAL, "max_steps": 3} | changes
    trainer = make_trainer(folder, model=model, reference=copy.deepcopy(model), callbacks=[exact, probe], **settings)
    exact.trainer = trainer
    trainer.train()
    table = [
        row for row in ProbeTable(folder / "preflens" / "probe.parquet").read().to_pylist() if row["set"] == "probe"
    ]
    found = {name: torch.tensor([[row[f"{name}_{side}"] for row in table if row["step"] == step]
                                 for step in range(1, settings["max_steps"] + 1) for side in ("chosen", "rejected")])
             for name in ("measured", "floor", "optimizer")}  # fmt: skip
    return found, torch.cat([measured.view(2, 3) for measured in exact.metadata])


def rms(values):
    return float(values.double().square().mean().sqrt())


@pytest.mark.parametrize("plain", [True, False])
def test_under_autocast_facts_are_those_of_the_weights_to_float32(plain, monkeypatch, tmp_path):
    if not plain:  # then log-probs come from the model's own `forward`, which accelerate has wrapped
        monkeypatch.setattr("preflens.analysis.measurement.forward_passes.plain_head", lambda *_: None)
    found, true = exactly(tmp_path, dtype=torch.float32, bf16=True)
    assert rms(found["measured"] - true) < 0.02 * rms(true)
    assert rms(found["optimizer"] - true) < 0.1 * rms(true)  # gradients are those of the run, in bfloat16


@pytest.mark.parametrize(
    ("dtype", "changes"),
    [
        (torch.bfloat16, {"learning_rate": 1e-3}),
        (torch.bfloat16, {"learning_rate": 1e-3, "bf16": True}),
        (torch.float32, {}),
    ],
    ids=str,
)
def test_the_floor_is_three_times_what_rounding_does_to_facts(dtype, changes, tmp_path):
    found, true = exactly(tmp_path, dtype=dtype, max_steps=6, **changes)
    noise = found["measured"] - true
    assert ((noise.abs() <= found["floor"]).double().mean()) > 0.9
    assert 0.4 < rms(found["floor"]) / (3 * rms(noise)) < 2.5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_rounding_raises_no_alert_and_ends_no_run(dtype, tmp_path, caplog):
    alerts = Alerts(both_falling=2, forecast_r2=0.5)
    trainer = trained(tmp_path, dtype=dtype, bf16=True, max_steps=14, alerts=alerts, stop=True)
    assert trainer.state.global_step == 14
    assert "too large" not in caplog.text
    coarse = dtype == torch.bfloat16
    assert (max(logged(trainer, "probe_measured_floor_chosen")) > 1e-3) == coarse
    if not coarse:
        assert logged(trainer, "optimizer_r2")[-1] > 0.9


def test_a_step_that_is_too_large_still_raises_an_alert_under_autocast(tmp_path, caplog):
    trained(tmp_path, dtype=torch.float32, bf16=True, max_steps=12, alerts=Alerts(), learning_rate=0.1)
    assert "steps are too large" in caplog.text
