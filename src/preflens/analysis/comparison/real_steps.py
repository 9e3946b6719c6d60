"""Real plain steps of one objective, compared with prediction and rollout over held-out pairs; all are undone."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from preflens.agreement import agreement
from preflens.analysis.comparison.real_rollouts import real_rollout
from preflens.analysis.comparison.rollout_pairs import RolloutSetup
from preflens.analysis.measurement.forward_passes import by_pass
from preflens.analysis.measurement.real_steps import in_float32, measure_change, plain_update
from preflens.objectives.kinds.base import Objective
from preflens.records.comparison_metadata import RealSteps, SmallStep, Trajectory

_TARGET = 1e-2  # nats: root mean square of the held-out changes of a small step
_TINY = 1e-3  # nats, likewise, of a step without curvature: what then separates prediction and measurement is rounding


def take_real_steps(
    label: str,
    objective: Objective,
    setup: RolloutSetup,
    predicted: Sequence[Trajectory],
    *,
    small_steps: int,
    horizons: Sequence[int],
    advance: Callable[[int], None] = lambda _: None,
) -> RealSteps:
    """Take real steps of one objective and compare them with its predictions.

    Args:
        label: label of the objective.
        objective: whose plain steps are taken. The model's weights are the same afterwards.
        setup: the pairs to step on.
        predicted: trajectories of the rollout.
        small_steps: number of update batches that take one small step each.
        horizons: numbers of steps after which the rollout is compared, beside others.
        advance: called after each part.

    Returns:
        Predicted and measured changes, nats. Half-precision models are stepped in float32.
    """
    small, rollouts = [], []
    with in_float32(setup.held_out.model):
        for number in range(min(small_steps, len(setup.batches))):
            small.append(small_step(objective, setup, number))
            advance(1)
        floor = rounding_floor(objective, setup) if predicted else 0.0
        for trajectory in predicted:
            check = real_rollout(label, objective, setup, trajectory, horizons=horizons, floor=floor)
            rollouts += [] if check is None else [check]
            advance(1)
    return RealSteps(label, tuple(small), tuple(rollouts))


def small_step(objective: Objective, setup: RolloutSetup, number: int, *, target: float = _TARGET) -> SmallStep:
    """Step on one update batch and compare the held-out pairs with the prediction.

    Args:
        objective: the loss.
        setup: the pairs to step on.
        number: number of the update batch.
        target: root mean square of the held-out changes that the step is sized for, nats.

    Returns:
        Predicted and measured changes, nats.
    """
    followed, passes = setup.followed, setup.batches[number]
    gram, batch = followed.geometry.gram, torch.tensor(followed.batches[number])
    coefficients = objective.coefficients(followed.geometry.logps.take(batch))
    change = gram.matrix[:, torch.cat([batch, batch + gram.pairs])] @ coefficients.signed() / len(batch)
    unit = change.reshape(2, -1)[:, followed.training :]
    strength = float(unit.square().mean().sqrt())
    size = target / strength if strength > 0 else 0.0
    update = plain_update(passes.model, passes.forwards(), by_pass(passes, coefficients))
    real = measure_change(passes.model, setup.held_out.forwards(), update, learning_rate=size)
    order = torch.tensor(setup.in_order)
    forecast, measured = (size * unit)[:, order].numpy(), torch.stack([real.chosen, real.rejected])[:, order].numpy()
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


def rounding_floor(objective: Objective, setup: RolloutSetup) -> float:
    """Measure what rounding alone does to a measured change of the held-out log-probs.

    Weights and log-probs are rounded. Both errors differ from step to step, and neither grows with the number of steps.

    Args:
        objective: the loss.
        setup: the pairs to step on.

    Returns:
        Root mean square over held-out responses, nats, from the first update batch that changes any of them. 0 if none
        does.
    """
    for number in range(len(setup.batches)):
        step = small_step(objective, setup, number, target=_TINY)
        if step.step_size > 0:
            error = np.subtract(
                (step.chosen_forecast, step.rejected_forecast), (step.chosen_measured, step.rejected_measured)
            )
            return float(np.sqrt(np.mean(error**2)))
    return 0.0
