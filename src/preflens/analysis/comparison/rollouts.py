"""The rollout of every objective: training pairs step, held-out pairs are moved by them, the Gram stays as it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from preflens.analysis.measurement.geometry import BatchGeometry
from preflens.dynamics import iterate_rollout
from preflens.errors import NumericalError
from preflens.mitigations import CoefficientMap, as_rollout_transform
from preflens.objectives.kinds.base import Objective
from preflens.pair_logps import PairLogps
from preflens.records.comparison_metadata import EQUAL_MARGIN, LEARNING_RATE, Trajectory

_POINTS = 40  # of a trajectory that are kept
_LEAST = -745.0  # nats: float64 holds no smaller probability of a token than exp of this


@dataclass(frozen=True)
class RolloutPairs:
    """The pairs that a rollout follows.

    Attributes:
        geometry: of all of them: the training pairs, update batch after update batch, then the held-out pairs.
        batches: positions of the pairs of each update batch.
        training: how many are training pairs.
    """

    geometry: BatchGeometry
    batches: tuple[tuple[int, ...], ...]
    training: int


@dataclass(frozen=True)
class Path:
    """Log-probs along a rollout.

    Attributes:
        change: since the start, of chosen and rejected responses; it ends before the first step that cannot be.
        broke_off: that step, where log-probs diverge: they or their coefficients cannot be represented; or None.
        impossible_from: that step, where some log-prob is above zero; or None.
    """

    change: Float64[Tensor, "step two pair"]
    broke_off: int | None
    impossible_from: int | None


def recorded_steps(horizons: Sequence[int], *, points: int = _POINTS) -> tuple[int, ...]:
    """Choose the steps of a trajectory that are kept: denser at the start, the horizons among them.

    Args:
        horizons: steps that were asked for.
        points: about how many to keep.

    Returns:
        Steps in order, 0 the first.
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
) -> Path:
    """Roll an objective out as long as its log-probs can be such.

    Args:
        followed: the pairs.
        objective: the loss.
        learning_rate: η.
        steps: how many steps.
        mitigation: what every step goes through.

    Returns:
        The path.
    """
    logps, gram = followed.geometry.logps, followed.geometry.gram
    through = None if mitigation is None else as_rollout_transform(mitigation)
    path = iterate_rollout(
        gram, logps, objective, learning_rate=learning_rate, batches=followed.batches, through=through
    )
    start = torch.stack([logps.chosen, logps.rejected]).double()
    seen: list[Tensor] = []
    broke_off, impossible_from = None, None
    try:
        for values in islice(path, steps + 1):
            if bool((values > start.clamp(min=0)).any()):  # at the start one may be above zero by rounding
                impossible_from = len(seen)
                break
            if bool((values < torch.minimum(start, _least(logps))).any()):
                broke_off = len(seen)
                break
            seen.append(values)
    except NumericalError:
        broke_off = len(seen)
    return Path(torch.stack(seen) - start, broke_off, impossible_from)


def _least(logps: PairLogps) -> Float64[Tensor, "two pair"]:
    """The log-prob of a response at which the probability of its tokens is none."""
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
    """Roll every objective out, at the learning rate asked for and at a rate of its own.

    Args:
        objectives: by label.
        followed: the pairs.
        learning_rate: η.
        equal_margin_rates: by label: η at which the margin would gain `margin_gain` by the last step, at the pace of
            the first; None where there is none.
        steps: that are kept.
        mitigations: by the labels of those that step through one.

    Returns:
        One trajectory a scale.
    """
    found = {}
    for label, objective in objectives.items():
        own, through = equal_margin_rates[label], mitigations.get(label)
        rates = {LEARNING_RATE: learning_rate} | ({} if own is None else {EQUAL_MARGIN: own})
        found[label] = tuple(
            _record(
                scale, rate, roll(followed, objective, learning_rate=rate, steps=steps[-1], mitigation=through),
                followed, steps,
            )
            for scale, rate in rates.items()
        )  # fmt: skip
    return found


def _record(scale: str, rate: float, path: Path, followed: RolloutPairs, steps: Sequence[int]) -> Trajectory:
    train, held = path.change[:, :, : followed.training].mean(2), path.change[:, :, followed.training :].mean(2)

    def kept(means: Tensor, side: int) -> tuple[float | None, ...]:
        return tuple(float(means[step, side]) if step < len(means) else None for step in steps)

    return Trajectory(
        scale, rate, tuple(steps), kept(train, 0), kept(train, 1), kept(held, 0), kept(held, 1), path.broke_off,
        path.impossible_from,
    )  # fmt: skip
