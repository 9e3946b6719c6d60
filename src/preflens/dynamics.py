"""What a plain gradient step does to log-probs, to first order: prediction, outcome, the paper's conditions, rollout.

Everything here is Δa = η G c: the Gram matrix G of response gradients times the coefficients c of an objective times
the learning rate η. The Gram comes from `preflens.gram`, the coefficients from `preflens.objectives`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice

import torch
from jaxtyping import Float64, Int
from torch import Tensor

from preflens.errors import NumericalError, UnsupportedObjectiveError
from preflens.objectives.kinds.base import Objective
from preflens.pair_logps import PairLogps
from preflens.records.outcome import Outcome
from preflens.types import BatchGram, LogpChange, PairCoefficients, PairGram

# What stands between an objective's coefficients and the step of the pairs that share it.
CoefficientTransform = Callable[[PairCoefficients, BatchGram], PairCoefficients]

# A change is the difference of two terms; below this share of their size it is rounding of float32 gradients.
RELATIVE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class GradientCondition:
    """How far a pair is from the two inequalities of the paper; positive means the side moves as intended.

    Attributes:
        chosen: d_w ‖g_w‖² − d_l ⟨g_w, g_l⟩, the chosen side's change per unit of learning rate.
        rejected: d_l ‖g_l‖² − d_w ⟨g_w, g_l⟩, the rejected side's fall per unit of learning rate.
    """

    chosen: Float64[Tensor, "*block pair"]
    rejected: Float64[Tensor, "*block pair"]


@dataclass(frozen=True)
class BandPosition:
    """Where a pair stands in the band of coefficient ratios for which both sides move as intended.

    Attributes:
        log_ratio: log(r/r*), r = d_w/d_l and r* = ‖g_l‖/‖g_w‖; NaN unless both coefficients are positive.
        slack: −log ρ − |log(r/r*)|, ρ the cosine; positive inside the band, +∞ where ρ ≤ 0 (every positive ratio is
            inside), NaN where `log_ratio` is.
    """

    log_ratio: Float64[Tensor, " pair"]
    slack: Float64[Tensor, " pair"]


@dataclass(frozen=True)
class Rollout:
    """Log-probs along steps of an objective with the Gram held fixed; nats.

    Attributes:
        chosen: log-probs of the chosen responses, the start first.
        rejected: log-probs of the rejected responses.
    """

    chosen: Float64[Tensor, "step pair"]
    rejected: Float64[Tensor, "step pair"]


def predict_change(gram: PairGram | BatchGram, coefficients: PairCoefficients, *, learning_rate: float) -> LogpChange:
    """Predict the change of all log-probs after one plain gradient step, to first order.

    From a `PairGram`: each pair steps alone, Δa_w = η (d_w ‖g_w‖² − d_l ⟨g_w,g_l⟩) and
    Δa_l = η (d_w ⟨g_w,g_l⟩ − d_l ‖g_l‖²). From a `BatchGram`: the pairs share one step of the mean loss, so
    Δa = (η/N) G c with the cross-pair terms.

    Args:
        gram: gradient geometry; blocks, if any, are added up.
        coefficients: d_w and d_l of the same pairs.
        learning_rate: η, squared parameter units per nat.

    Returns:
        The change in nats.

    Example:
        Orthogonal gradients of norm 1, both coefficients ½: chosen rises and rejected falls by η/2.

        >>> import torch
        >>> one, zero, half = (torch.tensor([x], dtype=torch.float64) for x in (1.0, 0.0, 0.5))
        >>> change = predict_change(PairGram(one, one, zero), PairCoefficients(half, half), learning_rate=0.1)
        >>> change.chosen.item(), change.rejected.item()
        (0.05, -0.05)

    References:
        Yuan et al., arXiv 2410.13828, Eqs. 4-5 (DPO, own pair); the sum over a batch is the same line for all rows.
    """
    whole = gram.total()
    if isinstance(whole, BatchGram):
        change = learning_rate / whole.pairs * (whole.matrix @ coefficients.signed())
        return LogpChange(change[: whole.pairs], change[whole.pairs :])
    slack = gradient_condition(whole, coefficients)
    return LogpChange(learning_rate * slack.chosen, -learning_rate * slack.rejected)


def gradient_condition(gram: PairGram, coefficients: PairCoefficients) -> GradientCondition:
    """Compute the slack of the two inequalities that decide whether a step does what it should.

    Chosen rises iff d_w ‖g_w‖² > d_l ⟨g_w,g_l⟩; rejected falls iff d_l ‖g_l‖² > d_w ⟨g_w,g_l⟩. Nothing is divided, so
    the signs hold for negative coefficients too. With blocks, the slacks of the blocks add up to the whole.

    Args:
        gram: gradient geometry.
        coefficients: d_w and d_l of the same pairs.

    Returns:
        Left side minus right side of both.

    References:
        Yuan et al., arXiv 2410.13828, Condition 1 (DPO) and Section 3.2 (general losses).
    """
    whole = coefficients.of_whole_responses()
    d_w, d_l, ip = whole.chosen, whole.rejected, gram.inner_product
    return GradientCondition(d_w * gram.chosen_sq_norm - d_l * ip, d_l * gram.rejected_sq_norm - d_w * ip)


def band_position(gram: PairGram, coefficients: PairCoefficients) -> BandPosition:
    """Place each pair in the band ρ r* < r < r*/ρ in which both sides move as intended.

    Args:
        gram: gradient geometry; blocks, if any, are added up.
        coefficients: d_w and d_l of the same pairs.

    Returns:
        Position and slack, both in natural logarithms, no unit.

    References:
        Equivalent to Condition 1 of arXiv 2410.13828 for positive coefficients; the name follows arXiv 2604.18239.
    """
    whole, c = gram.total(), coefficients.of_whole_responses()
    ratio = c.chosen / c.rejected
    positive = (c.chosen > 0) & (c.rejected > 0)
    log_ratio = torch.where(positive, ratio, torch.nan).log() - 0.5 * (
        whole.rejected_sq_norm.log() - whole.chosen_sq_norm.log()
    )
    # log of a cosine ≤ 0 is taken as −∞: then every positive ratio is inside the band.
    log_cosine = torch.where(whole.inner_product > 0, whole.cosine, 0.0).log()
    return BandPosition(log_ratio, -log_cosine - log_ratio.abs())


def cancellation_tolerance(
    gram: PairGram, coefficients: PairCoefficients, *, learning_rate: float, relative: float = RELATIVE_TOLERANCE
) -> LogpChange:
    """Return the size below which an own-pair change cannot be told from zero.

    A change is a difference, as in d_w ‖g_w‖² − d_l ⟨g_w,g_l⟩. For identical responses the two terms cancel and what
    is left is rounding. The tolerance is a share of the larger term.

    Args:
        gram: gradient geometry; blocks, if any, are added up.
        coefficients: d_w and d_l of the same pairs.
        learning_rate: η of the change to be judged.
        relative: share of the terms' size; no unit.

    Returns:
        Tolerance of each side, nats.
    """
    whole = gram.total()
    d_w, d_l, cross = coefficients.chosen.abs(), coefficients.rejected.abs(), whole.inner_product.abs()
    return LogpChange(
        learning_rate * relative * torch.maximum(d_w * whole.chosen_sq_norm, d_l * cross),
        learning_rate * relative * torch.maximum(d_l * whole.rejected_sq_norm, d_w * cross),
    )


def classify(change: LogpChange, tolerance: LogpChange | float = 0.0) -> tuple[Outcome, ...]:
    """Name the outcome of each pair.

    Args:
        change: predicted or measured change, nats.
        tolerance: a side that moves by no more than this counts as unchanged; nats.

    Returns:
        One outcome a pair.

    Example:
        >>> import torch
        >>> up, down = torch.tensor([0.1], dtype=torch.float64), torch.tensor([-0.1], dtype=torch.float64)
        >>> classify(LogpChange(down, down))
        (<Outcome.BOTH_FALL: 'both_fall'>,)
    """
    limit = (
        tolerance
        if isinstance(tolerance, LogpChange)
        else LogpChange(*(2 * [torch.full_like(change.chosen, tolerance)]))
    )
    still = (change.chosen.abs() <= limit.chosen) | (change.rejected.abs() <= limit.rejected)
    rows = zip(still.tolist(), (change.chosen > 0).tolist(), (change.rejected > 0).tolist(), strict=True)
    return tuple(Outcome.UNCHANGED if unmoved else _DIRECTIONS[up, other_up] for unmoved, up, other_up in rows)


_DIRECTIONS = {
    (True, False): Outcome.INTENDED,
    (True, True): Outcome.BOTH_RISE,
    (False, False): Outcome.BOTH_FALL,
    (False, True): Outcome.REVERSED,
}


def rollout(
    gram: BatchGram,
    logps: PairLogps,
    objective: Objective,
    *,
    steps: int,
    learning_rate: float,
    batches: Sequence[Sequence[int]] | None = None,
    through: CoefficientTransform | None = None,
) -> Rollout:
    """Follow log-probs over many steps of an objective with the Gram held fixed.

    Nothing keeps a log-prob below zero: from the first step with one above it, numbers are no forecast of a policy's.

    Args:
        gram: geometry of all pairs; blocks, if any, are added up.
        logps: log-probs at the start, with what the objective needs beside them.
        objective: the loss that is stepped.
        steps: how many steps.
        learning_rate: η.
        batches: as for `iterate_rollout`.
        through: as for `iterate_rollout`.

    Returns:
        Log-probs at the start and after every step.
    """
    path = iterate_rollout(gram, logps, objective, learning_rate=learning_rate, batches=batches, through=through)
    return Rollout(*torch.stack(list(islice(path, steps + 1)), dim=1).unbind())


def iterate_rollout(
    gram: BatchGram,
    logps: PairLogps,
    objective: Objective,
    *,
    learning_rate: float,
    batches: Sequence[Sequence[int]] | None = None,
    through: CoefficientTransform | None = None,
) -> Iterator[Float64[Tensor, "two pair"]]:
    """Step an objective, endlessly, with the Gram held fixed.

    a ← a + (η/n) G[:, b] c(a_b), the coefficients taken anew at every step from the n pairs b that share it. Exact for
    a model that is linear in its parameters; elsewhere an estimate that drifts as G does.

    Args:
        gram: geometry of all pairs; blocks, if any, are added up.
        logps: log-probs at the start, with what the objective needs beside them.
        objective: the loss that is stepped.
        learning_rate: η.
        batches: positions of the pairs that share an update, taken in turn, over and over; pairs in none of them are
            moved by the others only, as held-out pairs are. None: all pairs share every step.
        through: changes the coefficients of every step, as a mitigation does (`mitigations.what_if`).

    Yields:
        Chosen and rejected log-probs, at the start and after every step, nats.

    Raises:
        NumericalError: a log-prob leaves what can be represented; the steps are too large for this objective.
        UnsupportedObjectiveError: the objective uses log-probs of tokens or of an extrapolated policy, which a rollout
            of whole responses does not follow.
    """
    beyond = sorted(objective.inputs - {"reference", "length"})
    if beyond:
        raise UnsupportedObjectiveError(
            f"A rollout follows log-probs of whole responses, and objective `{objective.name}` also uses: "
            f"{', '.join(beyond)}. Take real steps instead."
        )
    whole, now = gram.total(), logps.double()
    places = [torch.tensor(b) for b in ([range(gram.pairs)] if batches is None else batches)]
    values = torch.stack([now.chosen, now.rejected])
    for here in cycle(places):
        yield values
        values = values + learning_rate * step_change(whole, now, objective, here, through=through)
        if not bool(torch.isfinite(values).all()):
            raise NumericalError("A log-prob of the rollout is not finite: the steps are too large for this objective.")
        now = replace(now, chosen=values[0], rejected=values[1])


def step_change(
    gram: BatchGram,
    logps: PairLogps,
    objective: Objective,
    here: Int[Tensor, " some"],
    *,
    through: CoefficientTransform | None = None,
) -> Float64[Tensor, "two pair"]:
    """Predict what one plain step at learning rate 1 on the mean loss of some pairs does to all: G[:, b] c(a_b)/n.

    Args:
        gram: geometry of all pairs; blocks, if any, are added up.
        logps: log-probs of all pairs, with what the objective needs beside them.
        objective: the loss that is stepped.
        here: positions of the n pairs that share the step.
        through: changes the coefficients, as a mitigation does (`mitigations.what_if`).

    Returns:
        Change of chosen and of rejected log-probs, nats for each unit of the learning rate.
    """
    whole, coefficients = gram.total().matrix, objective.coefficients(logps.take(here))
    rows = torch.cat([here, here + gram.pairs])
    if through is not None:
        values = torch.cat([logps.chosen, logps.rejected]).double()
        coefficients = through(coefficients, BatchGram(whole[rows][:, rows], values[rows]))
    return (whole[:, rows] @ coefficients.signed() / len(here)).reshape(2, -1)
