"""Intervals for means over two samples at once: of the units that step, and of the held-out prompts that are moved.

A predicted change is a mean over training units (prompts, or update batches) and over held-out prompts. Both are
samples. The variance of such a mean is the variance from each side less the part that both sides count (the
interaction, as in a two-way analysis of variance); Student's t with the degrees of freedom of the smaller side accounts
for how few units there are.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from preflens.records.common import Estimate

_LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Crossed:
    """Contributions to some means, added up by training unit and by held-out unit.

    Attributes:
        sums: of each mean, the sum over the members of each pair of units: [mean, training unit, held-out unit].
        training: members of each training unit.
        held_out: members of each held-out unit.
    """

    sums: np.ndarray
    training: np.ndarray
    held_out: np.ndarray

    @property
    def means(self) -> np.ndarray:
        """The mean over all members of both sides, one for each row of `sums`."""
        values: np.ndarray = self.sums.sum(axis=(1, 2)) / (self.training.sum() * self.held_out.sum())
        return values

    @property
    def units(self) -> int:
        """Units of the smaller side."""
        return min(len(self.training), len(self.held_out))


def crossed(values: np.ndarray, training: np.ndarray, held_out: np.ndarray) -> Crossed:
    """Add contributions up by units.

    Args:
        values: what each training member adds to the change of each held-out member: [mean, member, member].
        training: number of the unit of each training member.
        held_out: number of the unit of each held-out member.

    Returns:
        The sums; units in the order of their numbers, those that do not occur left out.
    """
    by_training, counts_training = _added(values, training, axis=1)
    sums, counts_held_out = _added(by_training, held_out, axis=2)
    return Crossed(sums=sums, training=counts_training, held_out=counts_held_out)


def means(of: Crossed) -> list[Estimate]:
    """Estimate means with 95 % intervals.

    Args:
        of: contributions.

    Returns:
        One estimate per mean; no interval where a side has a single unit.
    """
    values = of.means
    return _estimates(values, _variance(of, values), of.units)


def ratios_of_means(above: Crossed, below: Crossed) -> list[Estimate]:
    """Estimate ratios of means with 95 % intervals, linearised around the ratio (delta method).

    Args:
        above: numerators.
        below: denominators, over the same units.

    Returns:
        One estimate per ratio; no value where a denominator is zero.
    """
    bottom = below.means
    with np.errstate(divide="ignore", invalid="ignore"):
        values = above.means / bottom
        rest = Crossed(
            sums=above.sums - values[:, None, None] * below.sums, training=above.training, held_out=above.held_out
        )
        variance = _variance(rest, np.zeros(len(values))) / bottom**2
    return _estimates(values, variance, above.units)


def _added(values: np.ndarray, units: np.ndarray, *, axis: int) -> tuple[np.ndarray, np.ndarray]:
    _, place = np.unique(units, return_inverse=True)
    counts = np.bincount(place)
    sums = np.zeros((*values.shape[:axis], len(counts), *values.shape[axis + 1 :]))
    np.add.at(np.moveaxis(sums, axis, 0), place, np.moveaxis(values, axis, 0))
    return sums, counts.astype(float)


def _variance(of: Crossed, values: np.ndarray) -> np.ndarray:
    """Variance of each mean when both sides are drawn anew; at least that from each side alone."""
    t, h, total_t, total_h = len(of.training), len(of.held_out), of.training.sum(), of.held_out.sum()
    if of.units < 2:
        return np.full(len(values), np.nan)
    whole = values[:, None] * of.training
    of_training = of.sums.sum(axis=2) / total_h - whole
    of_held_out = of.sums.sum(axis=1) / total_t - values[:, None] * of.held_out
    rest = (
        of.sums - of_training[:, :, None] * of.held_out - of_held_out[:, None, :] * of.training[:, None]
        - whole[:, :, None] * of.held_out
    )  # fmt: skip
    sides = [
        t / (t - 1) * (of_training**2).sum(axis=1) / total_t**2,
        h / (h - 1) * (of_held_out**2).sum(axis=1) / total_h**2,
    ]
    both = t * h / ((t - 1) * (h - 1)) * (rest**2).sum(axis=(1, 2)) / (total_t * total_h) ** 2
    variance: np.ndarray = np.maximum(sides[0] + sides[1] - both, np.maximum(sides[0], sides[1]))
    return variance


def _estimates(values: np.ndarray, variance: np.ndarray, units: int) -> list[Estimate]:
    reach = student.ppf((1 + _LEVEL) / 2, max(units - 1, 1)) * np.sqrt(variance)
    return [
        Estimate(None)
        if not np.isfinite(value)
        else Estimate(float(value), float(value - off), float(value + off))
        if np.isfinite(off)
        else Estimate(float(value))
        for value, off in zip(values, reach, strict=True)
    ]
