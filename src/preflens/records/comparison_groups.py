"""Objectives of a comparison, grouped by the direction of their first step, and their trajectories."""

from collections.abc import Sequence
from dataclasses import dataclass

from preflens.records.analysis_wording import direction
from preflens.records.common import Estimate
from preflens.records.comparison_metadata import EQUAL_MARGIN, ComparisonMetadata, ObjectiveComparison, Trajectory


@dataclass(frozen=True)
class Group:
    """Objectives whose first steps have the same direction, so that they agree at equal margin gain.

    Attributes:
        members: the objectives. The others have coefficients that are multiples of those of the first one.
        direction: direction of the held-out mean chosen log-prob: `rises`, `falls`, or `unclear` where its interval
            contains zero.
        chosen: change of that mean per nat of margin gained. No value where the margin does not clearly grow.
        rejected: likewise for rejected responses.
    """

    members: tuple[ObjectiveComparison, ...]
    direction: str
    chosen: Estimate
    rejected: Estimate

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the members."""
        return tuple(o.label for o in self.members)


def groups(metadata: ComparisonMetadata) -> tuple[Group, ...]:
    """Group the objectives by the direction of their first step.

    Args:
        metadata: metadata of a comparison.

    Returns:
        Groups, the best for the held-out chosen responses first. Groups whose margin does not clearly grow come last.
    """
    result = [
        _group([first, *(o for o in metadata.objectives if o.same_direction_as == first.label)])
        for first in metadata.objectives
        if first.same_direction_as is None
    ]
    return tuple(sorted(result, key=lambda g: -(g.chosen.value if g.chosen.value is not None else float("-inf"))))


def _group(members: Sequence[ObjectiveComparison]) -> Group:
    first = members[0]
    return Group(tuple(members), direction(first.heldout.chosen), first.chosen_per_margin, first.rejected_per_margin)


def rescaled(objective: ObjectiveComparison) -> Trajectory | None:
    """Return the trajectory at equal margin gain.

    Args:
        objective: entry of a comparison.

    Returns:
        The trajectory, or None.
    """
    return next((t for t in objective.trajectories if t.scale == EQUAL_MARGIN), None)


def last_point(trajectory: Trajectory | None) -> tuple[float, float] | None:
    """Return the last point of a trajectory.

    Args:
        trajectory: a trajectory, or None.

    Returns:
        Mean held-out chosen and rejected change after its last step, nats. None if it ends earlier.
    """
    if trajectory is None:
        return None
    chosen, rejected = trajectory.heldout_chosen[-1], trajectory.heldout_rejected[-1]
    return None if chosen is None or rejected is None else (chosen, rejected)
