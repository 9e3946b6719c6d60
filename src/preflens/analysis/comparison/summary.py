"""The first step of every objective in a few numbers, with intervals."""

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
from preflens.records.comparison_metadata import Change, ObjectiveComparison, Trajectory
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


@dataclass(frozen=True)
class FirstChange:
    """The means of one objective's first step, at the learning rate asked for.

    Attributes:
        train: change of training pairs in one step of their update batch.
        heldout: change of held-out pairs in one step on the mean loss of all training pairs.
        chosen_per_margin: held-out chosen change over the margin gained; no value where it does not clearly grow.
        rejected_per_margin: the same for the rejected ones.
    """

    train: Change
    heldout: Change
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
        steps: of all of them.
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
    return {label: _first_change(*four) for label, four in zip(labels, means, strict=True)}


def summarize(
    objectives: Mapping[str, Objective],
    steps: FirstSteps,
    changes: Mapping[str, FirstChange],
    outcomes: Outcomes,
    *,
    gridded: Collection[str],
    trajectories: Mapping[str, tuple[Trajectory, ...]],
) -> tuple[ObjectiveComparison, ...]:
    """Summarise every objective.

    Args:
        objectives: by label.
        steps: of all of them.
        changes: means of these steps, by label.
        outcomes: own-pair outcome of every pair, by label.
        gridded: labels of grid points.
        trajectories: by label.

    Returns:
        One entry an objective.
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


def _first_change(train: Change, heldout: Change, chosen: Estimate, rejected: Estimate) -> FirstChange:
    """No value over a margin that cannot be told from zero, or shrinks: the ratio could be anything."""
    if direction(heldout.difference) != "rises":
        chosen = rejected = Estimate(None)
    return FirstChange(train, heldout, chosen, rejected)


def _batch_sums(values: Float64[Tensor, "objective two pair"], sizes: Sequence[int]) -> np.ndarray:
    """Sums over the pairs of every update batch: chosen, rejected, and their difference; [objective, three, batch]."""
    sums = torch.stack([part.sum(2) for part in values.split(list(sizes), dim=2)], dim=2)
    three: np.ndarray = torch.cat([sums, sums[:, :1] - sums[:, 1:]], dim=1).numpy()
    return three


def _changes(sums: np.ndarray, sizes: np.ndarray) -> list[Change]:
    """Means over pairs, with intervals from whole update batches."""
    found = ratios(sums.reshape(-1, len(sizes)), sizes)
    return [Change(*found[i : i + 3]) for i in range(0, len(found), 3)]
