"""Steps of DPO, each with its forecast for held-out pairs."""

import copy
import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import GPT2LMHeadModel

from preflens.language_models.batch import PairBatch, collate
from preflens.language_models.logps import response_logps
from preflens.language_models.tokenizing import TokenizedPair
from preflens.objectives import dpo
from preflens.pair_logps import PairLogps


@dataclass(frozen=True)
class Tuning:
    """Change of the mean log-probs of held-out pairs over the steps, nats: chosen, rejected.

    Attributes:
        forecast: sum over the steps of the first-order forecast before each.
        measured: measured change from the first log-probs to the last.
    """

    forecast: tuple[float, float]
    measured: tuple[float, float]


def tune(
    model: GPT2LMHeadModel,
    pairs: Sequence[TokenizedPair],
    held_out: Sequence[TokenizedPair],
    *,
    steps: int,
    learning_rate: float,
    draw: random.Random,
) -> Tuning:
    """Take plain gradient steps of DPO on batches of 16, with a forecast of each for held-out pairs.

    The forecast of a step is the inner product of the update with the gradients of the mean held-out log-probs: Δa = η
    G c with held-out rows.

    Args:
        model: changed in place; its initial weights are the reference.
        pairs: training pairs.
        held_out: held-out pairs.
        steps: number of steps.
        learning_rate: η.
        draw: random generator.

    Returns:
        Forecast and measured change.
    """
    objective, reference = dpo(), copy.deepcopy(model)
    parameters: list[Tensor] = list(model.parameters())
    held_out_batch = collate(held_out, pad_token_id=0)
    start, forecast = _means(model, held_out_batch).detach(), torch.zeros(2)
    for _ in range(steps):
        batch = collate(draw.sample(pairs, 16), pad_token_id=0)
        with torch.no_grad():
            ref_logps = response_logps(reference, batch)
        logps = PairLogps(*response_logps(model, batch).chunk(2), *ref_logps.chunk(2))
        update = [-g for g in torch.autograd.grad(objective.loss(logps).mean(), parameters)]
        forecast += learning_rate * _directional_derivatives(_means(model, held_out_batch), parameters, update)
        with torch.no_grad():
            torch._foreach_add_(parameters, update, alpha=learning_rate)
    measured = _means(model, held_out_batch).detach() - start
    return Tuning((forecast[0].item(), forecast[1].item()), (measured[0].item(), measured[1].item()))


def _means(model: GPT2LMHeadModel, batch: PairBatch) -> Tensor:
    """Mean chosen and mean rejected log-prob."""
    return response_logps(model, batch).reshape(2, -1).mean(dim=1)


def _directional_derivatives(values: Tensor, parameters: list[Tensor], update: list[Tensor]) -> Tensor:
    """Directional derivative of each value along the update."""
    gradients = (torch.autograd.grad(value, parameters, retain_graph=True) for value in values)
    return torch.stack([
        sum(((g * u).sum() for g, u in zip(of_value, update, strict=True)), torch.zeros(())) for of_value in gradients
    ])
