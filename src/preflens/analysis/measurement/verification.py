"""Real plain steps on some update batches, compared with their predictions and undone."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from preflens.agreement import agreement
from preflens.analysis.measurement.forward_passes import MicroBatches, by_pass
from preflens.analysis.measurement.geometry import BatchGeometry
from preflens.analysis.measurement.real_steps import in_float32, measure_change, plain_update
from preflens.dynamics import predict_change
from preflens.objectives.kinds.base import Objective
from preflens.records.analysis_metadata import Verification
from preflens.types import LogpChange, PairCoefficients

_TARGET = 1e-2  # nats: root mean square of the changes of a step
_TINY = 1e-3  # of that step: curvature is negligible there, and the remaining prediction error is rounding


def verify_objective(
    label: str,
    objective: Objective,
    passes: Sequence[MicroBatches],
    geometries: Sequence[BatchGeometry],
    *,
    advance: Callable[[int], None] = lambda _: None,
) -> Verification:
    """Step on update batches and compare the measured changes with the predicted ones.

    Args:
        label: label of the objective.
        objective: whose plain step is taken.
        passes: the update batches to step on. The model's weights are the same afterwards.
        geometries: geometry of each of these batches.
        advance: called after each batch.

    Returns:
        Predicted and measured change of each response, nats, and their agreement. Half-precision models are stepped in
        float32.
    """
    ids: list[str] = []
    sides: list[str] = []
    sizes: list[float] = []
    points: list[np.ndarray] = []  # per batch: [forecast, measured, rounding error], response
    for batch, geometry in zip(passes, geometries, strict=True):
        size, numbers = _step_and_compare(batch, geometry, objective.coefficients(geometry.logps))
        batch_ids = [p.pair.id for part in batch.pairs for p in part]
        ids += batch_ids + batch_ids
        sides += ["chosen"] * len(batch_ids) + ["rejected"] * len(batch_ids)
        sizes.append(size)
        points.append(numbers)
        advance(1)
    forecast, measured, rounding = np.concatenate(points, axis=1)
    floor = float(np.sqrt(np.mean(rounding**2)))
    result = agreement(forecast, measured, sign_floor=floor)
    return Verification(
        objective=label,
        batches=len(points),
        step_sizes=tuple(sizes),
        ids=tuple(ids),
        sides=tuple(sides),
        forecast=tuple(forecast.tolist()),
        measured=tuple(measured.tolist()),
        slope=result.slope,
        correlation=result.correlation,
        signs_right=result.signs,
        rounding_floor=floor,
    )


def _step_and_compare(
    passes: MicroBatches, geometry: BatchGeometry, coefficients: PairCoefficients
) -> tuple[float, np.ndarray]:
    unit = _flat(predict_change(geometry.gram, coefficients, learning_rate=1.0))
    strength = float(np.sqrt(np.mean(unit**2)))
    size = _TARGET / strength if strength > 0 else 0.0
    with in_float32(passes.model):
        update = plain_update(passes.model, passes.forwards(), by_pass(passes, coefficients))
        measured = _flat(measure_change(passes.model, passes.forwards(), update, learning_rate=size))
        tiny = _flat(measure_change(passes.model, passes.forwards(), update, learning_rate=_TINY * size))
    return size, np.stack([size * unit, measured, tiny - _TINY * size * unit])


def _flat(change: LogpChange) -> np.ndarray:
    values: np.ndarray = torch.cat([change.chosen, change.rejected]).numpy()
    return values
