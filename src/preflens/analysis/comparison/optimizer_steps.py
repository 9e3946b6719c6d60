"""The first step of every objective under an optimizer: clipping, shared updates, changes of held-out log-probs.

A fresh AdamW, RMSprop or Adafactor forgets the size of its first gradient, up to the ε in the denominator. So
objectives whose coefficients are positive multiples of each other over a whole update batch make the same first update,
and one simulated update answers for all of them. SGD and plain descent are linear: inner products of gradients answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from preflens.optimizers.settings import LINEAR, OptimizerSettings

# Updates are shared where entries of a hundredth of the gradient's root mean square differ by at most one percent.
_SMALL_ENTRY, _ALLOWED = 0.01, 0.01
# Rounding of coefficients that are equal in exact arithmetic.
_SAME = 1e-9


@dataclass(frozen=True, kw_only=True)
class Directions:
    """What the optimizer is asked in one update batch.

    Attributes:
        weights: of each different gradient, the weight w of every response, clipped: the gradient is −Σ_i w_i ∇a_i.
        of_objective: number of the row of `weights` that an objective's update is taken from.
        clipping: factor on each objective's gradient, 1 where it is not clipped.
    """

    weights: Float64[Tensor, "direction response"]
    of_objective: Int64[Tensor, " objective"]
    clipping: Float64[Tensor, " objective"]


def directions(
    weights: Float64[Tensor, "objective response"],
    gram: Float64[Tensor, "response response"],
    settings: OptimizerSettings,
    *,
    fresh: bool,
    parameters: int,
) -> Directions:
    """Find the different gradients of an update batch, each clipped as the trainer clips it.

    Args:
        weights: w of every objective; the gradient of its loss is −Σ_i w_i ∇a_i.
        gram: Gram of the responses.
        settings: the optimizer.
        fresh: whether its state is empty; objectives share updates only then.
        parameters: how many numbers step.

    Returns:
        The directions. A linear optimizer needs none, so there are no rows.
    """
    norms = ((weights @ gram) * weights).sum(1).clamp(min=0).sqrt()
    clipping = clip_factors(norms, settings)
    clipped = weights * clipping[:, None]
    if fresh and settings.name in LINEAR and not settings.decays:
        return Directions(
            weights=clipped[:0], of_objective=torch.zeros(len(weights), dtype=torch.int64), clipping=clipping
        )
    shares = fresh and settings.name not in LINEAR
    chosen: list[int] = []
    of_objective = []
    sizes, root_mean_squares = clipped.norm(dim=1), norms * clipping / sqrt(parameters)
    units = clipped / sizes.clamp(min=torch.finfo(torch.float64).tiny)[:, None]
    for row in range(len(weights)):
        same = (
            place for place, other in enumerate(chosen)
            if shares and bool(((units[row] - units[other]).abs() <= _SAME).all())
            and _alike(root_mean_squares[row].item(), root_mean_squares[other].item(), epsilon=settings.epsilon)
        )  # fmt: skip
        place = next(same, None)
        if place is None:
            place = len(chosen)
            chosen.append(row)
        of_objective.append(place)
    return Directions(weights=clipped[chosen], of_objective=torch.tensor(of_objective), clipping=clipping)


def clip_factors(norms: Float64[Tensor, " objective"], settings: OptimizerSettings) -> Float64[Tensor, " objective"]:
    """Return the factors of `torch.nn.utils.clip_grad_norm_`.

    Args:
        norms: of the gradients.
        settings: the optimizer, with `max_grad_norm`.

    Returns:
        One factor per gradient, at most 1.
    """
    if not settings.clips:
        return torch.ones_like(norms)
    return (settings.max_grad_norm / (norms + 1e-6)).clamp(max=1)


def linear_changes(
    clipped: Float64[Tensor, "objective response"],
    plain: Float64[Tensor, "response held_out"],
    settings: OptimizerSettings,
) -> Float64[Tensor, "objective held_out"]:
    """Predict a step of plain descent or of SGD without momentum.

    Args:
        clipped: w of every objective, clipped.
        plain: inner products of the batch's gradients with held-out ones.
        settings: the optimizer.

    Returns:
        η Σ_i w_i ⟨∇a_i, ∇a_h⟩, in nats.
    """
    return settings.learning_rate * clipped @ plain


def same_start(of_batches: Sequence[Directions], labels: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Group objectives that make the same first update in every update batch.

    Args:
        of_batches: directions of every batch.
        labels: of the objectives.

    Returns:
        The groups, in the order of their first member.
    """
    groups: dict[tuple[int, ...], list[str]] = {}
    for place, label in enumerate(labels):
        groups.setdefault(tuple(int(d.of_objective[place]) for d in of_batches), []).append(label)
    return tuple(tuple(group) for group in groups.values())


def _alike(one: float, other: float, *, epsilon: float) -> bool:
    """Whether ε leaves updates of proportional gradients of these root mean squares alike."""
    small, large = sorted((one, other))
    if small == large:
        return True
    relative = epsilon / (_SMALL_ENTRY * small) if small > 0 else float("inf")
    return relative * (1 - small / large) <= _ALLOWED
