"""TRL's own loss code on log-probs that are given, without a model: a trainer whose model returns them."""

from types import SimpleNamespace
from unittest.mock import patch

import torch
from datasets import Dataset
from torch import nn
from trl import DPOConfig, DPOTrainer

from tests.cases.language_models import tiny_model, tiny_tokenizer
from tests.cases.pairs import TEXT_ROWS

# Attributes of the trainer that its configuration sets, with the values of an empty one.
DEFAULTS = {
    "beta": 0.1, "loss_types": ["sigmoid"], "loss_weights": [1.0], "ld_alpha": None, "label_smoothing": 0.0,
    "f_divergence_type": "reverse_kl", "f_alpha_divergence_coef": 0.5, "use_weighting": False,
}  # fmt: skip


def trl_trainer(place):
    """A real trainer; its model is replaced at each call of `trl_loss`."""
    arguments = DPOConfig(output_dir=str(place), use_cpu=True, bf16=False, report_to="none", disable_tqdm=True)
    rows = [{k: v for k, v in row.items() if k != "id"} for row in TEXT_ROWS]
    policy, reference = tiny_model(dtype=torch.float32), tiny_model(dtype=torch.float32, seed=1)
    return DPOTrainer(
        model=policy, ref_model=reference, args=arguments, processing_class=tiny_tokenizer(),
        train_dataset=Dataset.from_list(rows),
    )  # fmt: skip


class Answers(nn.Module):
    """A model that answers with given token log-probs, in the layout of TRL's fused head."""

    is_gradient_checkpointing = False

    def __init__(self, log_probs, log_sum_sq_probs):
        super().__init__()
        self.values = log_probs, log_sum_sq_probs

    def forward(self, **_):
        log_probs, level = self.values
        zero = torch.zeros_like(log_probs)
        return SimpleNamespace(
            log_probs=log_probs, log_sum_sq_probs=level, entropy=zero, mean_logits=zero, is_top1=zero > 0
        )


def trl_loss(trainer, logps, **settings):
    """TRL's loss, and N times minus its gradient at every chosen and rejected token."""
    counts = torch.cat([logps.chosen_tokens, logps.rejected_tokens])
    token, ref_token, level = (
        torch.cat(pair)
        for pair in (
            (logps.chosen_token_logps, logps.rejected_token_logps),
            (logps.ref_chosen_token_logps, logps.ref_rejected_token_logps),
            (logps.chosen_log_sum_sq_probs, logps.rejected_log_sum_sq_probs),
        )
    )
    token = token.clone().requires_grad_()
    inside = (torch.arange(token.shape[1]) < counts[:, None]).long()
    mask = torch.cat([torch.zeros_like(inside[:, :1]), inside], dim=1)  # one token of prompt
    inputs = {"input_ids": torch.ones_like(mask), "attention_mask": torch.ones_like(mask), "completion_mask": mask}
    replaced = {**DEFAULTS, **settings, "model": Answers(token, level), "ref_model": Answers(ref_token, level)}
    with patch.multiple(trainer, **replaced):
        loss = trainer._compute_loss(trainer.model, inputs, False)
    (gradient,) = torch.autograd.grad(loss, token)
    n = len(counts) // 2
    return loss.detach(), -n * gradient[:n] * inside[:n], -n * gradient[n:] * inside[n:]
