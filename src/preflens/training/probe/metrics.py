"""A look as numbers with names: floats only, so that every tracker takes them."""

from collections.abc import Mapping
from math import isfinite

import torch

from preflens.records.outcome import Outcome
from preflens.training.probe.calibration import Calibration
from preflens.training.probe.result import SIDES, ProbeResult
from preflens.types import LogpChange, PairGram

PREFIX = "preflens/"
GRAM_NAMES = ("cosine", "ratio_chosen", "ratio_rejected")


def look_metrics(result: ProbeResult, *, prefix: str) -> dict[str, float]:
    """Name the numbers of a look.

    Args:
        result: complete.
        prefix: before every name: nothing for the batch, `probe_` for held-out pairs.

    Returns:
        Means over pairs; changes in nats.
    """
    found = gram_metrics(result.gram)
    found |= {"logp_chosen": _mean(result.chosen_logp), "logp_rejected": _mean(result.rejected_logp)}
    found |= _shares(result.outcomes())
    for name in ("plain", "optimizer", "fact", "attribution", "curvature"):
        found |= change_metrics(name, getattr(result, name))
    if result.floor is not None:
        found |= {f"measured_floor_{side}": result.mean_floor(side) for side in SIDES}
    return {prefix + name: value for name, value in found.items()}


def gram_metrics(gram: PairGram) -> dict[str, float]:
    """Name the geometry of pairs.

    Args:
        gram: of each pair.

    Returns:
        Means over pairs, no unit.
    """
    ratios = (gram.inner_product / norm for norm in (gram.chosen_sq_norm, gram.rejected_sq_norm))
    return dict(zip(GRAM_NAMES, map(_mean, (gram.cosine, *ratios)), strict=True))


def change_metrics(name: str, change: LogpChange | None) -> dict[str, float]:
    """Name the means of a change.

    Args:
        name: of the change.
        change: nats, or None for nothing.

    Returns:
        By name.
    """
    if change is None:
        return {}
    return {f"{name}_chosen": _mean(change.chosen), f"{name}_rejected": _mean(change.rejected)}


def calibration_metrics(calibration: Calibration) -> dict[str, float]:
    """Name how well forecasts did in the last steps.

    Args:
        calibration: the window.

    Returns:
        By name; nothing before there are enough points.
    """
    named = {name: calibration.of(name) for name in ("plain", "optimizer", "persistence")}
    return {
        f"{name}_{measure}": value
        for name, found in named.items()
        if found is not None
        for measure, value in (("slope", found.slope), ("r2", found.r2), ("signs", found.signs))
        if value is not None
    }


def finite_values(metrics: Mapping[str, float]) -> dict[str, float]:
    """Put the prefix before every name and leave out what is no number, as the cosine of a zero gradient.

    Args:
        metrics: by name.

    Returns:
        The same, ready for a tracker.
    """
    return {PREFIX + name: value for name, value in metrics.items() if isfinite(value)}


def _shares(outcomes: tuple[Outcome, ...] | None) -> dict[str, float]:
    if outcomes is None:
        return {}
    return {f"share_{outcome}": outcomes.count(outcome) / len(outcomes) for outcome in Outcome}


def _mean(values: torch.Tensor) -> float:
    """Of what is a number."""
    return float(values.nanmean())
