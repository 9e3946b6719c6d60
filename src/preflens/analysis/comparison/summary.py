"""The first step of every objective in a few numbers, with intervals."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from preflens.analysis.bootstrap import ratios
from preflens.analysis.comparison.first_step import FirstSteps, Training
from preflens.analysis.summary import same_directions
from preflens.dynamics import cancellation_tolerance, classify, predict_change
from preflens.objectives.base import Objective
from preflens.records.comparison_facts import Change, ObjectiveComparison, Trajectory
from preflens.records.facts import Estimate
from preflens.records.outcome import Outcome
from preflens.types import LogpChange, PairCoefficients

Outcomes = Mapping[str, tuple[Outcome, ...]]


def own_steps(
    labels: Sequence[str], steps: FirstSteps, training: Training, *, learning_rate: float
) -> tuple[dict[str, LogpChange], dict[str, tuple[Outcome, ...]]]:
    """Predict what every training pair does to itself.

    Args:
        labels: of the objectives.
        steps: their coefficients.
        training: the pairs.
        learning_rate: η.

    Returns:
        Change and outcome of every pair, by label.
    """
    changes, outcomes = {}, {}
    for label, (chosen, rejected) in zip(labels, steps.coefficients, strict=True):
        own = PairCoefficients(chosen, rejected)
        changes[label] = predict_change(training.gram, own, learning_rate=learning_rate)
        tolerance = cancellation_tolerance(training.gram, own, learning_rate=learning_rate)
        outcomes[label] = classify(changes[label], tolerance)
    return changes, outcomes


def summarize(
    objectives: Mapping[str, Objective],
    steps: FirstSteps,
    training: Training,
    outcomes: Outcomes,
    *,
    learning_rate: float,
    gridded: Collection[str],
    trajectories: Mapping[str, tuple[Trajectory, ...]],
) -> tuple[ObjectiveComparison, ...]:
    """Summarise every objective.

    Args:
        objectives: by label.
        steps: of all of them.
        training: the pairs.
        outcomes: own-pair outcome of every pair, by label.
        learning_rate: η.
        gridded: labels of grid points.
        trajectories: by label.

    Returns:
        One entry an objective; intervals resample update batches.
    """
    labels = list(objectives)
    train = _changes(learning_rate * steps.shared, training.sizes)
    whole = sum(training.sizes)
    heldout = _changes(learning_rate * whole * steps.influence, training.sizes)
    twins = same_directions(dict(zip(labels, steps.coefficients.numpy(), strict=True)))
    negative = (steps.coefficients <= 0).any(1).sum(1).tolist()
    return tuple(
        ObjectiveComparison(
            label=label, name=objective.name, parameters=dict(objective.parameters), in_grid=label in gridded,
            outcomes={str(o): outcomes[label].count(o) / whole for o in Outcome}, train=train[i], heldout=heldout[i],
            margin_scale=_scale(train[i].margin), negative=negative[i], same_direction_as=twins[label],
            trajectories=trajectories[label],
        )
        for i, (label, objective) in enumerate(objectives.items())
    )  # fmt: skip


def _changes(values: Float64[Tensor, "objective two pair"], sizes: Sequence[int]) -> list[Change]:
    """Means over pairs, with intervals from whole update batches."""
    sums = torch.stack([part.sum(2) for part in values.split(list(sizes), dim=2)], dim=2)  # [objective, two, batch]
    three = torch.stack([sums[:, 0], sums[:, 1], sums[:, 0] - sums[:, 1]], dim=1).flatten(0, 1).numpy()
    found = ratios(three, np.array(sizes, dtype=float))
    return [Change(*found[i : i + 3]) for i in range(0, len(found), 3)]


def _scale(margin: Estimate) -> float | None:
    return 1 / margin.value if margin.value is not None and margin.value > 0 else None
