"""The rollout of every objective: many steps on the training pairs, with the Gram held fixed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from preflens.analysis.comparison.rollout_pairs import RolloutPairs
from preflens.dynamics import iterate_rollout
from preflens.errors import NumericalError
from preflens.mitigations import CoefficientMap, as_rollout_transform
from preflens.objectives.kinds.base import Objective
from preflens.pair_logps import PairLogps
from preflens.records.comparison_metadata import EQUAL_MARGIN, LEARNING_RATE, Trajectory

_POINTS = 40  # of a trajectory that are kept
_LEAST = -745.0  # nats: float64 holds no smaller probability of a token than exp of this


@dataclass(frozen=True)
class RolloutPath:
    """Changes of log-probs along a rollout, nats.

    Attributes:
        change: since the start, of chosen and rejected responses. It ends before the first impossible step.
        broke_off: that step, if log-probs diverge there: they or their coefficients cannot be represented. Else None.
        impossible_from: that step, if some log-prob is above zero there. Else None.
    """

    change: Float64[Tensor, "step two pair"]
    broke_off: int | None
    impossible_from: int | None


def recorded_steps(horizons: Sequence[int], *, points: int = _POINTS) -> tuple[int, ...]:
    """Choose the steps of a trajectory to record: denser at the start, and always the horizons.

    Args:
        horizons: steps that are recorded in any case.
        points: approximate number of steps.

    Returns:
        Steps in order, starting with 0.
    """
    spread = np.geomspace(1, max(horizons), points).round().astype(int).tolist()
    return tuple(sorted({0, *spread, *horizons}))


def roll(
    followed: RolloutPairs,
    objective: Objective,
    *,
    learning_rate: float,
    steps: int,
    mitigation: CoefficientMap | None = None,
) -> RolloutPath:
    """Roll an objective out, as long as all values are log-probs that float64 can represent.

    Args:
        followed: the pairs.
        objective: the loss.
        learning_rate: η.
        steps: number of steps.
        mitigation: map that the coefficients of every step pass through.

    Returns:
        The changes.
    """
    logps, gram = followed.geometry.logps, followed.geometry.gram
    transform = None if mitigation is None else as_rollout_transform(mitigation)
    path = iterate_rollout(
        gram, logps, objective, learning_rate=learning_rate, batches=followed.batches, transform=transform
    )
    start = torch.stack([logps.chosen, logps.rejected]).double()
    recorded: list[Tensor] = []
    broke_off, impossible_from = None, None
    try:
        for values in islice(path, steps + 1):
            if bool((values > start.clamp(min=0)).any()):  # at the start one may be above zero by rounding
                impossible_from = len(recorded)
                break
            if bool((values < torch.minimum(start, _least(logps))).any()):
                broke_off = len(recorded)
                break
            recorded.append(values)
    except NumericalError:
        broke_off = len(recorded)
    return RolloutPath(torch.stack(recorded) - start, broke_off, impossible_from)


def _least(logps: PairLogps) -> Float64[Tensor, "two pair"]:
    """The log-prob of a response below which the probability of its tokens is zero in float64."""
    assert logps.chosen_tokens is not None
    assert logps.rejected_tokens is not None
    return _LEAST * torch.stack([logps.chosen_tokens, logps.rejected_tokens]).double()


def trajectories(
    objectives: Mapping[str, Objective],
    followed: RolloutPairs,
    *,
    learning_rate: float,
    equal_margin_rates: Mapping[str, float | None],
    steps: Sequence[int],
    mitigations: Mapping[str, CoefficientMap] = MappingProxyType({}),
) -> dict[str, tuple[Trajectory, ...]]:
    """Roll every objective out, at the common learning rate and at the rate of equal margin gain.

    Args:
        objectives: by label.
        followed: the pairs.
        learning_rate: η.
        equal_margin_rates: by label: η at which the margin would gain `margin_gain` by the last step, at the pace of
            the first; None where there is none.
        steps: steps to record.
        mitigations: by the labels of the objectives whose coefficients pass through one.

    Returns:
        One trajectory per scale, by label.
    """
    result = {}
    for label, objective in objectives.items():
        equal_margin, mitigation = equal_margin_rates[label], mitigations.get(label)
        rates = {LEARNING_RATE: learning_rate} | ({} if equal_margin is None else {EQUAL_MARGIN: equal_margin})
        result[label] = tuple(
            _record(
                scale, rate, roll(followed, objective, learning_rate=rate, steps=steps[-1], mitigation=mitigation),
                training=followed.training, steps=steps,
            )
            for scale, rate in rates.items()
        )  # fmt: skip
    return result


def _record(scale: str, rate: float, path: RolloutPath, *, training: int, steps: Sequence[int]) -> Trajectory:
    train, held_out = path.change[:, :, :training].mean(2), path.change[:, :, training:].mean(2)

    def at_steps(means: Tensor, side: int) -> tuple[float | None, ...]:
        return tuple(float(means[step, side]) if step < len(means) else None for step in steps)

    return Trajectory(
        scale=scale, learning_rate=rate, steps=tuple(steps), train_chosen=at_steps(train, 0),
        train_rejected=at_steps(train, 1), heldout_chosen=at_steps(held_out, 0),
        heldout_rejected=at_steps(held_out, 1), broke_off=path.broke_off, impossible_from=path.impossible_from,
    )  # fmt: skip
