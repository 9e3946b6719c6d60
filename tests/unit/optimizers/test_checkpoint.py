"""Optimizers of checkpoints that transformers' Trainer wrote."""

import pytest
import torch
from transformers import Trainer, TrainingArguments

from preflens.errors import InputError
from preflens.optimizers.checkpoint import load_optimizer
from preflens.optimizers.first_update import FirstUpdate
from preflens.optimizers.settings import OptimizerSettings
from tests.cases.language_models import tiny_model

DEFAULT = OptimizerSettings(learning_rate=7e-7, max_grad_norm=0.5)


def trained(folder, optim, steps=3):
    """A tiny model after some steps, as the Trainer leaves it, and its trainer."""
    model = tiny_model("gpt2").float()
    rows = [{"input_ids": torch.arange(3, 9), "labels": torch.arange(3, 9)}] * 8
    args = TrainingArguments(
        output_dir=str(folder), optim=optim, learning_rate=1e-3, weight_decay=0.1, adam_beta2=0.95, max_steps=6,
        per_device_train_batch_size=2, save_steps=steps, use_cpu=True, report_to="none", disable_tqdm=True,
        logging_strategy="no",
    )  # fmt: skip
    trainer = Trainer(model=model, args=args, train_dataset=rows)
    trainer.train()
    checkpoint = folder / f"checkpoint-{steps}"
    return type(model).from_pretrained(checkpoint), checkpoint


@pytest.mark.parametrize(
    ("optim", "name"),
    [("adamw_torch", "adamw"), ("sgd", "sgd"), ("rmsprop", "rmsprop"), ("adafactor", "adafactor")],
)
def test_the_next_step_is_the_one_that_the_trainer_takes(optim, name, tmp_path):
    model, folder = trained(tmp_path, optim)
    found = load_optimizer(folder, model, default=DEFAULT)
    assert found.settings.name == name
    assert found.step == 3
    assert found.settings.learning_rate == pytest.approx(1e-3 * 3 / 6)  # linear, to zero after six steps
    assert found.settings.weight_decay == pytest.approx(0.1)
    assert found.settings.max_grad_norm == DEFAULT.max_grad_norm
    args = TrainingArguments(
        output_dir=str(tmp_path), optim=optim, learning_rate=1e-3, weight_decay=0.1, adam_beta2=0.95, use_cpu=True,
        report_to="none",
    )  # fmt: skip
    trainer = Trainer(model=model, args=args)
    trainer.create_optimizer()
    trainer.optimizer.load_state_dict(torch.load(folder / "optimizer.pt", weights_only=True))
    draw = torch.Generator().manual_seed(1)
    update, before = FirstUpdate(model, found.settings, found.state), {}
    for p in model.parameters():
        p.grad = torch.randn(p.shape, generator=draw)
        before[p] = p.detach().clone(), p.grad.clone()
    whole = {p: update.of(p, ..., g[None]) for p, (_, g) in before.items()}
    more = {p: update.decay(p, ..., g[None]) for p, (_, g) in before.items()}
    trainer.optimizer.step()
    for p, (old, _) in before.items():
        ours = whole[p][0] + (0 if more[p] is None else more[p][0])
        torch.testing.assert_close(ours, p.detach() - old, rtol=1e-3, atol=3e-8)  # weights round to their last bit


def test_without_an_optimizer_file_it_starts_fresh_at_the_schedulers_rate(tmp_path):
    model, folder = trained(tmp_path, "adamw_torch")
    (folder / "optimizer.pt").unlink()
    found = load_optimizer(folder, model, default=DEFAULT)
    assert not found.state
    assert found.settings == OptimizerSettings(learning_rate=found.settings.learning_rate, max_grad_norm=0.5)
    assert found.settings.learning_rate == pytest.approx(1e-3 * 3 / 6)
    (folder / "scheduler.pt").unlink()
    assert load_optimizer(folder, model, default=DEFAULT).settings == DEFAULT


def test_states_of_other_parameters_are_refused_by_name(tmp_path):
    model, folder = trained(tmp_path, "adamw_torch")
    for p in model.transformer.wte.parameters():
        p.requires_grad_(False)
    with pytest.raises(InputError, match="parameters step as in that run"):
        load_optimizer(folder, model, default=DEFAULT)
    wider = tiny_model("gpt2", n_embd=32).float()
    with pytest.raises(InputError, match="another model"):
        load_optimizer(folder, wider, default=DEFAULT)


def test_pickles_and_broken_files_are_refused_in_one_line(tmp_path):
    model, folder = trained(tmp_path, "adamw_torch")
    torch.save({"state": {}, "param_groups": [{"lr": 1.0, "params": [print]}]}, folder / "optimizer.pt")
    with pytest.raises(InputError, match="cannot be read") as error:
        load_optimizer(folder, model, default=DEFAULT)
    assert "\n" not in str(error.value)
    torch.save({"state": {}, "param_groups": [{"lr": 1.0, "params": []}]}, folder / "optimizer.pt")
    with pytest.raises(InputError, match="does not know"):
        load_optimizer(folder, model, default=DEFAULT)
