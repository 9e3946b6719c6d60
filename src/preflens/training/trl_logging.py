"""Log the metrics that TRL's DPOTrainer logs, under TRL's names, and the gradient geometry."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from preflens.training.loss import ScoredRows
from preflens.training.trainer_protocol import LogSplit, TrainerLike, log_metric, log_token_count
from preflens.types import SIDES


def log_batch(
    trainer: TrainerLike,
    inputs: Mapping[str, Tensor],
    outputs: Any,  # noqa: ANN401  # TRL's FusedCausalLMOutput
    *,
    rows: ScoredRows,
    logps: Tensor,
    rewards: Tensor,
) -> None:
    """Add the metrics of a batch, over all processes, to the trainer's log.

    Args:
        trainer: whose log.
        inputs: the batch.
        outputs: of the fused head.
        rows: token log-probs of the responses.
        logps: of each response as the loss uses it, chosen responses first, nats.
        rewards: of each response, chosen responses first, no unit.
    """
    split: LogSplit = "train" if trainer.model.training else "eval"
    log, accelerator, tokens = partial(log_metric, trainer, split=split), trainer.accelerator, 0
    if split == "train":
        tokens = accelerator.gather_for_metrics(inputs["attention_mask"].sum()).sum().item()
    log_token_count(trainer, tokens, split=split)
    width = rows.mask.shape[1]
    per_token = {"entropy": outputs.entropy, "logits": outputs.mean_logits, "top": outputs.is_top1.float()}
    count = _summed(accelerator, rows.mask.sum(1))
    sums = {name: _summed(accelerator, rows.totals(v[:, -width:].detach().float())) for name, v in per_token.items()}
    log("entropy", _ratio(sum(sums["entropy"]), sum(count)))
    log("mean_token_accuracy", _ratio(sums["top"][0], count[0]))
    for number, side in enumerate(SIDES):
        log(f"logits/{side}", _ratio(sums["logits"][number], count[number]))
    for name, values in (("logps", logps.detach()), ("rewards", rewards.detach())):
        chosen, rejected = (accelerator.gather(side.contiguous()) for side in values.chunk(2))
        log(f"{name}/chosen", chosen.mean().item())
        log(f"{name}/rejected", rejected.mean().item())
        if name == "rewards":
            log("rewards/accuracies", (chosen > rejected).float().mean().item())
            log("rewards/margins", (chosen - rejected).mean().item())


def _summed(accelerator: Any, values: Tensor) -> tuple[float, float]:  # noqa: ANN401  # an Accelerator
    """Sums over the chosen and over the rejected responses of all processes."""
    chosen, rejected = (float(accelerator.gather_for_metrics(side.sum()).sum()) for side in values.chunk(2))
    return chosen, rejected


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else 0.0


def log_geometry(trainer: TrainerLike, metrics: Mapping[str, float], names: Sequence[str]) -> None:
    """Add means over all processes to the trainer's log (collective call).

    Args:
        trainer: whose log.
        metrics: of this process, by name; missing ones are left out of the means.
        names: all of them.
    """
    local = torch.tensor([metrics.get(name, math.nan) for name in names], device=trainer.accelerator.device)
    means = trainer.accelerator.gather(local[None]).nanmean(0).tolist()
    for name, mean in zip(names, means, strict=True):
        if math.isfinite(mean):
            log_metric(trainer, name, mean)
