"""The first step of every objective under an optimizer, as held-out pairs see it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from preflens.analysis.comparison.cross_products import CrossProducts
from preflens.analysis.comparison.first_step import Training
from preflens.analysis.comparison.held_out import prompt_text
from preflens.analysis.comparison.held_out_changes import HeldOutStep, step_of_batches, step_of_pairs
from preflens.analysis.comparison.held_out_products import Batch, OptimizerQuestion, held_out_products
from preflens.analysis.comparison.model_queries import ModelQueries
from preflens.analysis.comparison.optimizer_steps import Directions, directions, linear_changes, same_start
from preflens.language_models.tokenizing import TokenizedPair
from preflens.objectives.kinds.base import Objective
from preflens.optimizers.first_update import FirstUpdate
from preflens.optimizers.settings import LINEAR, PLAIN, OptimizerSettings


@dataclass(frozen=True, kw_only=True)
class OptimizerFirstSteps:
    """First steps of all objectives under one optimizer.

    Attributes:
        steps: by label.
        decay: what weight decay adds to the mean held-out chosen and rejected log-prob in a step, nats.
        clipped: by label, the mean factor by which clipping shortens the gradient.
        same_start: labels grouped by their first update.
    """

    steps: Mapping[str, HeldOutStep]
    decay: tuple[float, float]
    clipped: Mapping[str, float]
    same_start: tuple[tuple[str, ...], ...]


def optimizer_first_steps(
    queries: ModelQueries,
    batches: Sequence[Batch],
    held_out: Sequence[TokenizedPair],
    *,
    objectives: Mapping[str, Objective],
    coupled: Collection[str],
    training: Training,
    signed: Float64[Tensor, "objective two pair"],
    settings: OptimizerSettings,
    update: FirstUpdate,
) -> OptimizerFirstSteps:
    """Predict one optimizer step on each update batch for every objective.

    Args:
        queries: how the model is asked.
        batches: the training pairs of each update batch.
        held_out: the held-out pairs.
        objectives: by label, in the order of `signed`.
        coupled: labels whose coefficients depend on the other pairs of the batch (their loss or a mitigation does).
        training: log-probs and Grams of the update batches.
        signed: (d_w, −d_l) of all pairs, by objective.
        settings: the optimizer.
        update: simulates it, with its state.

    Returns:
        The steps, averaged over update batches.
    """
    weights = [
        (part / size).flatten(1) for size, part in zip(training.sizes, signed.split(training.sizes, dim=2), strict=True)
    ]
    numbers = sum(p.numel() for p in queries.scorer.model.parameters() if p.requires_grad)
    asked = [
        directions(w, gram.matrix, settings, fresh=update.fresh, parameters=numbers)
        for w, gram in zip(weights, training.batches, strict=True)
    ]
    linear = update.fresh and settings.name in LINEAR and not settings.decays
    question = OptimizerQuestion(
        weights=[d.weights for d in asked], update=None if linear else update, name=repr(settings)
    )  # fmt: skip
    products = held_out_products(queries, batches, held_out, question)
    changes = [_changes(w, d, p, settings, linear=linear) for w, d, p in zip(weights, asked, products, strict=True)]
    prompts, held_out_prompts = _numbers([p for batch in batches for p in batch]), _numbers(held_out)
    plain = torch.cat([_by_side(p.plain) for p in products], dim=1)
    found = {}
    for place, label in enumerate(objectives):
        if settings.name == PLAIN and label not in coupled:
            found[label] = step_of_pairs(
                signed[place], plain, learning_rate=settings.learning_rate, prompts=prompts,
                held_out_prompts=held_out_prompts,
            )  # fmt: skip
        else:
            own = torch.stack([change[place].reshape(2, -1) for change in changes])
            found[label] = step_of_batches(own, held_out_prompts=held_out_prompts)
    factors = torch.stack([d.clipping for d in asked]).mean(0).tolist()
    return OptimizerFirstSteps(
        steps=found, decay=_mean_decay(products), clipped=dict(zip(objectives, factors, strict=True)),
        same_start=() if linear else same_start(asked, list(objectives)),
    )  # fmt: skip


def _changes(
    weights: Float64[Tensor, "objective response"],
    asked: Directions,
    products: CrossProducts,
    settings: OptimizerSettings,
    *,
    linear: bool,
) -> Float64[Tensor, "objective held_out"]:
    """Changes of held-out log-probs in the step of one update batch."""
    if linear:
        return linear_changes(weights * asked.clipping[:, None], products.plain, settings)
    return (products.updates + products.decay)[asked.of_objective]


def _by_side(plain: Float64[Tensor, "response held_out"]) -> Float64[Tensor, "two pair two held_out_pair"]:
    return plain.reshape(2, plain.shape[0] // 2, 2, plain.shape[1] // 2)


def _numbers(pairs: Sequence[TokenizedPair]) -> list[int]:
    """Number the prompts: pairs of one prompt have the same number."""
    known: dict[str, int] = {}
    return [known.setdefault(prompt_text(p), len(known)) for p in pairs]


def _mean_decay(products: Sequence[CrossProducts]) -> tuple[float, float]:
    parts = [p.decay.mean(0).reshape(2, -1).mean(1) for p in products if len(p.decay)]
    if not parts:
        return 0.0, 0.0
    chosen, rejected = torch.stack(parts).mean(0).tolist()
    return chosen, rejected
