"""Metrics of a probed step, as floats, which every tracker accepts."""

from collections.abc import Mapping
from math import isfinite

import torch

from preflens.records.outcome import Outcome
from preflens.training.probe.calibration import Calibration
from preflens.training.probe.result import ProbeResult
from preflens.types import SIDES, LogpChange, PairGram

PREFIX = "preflens/"
GRAM_NAMES = ("cosine", "ratio_chosen", "ratio_rejected")


def result_metrics(result: ProbeResult, *, prefix: str) -> dict[str, float]:
    """Return the metrics of a set of pairs.

    Args:
        result: complete.
        prefix: of every name: empty for the batch, `probe_` for held-out pairs.

    Returns:
        Means over pairs; changes in nats.
    """
    metrics = gram_metrics(result.gram)
    metrics |= {"logp_chosen": _mean(result.chosen_logp), "logp_rejected": _mean(result.rejected_logp)}
    metrics |= _shares(result.outcomes())
    for name in ("plain", "optimizer", "measured", "attribution", "curvature"):
        metrics |= change_metrics(name, getattr(result, name))
    if result.floor is not None:
        metrics |= {f"measured_floor_{side}": result.mean_floor(side) for side in SIDES}
    return {prefix + name: value for name, value in metrics.items()}


def gram_metrics(gram: PairGram) -> dict[str, float]:
    """Return the metrics of the gradient geometry of pairs.

    Args:
        gram: of each pair.

    Returns:
        Mean cosine, ⟨g_w, g_l⟩/‖g_w‖² and ⟨g_w, g_l⟩/‖g_l‖² over pairs, no unit.
    """
    ratios = (gram.inner_product / norm for norm in (gram.chosen_sq_norm, gram.rejected_sq_norm))
    return dict(zip(GRAM_NAMES, map(_mean, (gram.cosine, *ratios)), strict=True))


def change_metrics(name: str, change: LogpChange | None) -> dict[str, float]:
    """Return the mean of a change for each side.

    Args:
        name: of the change.
        change: nats, or None.

    Returns:
        Nats, by name; empty for None.
    """
    if change is None:
        return {}
    return {f"{name}_chosen": _mean(change.chosen), f"{name}_rejected": _mean(change.rejected)}


def calibration_metrics(calibration: Calibration) -> dict[str, float]:
    """Return the agreement of each forecast with the measured changes of the last steps.

    Args:
        calibration: of the last steps.

    Returns:
        By name; forecasts with too few points are left out.
    """
    agreements = {name: calibration.of(name) for name in ("plain", "optimizer", "persistence")}
    return {
        f"{name}_{measure}": value
        for name, agreement in agreements.items()
        if agreement is not None
        for measure, value in (("slope", agreement.slope), ("r2", agreement.r2), ("signs", agreement.signs))
        if value is not None
    }


def finite_values(metrics: Mapping[str, float]) -> dict[str, float]:
    """Add the prefix `preflens/` and leave out NaN and infinities, such as the cosine of a zero gradient.

    Args:
        metrics: by name.

    Returns:
        The finite metrics.
    """
    return {PREFIX + name: value for name, value in metrics.items() if isfinite(value)}


def _shares(outcomes: tuple[Outcome, ...] | None) -> dict[str, float]:
    if outcomes is None:
        return {}
    return {f"share_{outcome}": outcomes.count(outcome) / len(outcomes) for outcome in Outcome}


def _mean(values: torch.Tensor) -> float:
    """The mean without NaN."""
    return float(values.nanmean())
