"""Real plain steps from the same weights, beside forecast and rollout, over held-out pairs; all are undone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

import numpy as np
import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from preflens.agreement import agreement
from preflens.analysis.comparison.rollouts import RolloutPairs, recorded_steps, roll
from preflens.analysis.measurement.forward_passes import MicroBatches, by_pass
from preflens.analysis.measurement.real_steps import (
    PlainUpdate,
    in_float32,
    logp_values,
    measure_change,
    plain_update,
    walking,
)
from preflens.errors import NumericalError
from preflens.objectives.kinds.base import Objective
from preflens.pair_logps import PairLogps
from preflens.records.comparison_metadata import RealSteps, RolloutCheck, SmallStep, Trajectory

_TARGET = 1e-2  # nats: root mean square of the held-out changes of a small step
_TINY = 1e-3  # nats, likewise, of a step whose curvature is gone: what is left between forecast and fact is rounding
_POINTS = 12  # of a real trajectory
_TOLERANCE = 0.1  # relative error up to which a rollout counts as right
_ABOVE = 30  # times the rounding floor: there rounding makes a third of the tolerance at most


@dataclass(frozen=True)
class RolloutSetup:
    """What real steps are taken on.

    Attributes:
        followed: the pairs and their geometry.
        batches: the update batches among them, in the same order.
        held_out: the held-out pairs among them, in the same order.
        in_order: positions that put the held-out pairs into the order of the data.
    """

    followed: RolloutPairs
    batches: tuple[MicroBatches, ...]
    held_out: MicroBatches
    in_order: tuple[int, ...]

    @property
    def counts(self) -> tuple[int, int]:
        """How many training pairs and how many held-out pairs are followed."""
        return self.followed.training, self.followed.geometry.gram.pairs - self.followed.training


def take_real_steps(
    label: str,
    objective: Objective,
    ground: RolloutSetup,
    predicted: Sequence[Trajectory],
    *,
    small_steps: int,
    horizons: Sequence[int],
    advance: Callable[[int], None] = lambda _: None,
) -> RealSteps:
    """Take real steps of one objective and compare.

    Args:
        label: of the objective.
        objective: whose plain steps are taken; the model's weights are the same afterwards.
        ground: what they are taken on.
        predicted: trajectories of the rollout.
        small_steps: how many update batches take one small step.
        horizons: steps after which the rollout is compared, others among them.
        advance: told after each part.

    Returns:
        Forecast beside fact. Half-precision models are stepped in float32.
    """
    small, rollouts = [], []
    with in_float32(ground.held_out.model):
        for number in range(min(small_steps, len(ground.batches))):
            small.append(small_step(objective, ground, number))
            advance(1)
        floor = rounding_floor(objective, ground) if predicted else 0.0
        for trajectory in predicted:
            check = real_rollout(label, objective, ground, trajectory, horizons=horizons, floor=floor)
            rollouts += [] if check is None else [check]
            advance(1)
    return RealSteps(label, tuple(small), tuple(rollouts))


def small_step(objective: Objective, ground: RolloutSetup, number: int, *, target: float = _TARGET) -> SmallStep:
    """Step on one update batch, and compare the held-out pairs with the forecast.

    Args:
        objective: the loss.
        ground: what the step is taken on.
        number: of the update batch.
        target: root mean square of the held-out changes that the step is sized for, nats.

    Returns:
        Forecast beside fact.
    """
    followed, passes = ground.followed, ground.batches[number]
    gram, batch = followed.geometry.gram, torch.tensor(followed.batches[number])
    coefficients = objective.coefficients(followed.geometry.logps.take(batch))
    moved = gram.matrix[:, torch.cat([batch, batch + gram.pairs])] @ coefficients.signed() / len(batch)
    unit = moved.reshape(2, -1)[:, followed.training :]
    strength = float(unit.square().mean().sqrt())
    size = target / strength if strength > 0 else 0.0
    update = plain_update(passes.model, passes.forwards(), by_pass(passes, coefficients))
    change = measure_change(passes.model, ground.held_out.forwards(), update, learning_rate=size)
    places = torch.tensor(ground.in_order)
    forecast, measured = (
        (size * unit)[:, places].numpy(),
        torch.stack([change.chosen, change.rejected])[:, places].numpy(),
    )
    return SmallStep(
        update_batch=number,
        step_size=size,
        r2_chosen=agreement(forecast[0], measured[0]).r2,
        r2_rejected=agreement(forecast[1], measured[1]).r2,
        r2_margin=agreement(forecast[0] - forecast[1], measured[0] - measured[1]).r2,
        chosen_forecast=tuple(forecast[0].tolist()),
        chosen_measured=tuple(measured[0].tolist()),
        rejected_forecast=tuple(forecast[1].tolist()),
        rejected_measured=tuple(measured[1].tolist()),
    )


def rounding_floor(objective: Objective, ground: RolloutSetup) -> float:
    """Measure what rounding alone does to a measured change of the held-out log-probs.

    Weights and log-probs are rounded; both differ from step to step and neither grows with the number of steps.

    Args:
        objective: the loss.
        ground: what the step is taken on.

    Returns:
        Root mean square over held-out responses, nats, from the first update batch that moves any; 0 if none does.
    """
    for number in range(len(ground.batches)):
        step = small_step(objective, ground, number, target=_TINY)
        if step.step_size > 0:
            off = np.subtract(
                (step.chosen_forecast, step.rejected_forecast), (step.chosen_measured, step.rejected_measured)
            )
            return float(np.sqrt(np.mean(off**2)))
    return 0.0


def real_rollout(
    label: str,
    objective: Objective,
    ground: RolloutSetup,
    trajectory: Trajectory,
    *,
    horizons: Sequence[int],
    floor: float,
) -> RolloutCheck | None:
    """Take all the steps of a trajectory for real.

    Args:
        label: of the objective.
        objective: the loss.
        ground: what the steps are taken on.
        trajectory: the rollout.
        horizons: steps after which to compare, others among them.
        floor: root mean square of what rounding does to a change, nats.

    Returns:
        Fact and error; None where the rollout nowhere moves clearly above the rounding floor.
    """
    followed, rate = ground.followed, trajectory.learning_rate
    last = trajectory.steps[-1] if trajectory.ended is None else trajectory.ended - 1
    ours = roll(followed, objective, learning_rate=rate, steps=last).change[:, :, followed.training :]
    if not bool(_clear(ours, floor).any()):
        return None
    points = recorded_steps([*(h for h in horizons if h < last), last], points=_POINTS)[1:]
    measured = _walk(objective, ground, learning_rate=rate, points=points)
    diverged = len(measured) < len(points)
    points = points[: len(measured)]
    size, off = measured.flatten(1).norm(dim=1), (ours[list(points)] - measured).flatten(1).norm(dim=1)
    error = tuple(
        float(o / s) if clear else None for o, s, clear in zip(off, size, _clear(measured, floor), strict=True)
    )
    chosen, rejected = measured.mean(2).unbind(1)
    return RolloutCheck(
        label, trajectory.scale, rate, points, tuple(chosen.tolist()), tuple(rejected.tolist()), error,
        _good_until(points, error), floor, diverged,
    )  # fmt: skip


def _clear(changes: Float64[Tensor, "point two held_out"], floor: float) -> Bool[Tensor, " point"]:
    """After which steps the held-out log-probs have moved clearly above the rounding floor."""
    moved = changes.flatten(1).square().mean(1).sqrt()
    return (moved > 0) & (moved >= _ABOVE * floor)


def _walk(
    objective: Objective, ground: RolloutSetup, *, learning_rate: float, points: Sequence[int]
) -> Float64[Tensor, "point two held_out"]:
    """Change of the held-out log-probs along real steps, as far as they are finite."""
    forwards, seen = ground.held_out.forwards(), []
    with walking(ground.held_out.model) as take:
        before = logp_values(forwards)
        for step in range(1, points[-1] + 1):
            try:
                take(_update(objective, ground, (step - 1) % len(ground.batches)), learning_rate)
                if step in points:
                    seen.append(logp_values(forwards) - before)
            except NumericalError:
                break
    return torch.stack(seen) if seen else before.new_zeros(0, *before.shape)


def _update(objective: Objective, ground: RolloutSetup, number: int) -> PlainUpdate:
    """The direction of a plain step on an update batch, its coefficients those of the weights as they are."""
    passes, batch = ground.batches[number], torch.tensor(ground.followed.batches[number])
    coefficients = objective.coefficients(_as_they_are(passes, ground.followed.geometry.logps.take(batch)))
    return plain_update(passes.model, passes.forwards(), by_pass(passes, coefficients))


def _as_they_are(passes: MicroBatches, start: PairLogps) -> PairLogps:
    """Log-probs under the weights as they are, what belongs to the reference as at the start."""
    chosen, rejected = logp_values(passes.forwards())
    return replace(start, chosen=chosen, rejected=rejected)


def _good_until(points: Sequence[int], error: Sequence[float | None]) -> int | None:
    """The last step up to which the error is never too large, among those where there is one."""
    judged = [(point, off) for point, off in zip(points, error, strict=True) if off is not None]
    good = [point for point, _ in takewhile(lambda each: each[1] <= _TOLERANCE, judged)]
    return max(good, default=0) if judged else None
