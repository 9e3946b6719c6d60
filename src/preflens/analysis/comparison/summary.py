"""Means of the first step of every objective, with intervals."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from preflens.analysis.comparison.first_step import FirstSteps, Training
from preflens.analysis.summaries.bootstrap import ratios
from preflens.analysis.summaries.statistics import same_directions
from preflens.dynamics import cancellation_tolerance, classify, predict_change
from preflens.objectives.kinds.base import Objective
from preflens.records.analysis_wording import direction
from preflens.records.common import Estimate
from preflens.records.comparison_metadata import MeanChange, ObjectiveComparison, Trajectory
from preflens.records.outcome import Outcome
from preflens.types import LogpChange, PairCoefficients

Outcomes = Mapping[str, tuple[Outcome, ...]]


def own_steps(
    labels: Sequence[str], steps: FirstSteps, training: Training, *, learning_rate: float
) -> tuple[dict[str, LogpChange], dict[str, tuple[Outcome, ...]]]:
    """Predict the change of every training pair in a step on this pair alone.

    Args:
        labels: of the objectives.
        steps: coefficients of the objectives.
        training: the pairs.
        learning_rate: η.

    Returns:
        Change and outcome of every pair, by label.
    """
    changes, outcomes = {}, {}
    for label, (chosen, rejected) in zip(labels, steps.coefficients, strict=True):
        coefficients = PairCoefficients(chosen, rejected)
        changes[label] = predict_change(training.gram, coefficients, learning_rate=learning_rate)
        tolerance = cancellation_tolerance(training.gram, coefficients, learning_rate=learning_rate)
        outcomes[label] = classify(changes[label], tolerance)
    return changes, outcomes


@dataclass(frozen=True)
class FirstChange:
    """Mean changes in one objective's first step, at the learning rate of the comparison.

    Attributes:
        train: mean change of training pairs in one step of their update batch.
        heldout: mean change of held-out pairs in one step on the mean loss of all training pairs.
        chosen_per_margin: held-out chosen change over the margin gained. No value where the margin does not clearly
            grow.
        rejected_per_margin: likewise for rejected responses.
    """

    train: MeanChange
    heldout: MeanChange
    chosen_per_margin: Estimate
    rejected_per_margin: Estimate

    @property
    def margin_scale(self) -> float | None:
        """Factor on the learning rate at which the margin gains one nat; None where it does not clearly grow."""
        margin = self.heldout.difference
        return 1 / margin.value if margin.value is not None and direction(margin) == "rises" else None


def first_changes(
    labels: Sequence[str], steps: FirstSteps, training: Training, *, learning_rate: float
) -> dict[str, FirstChange]:
    """Average the first steps.

    Args:
        labels: of the objectives.
        steps: first steps of the objectives.
        training: the pairs.
        learning_rate: η.

    Returns:
        Means by label; intervals resample update batches.
    """
    sizes = np.array(training.sizes, dtype=float)
    train = _batch_sums(learning_rate * steps.shared, training.sizes)
    heldout = _batch_sums(learning_rate * sum(training.sizes) * steps.influence, training.sizes)
    per_margin = [ratios(heldout[:, side], heldout[:, 2]) for side in (0, 1)]
    means = zip(_changes(train, sizes), _changes(heldout, sizes), *per_margin, strict=True)
    return {label: _first_change(*row) for label, row in zip(labels, means, strict=True)}


def summarize(
    objectives: Mapping[str, Objective],
    steps: FirstSteps,
    changes: Mapping[str, FirstChange],
    outcomes: Outcomes,
    *,
    gridded: Collection[str],
    trajectories: Mapping[str, tuple[Trajectory, ...]],
) -> tuple[ObjectiveComparison, ...]:
    """Summarize every objective.

    Args:
        objectives: by label.
        steps: first steps of the objectives.
        changes: means of these steps, by label.
        outcomes: outcome of every pair in a step on this pair alone, by label.
        gridded: labels of grid points.
        trajectories: by label.

    Returns:
        One summary per objective.
    """
    twins = same_directions(dict(zip(objectives, steps.coefficients.numpy(), strict=True)))
    negative = dict(zip(objectives, (steps.coefficients <= 0).any(1).sum(1).tolist(), strict=True))
    return tuple(
        ObjectiveComparison(
            label=label, name=objective.name, parameters=dict(objective.parameters), in_grid=label in gridded,
            outcomes={str(o): outcomes[label].count(o) / len(outcomes[label]) for o in Outcome},
            train=changes[label].train, heldout=changes[label].heldout,
            chosen_per_margin=changes[label].chosen_per_margin, rejected_per_margin=changes[label].rejected_per_margin,
            margin_scale=changes[label].margin_scale, negative=negative[label], same_direction_as=twins[label],
            trajectories=trajectories[label],
        )
        for label, objective in objectives.items()
    )  # fmt: skip


def _first_change(train: MeanChange, heldout: MeanChange, chosen: Estimate, rejected: Estimate) -> FirstChange:
    """No ratio to a margin that shrinks or is not significantly different from zero: it could be any number."""
    if direction(heldout.difference) != "rises":
        chosen = rejected = Estimate(None)
    return FirstChange(train, heldout, chosen, rejected)


def _batch_sums(values: Float64[Tensor, "objective two pair"], sizes: Sequence[int]) -> np.ndarray:
    """Sums over the pairs of every update batch: chosen, rejected, and their difference; [objective, three, batch]."""
    sums = torch.stack([part.sum(2) for part in values.split(list(sizes), dim=2)], dim=2)
    result: np.ndarray = torch.cat([sums, sums[:, :1] - sums[:, 1:]], dim=1).numpy()
    return result


def _changes(sums: np.ndarray, sizes: np.ndarray) -> list[MeanChange]:
    """Means over pairs, with intervals from whole update batches."""
    means = ratios(sums.reshape(-1, len(sizes)), sizes)
    return [MeanChange(*means[i : i + 3]) for i in range(0, len(means), 3)]
