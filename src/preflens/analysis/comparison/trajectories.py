"""The rollout of every objective: training pairs step, held-out pairs are moved by them, the Gram stays as it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from preflens.analysis.geometry import BatchGeometry
from preflens.dynamics import follow, step_change
from preflens.errors import NumericalError
from preflens.mitigations import CoefficientMap, what_if
from preflens.objectives.base import Objective
from preflens.records.comparison_facts import Trajectory

LEARNING_RATE, EQUAL_MARGIN = "learning rate", "equal margin"
_POINTS = 40  # of a trajectory that are kept


@dataclass(frozen=True)
class Followed:
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
        change: since the start, of chosen and rejected responses; steps that could not be represented are missing.
        broke_off: the first such step, or None.
        impossible_from: the first step after which some log-prob is above zero, or None.
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
    followed: Followed,
    objective: Objective,
    *,
    learning_rate: float,
    steps: int,
    mitigation: CoefficientMap | None = None,
) -> Path:
    """Roll an objective out as far as numbers go.

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
    through = None if mitigation is None else what_if(mitigation)
    path = follow(gram, logps, objective, learning_rate=learning_rate, batches=followed.batches, through=through)
    seen: list[Tensor] = []
    broke_off = None
    try:
        for values in islice(path, steps + 1):
            seen.append(values)  # noqa: PERF402  # what was seen before an error counts
    except NumericalError:
        broke_off = len(seen)
    whole = torch.stack(seen)
    above = (whole > 0).flatten(1).any(1)
    return Path(whole - whole[0], broke_off, int(above.long().argmax()) if bool(above.any()) else None)


def equal_margin_rate(
    followed: Followed,
    objective: Objective,
    *,
    margin_gain: float,
    steps: int,
    mitigation: CoefficientMap | None = None,
) -> float | None:
    """Find the learning rate at which the mean training margin gains a given amount, at its pace of the start.

    Args:
        followed: the pairs.
        objective: the loss.
        margin_gain: nats over all steps.
        steps: how many.
        mitigation: what every step goes through.

    Returns:
        η, or None where the mean margin does not grow.
    """
    logps, gram = followed.geometry.logps, followed.geometry.gram
    through = None if mitigation is None else what_if(mitigation)
    gain = 0.0
    for batch in followed.batches:
        change = step_change(gram, logps, objective, torch.tensor(batch), through=through)
        gain += float((change[0] - change[1])[: followed.training].mean()) / len(followed.batches)
    return margin_gain / (steps * gain) if gain > 0 else None


def trajectories(
    objectives: Mapping[str, Objective],
    followed: Followed,
    *,
    learning_rate: float,
    margin_gain: float,
    steps: Sequence[int],
    mitigations: Mapping[str, CoefficientMap] = MappingProxyType({}),
) -> dict[str, tuple[Trajectory, ...]]:
    """Roll every objective out, at the learning rate asked for and rescaled to equal margin gain.

    Args:
        objectives: by label.
        followed: the pairs.
        learning_rate: η.
        margin_gain: nats that the mean training margin is to gain by the last step, at its pace of the start.
        steps: that are kept.
        mitigations: by the labels of those that step through one.

    Returns:
        One trajectory a scale; the rescaled one is missing where the margin does not grow.
    """
    found = {}
    for label, objective in objectives.items():
        last, through = steps[-1], mitigations.get(label)
        own = equal_margin_rate(followed, objective, margin_gain=margin_gain, steps=last, mitigation=through)
        rates = {LEARNING_RATE: learning_rate} | ({} if own is None else {EQUAL_MARGIN: own})
        found[label] = tuple(
            _record(
                scale, rate, roll(followed, objective, learning_rate=rate, steps=last, mitigation=through),
                followed, steps,
            )
            for scale, rate in rates.items()
        )  # fmt: skip
    return found


def _record(scale: str, rate: float, path: Path, followed: Followed, steps: Sequence[int]) -> Trajectory:
    train, held = path.change[:, :, : followed.training].mean(2), path.change[:, :, followed.training :].mean(2)

    def kept(means: Tensor, side: int) -> tuple[float | None, ...]:
        return tuple(float(means[step, side]) if step < len(means) else None for step in steps)

    return Trajectory(
        scale, rate, tuple(steps), kept(train, 0), kept(train, 1), kept(held, 0), kept(held, 1), path.broke_off,
        path.impossible_from,
    )  # fmt: skip
