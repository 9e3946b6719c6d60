"""Metrics under TRL's names, by hand; that they are TRL's is a law."""

import math
from types import SimpleNamespace

import torch

from preflens.training.loss import ScoredRows
from preflens.training.trl_logging import log_batch, log_geometry
from tests.support.stub_trainer import StubTrainer


def test_means_are_over_response_tokens_and_rewards_are_compared():
    mask = torch.tensor([[True, True], [True, False]])
    per_token = torch.tensor([[1.0, 3.0], [5.0, 100.0]])
    outputs = SimpleNamespace(entropy=per_token, mean_logits=per_token, is_top1=torch.tensor([[1, 0], [1, 1]]))
    trainer = StubTrainer(model=torch.nn.Linear(1, 1))
    inputs = {"attention_mask": torch.ones(2, 4, dtype=torch.long)}
    logps, rewards = torch.tensor([-3.0, -4.0]), torch.tensor([0.5, 0.75])
    log_batch(trainer, inputs, outputs, rows=ScoredRows(per_token, mask), logps=logps, rewards=rewards)
    assert trainer.logged() == {
        "num_tokens": [8], "entropy": [3.0], "mean_token_accuracy": [0.5], "logits/chosen": [2.0],
        "logits/rejected": [5.0], "logps/chosen": [-3.0], "logps/rejected": [-4.0], "rewards/chosen": [0.5],
        "rewards/rejected": [0.75], "rewards/accuracies": [0.0], "rewards/margins": [-0.25],
    }  # fmt: skip


def test_geometry_that_is_not_known_is_not_logged():
    trainer = StubTrainer()
    log_geometry(trainer, {"a": 0.5, "b": math.nan}, ["a", "b", "c"])
    assert trainer.logged() == {"a": [0.5]}
