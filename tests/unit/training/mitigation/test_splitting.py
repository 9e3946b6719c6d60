"""Training runs with split updates."""

import pytest
import torch

from preflens.errors import InputError
from preflens.training import PreferenceTrainer
from tests.cases.training import make_trainer


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "optim"), [("splitting", "adamw_torch"), ("splitting", "sgd"), ("splitting:kind=sequential", "sgd")]
)
def test_training_with_split_updates_is_near_the_plain_run_and_not_it(text, optim, tmp_path):
    little = f"{text}{',' if ':' in text else ':'}strength=1e-6"
    runs = []
    for number, mitigation in enumerate((None, "splitting:strength=0", little, text)):
        trainer = make_trainer(
            tmp_path / str(number), trainer=PreferenceTrainer, objective="dpo:beta=1", mitigation=mitigation,
            optim=optim, learning_rate=1e-3, max_steps=2,
        )  # fmt: skip
        trainer.train()
        runs.append(torch.cat([p.detach().flatten() for p in trainer.model.parameters()]))
    plain, zero, near, split = runs
    assert torch.equal(plain, zero)
    # Adam's first steps are signs of gradients, and those of zero are rounding.
    assert float(((plain - near).abs() < 1e-5).double().mean()) > 0.98
    assert not torch.equal(near, split)


def test_split_updates_refuse_accumulation(tmp_path):
    with pytest.raises(InputError, match="no accumulation"):
        make_trainer(
            tmp_path, trainer=PreferenceTrainer, objective="dpo", mitigation="splitting", gradient_accumulation_steps=2
        )


def test_fresh_adapters_do_not_explode_in_their_first_step(tmp_path):
    """A's plain gradient is zero while B is, so Adam's second moment has no scale for the staged one: 53, not 0.1."""
    trainer = make_trainer(
        tmp_path, trainer=PreferenceTrainer, objective="dpo:beta=1", mitigation="splitting", lora=True,
        optim="adamw_torch", learning_rate=1e-3, max_steps=1,
    )  # fmt: skip
    with torch.no_grad():
        for name, p in trainer.model.named_parameters():
            if "lora_B" in name:
                p.zero_()
    before = [p.detach().clone() for p in trainer.model.parameters()]
    trainer.train()
    after = trainer.model.parameters()
    assert max(float((a.detach() - b).abs().max()) for a, b in zip(after, before, strict=True)) < 1
