"""All steps of a rollout really taken, to find how long the rollout with the Gram held fixed stays right."""

from collections.abc import Sequence
from itertools import takewhile

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from preflens.analysis.comparison.rollout_pairs import RolloutSetup
from preflens.analysis.comparison.rollouts import recorded_steps, roll
from preflens.analysis.measurement.real_steps import PlainUpdate, logp_values, objective_update, walking
from preflens.errors import NumericalError
from preflens.objectives.kinds.base import Objective
from preflens.records.comparison_metadata import RolloutCheck, Trajectory

_POINTS = 12  # of a real trajectory
_TOLERANCE = 0.1  # relative error up to which a rollout counts as right
_ABOVE = 30  # times the rounding floor: there rounding makes a third of the tolerance at most


def real_rollout(
    label: str,
    objective: Objective,
    setup: RolloutSetup,
    trajectory: Trajectory,
    *,
    horizons: Sequence[int],
    floor: float,
) -> RolloutCheck | None:
    """Really take all the steps of a trajectory.

    Args:
        label: label of the objective.
        objective: the loss.
        setup: the pairs to step on.
        trajectory: the rollout.
        horizons: numbers of steps after which both are compared, beside others.
        floor: root mean square of what rounding does to a change, nats.

    Returns:
        Measured changes and error of the rollout. None where the rollout nowhere gets clearly above the rounding floor.
    """
    followed, rate = setup.followed, trajectory.learning_rate
    last = trajectory.steps[-1] if trajectory.ended is None else trajectory.ended - 1
    predicted = roll(followed, objective, learning_rate=rate, steps=last).change[:, :, followed.training :]
    if not bool(_clear(predicted, floor).any()):
        return None
    points = recorded_steps([*(h for h in horizons if h < last), last], points=_POINTS)[1:]
    measured = _measured_changes(objective, setup, learning_rate=rate, points=points)
    diverged = len(measured) < len(points)
    points = points[: len(measured)]
    size, off = measured.flatten(1).norm(dim=1), (predicted[list(points)] - measured).flatten(1).norm(dim=1)
    error = tuple(
        float(o / s) if clear else None for o, s, clear in zip(off, size, _clear(measured, floor), strict=True)
    )
    chosen, rejected = measured.mean(2).unbind(1)
    return RolloutCheck(
        objective=label, scale=trajectory.scale, learning_rate=rate, steps=points,
        chosen_measured=tuple(chosen.tolist()), rejected_measured=tuple(rejected.tolist()), error=error,
        within_ten_percent=good_until(points, error), rounding_floor=floor, diverged=diverged,
    )  # fmt: skip


def _clear(changes: Float64[Tensor, "point two held_out"], floor: float) -> Bool[Tensor, " point"]:
    """Whether the held-out log-probs have changed by clearly more than the rounding floor, after each recorded step."""
    size = changes.flatten(1).square().mean(1).sqrt()
    return (size > 0) & (size >= _ABOVE * floor)


def _measured_changes(
    objective: Objective, setup: RolloutSetup, *, learning_rate: float, points: Sequence[int]
) -> Float64[Tensor, "point two held_out"]:
    """Changes of the held-out log-probs along real steps, as long as they are finite."""
    forwards, changes = setup.held_out.forwards(), []
    with walking(setup.held_out.model) as take:
        before = logp_values(forwards)
        for step in range(1, points[-1] + 1):
            try:
                take(_update(objective, setup, (step - 1) % len(setup.batches)), learning_rate)
                if step in points:
                    changes.append(logp_values(forwards) - before)
            except NumericalError:
                break
    return torch.stack(changes) if changes else before.new_zeros(0, *before.shape)


def _update(objective: Objective, setup: RolloutSetup, number: int) -> PlainUpdate:
    """The update of a plain step on an update batch, with the coefficients at the current weights."""
    passes, batch = setup.batches[number], torch.tensor(setup.followed.batches[number])
    return objective_update(objective, passes, setup.followed.geometry.logps.take(batch))


def good_until(points: Sequence[int], error: Sequence[float | None]) -> int | None:
    """Return the last step up to which no error of a rollout exceeds a tenth.

    Args:
        points: numbers of steps.
        error: relative error after each. Steps without an error are ignored.

    Returns:
        The step. 0 if the first error is too large, None without errors.
    """
    known = [(point, value) for point, value in zip(points, error, strict=True) if value is not None]
    good = [point for point, _ in takewhile(lambda item: item[1] <= _TOLERANCE, known)]
    return max(good, default=0) if known else None
