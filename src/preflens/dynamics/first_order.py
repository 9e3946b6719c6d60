"""One plain gradient step: the predicted change of log-probs, its outcome, and when it is the intended one."""

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from preflens.records.outcome import Outcome
from preflens.types import BatchGram, LogpChange, PairCoefficients, PairGram

# A change is the difference of two terms; below this share of their size it is rounding of float32 gradients.
RELATIVE_TOLERANCE = 1e-6

_OUTCOMES = {
    (True, False): Outcome.INTENDED,
    (True, True): Outcome.BOTH_RISE,
    (False, False): Outcome.BOTH_FALL,
    (False, True): Outcome.REVERSED,
}


@dataclass(frozen=True)
class GradientCondition:
    """Slack of the paper's two inequalities; where it is positive, the response's log-prob moves as intended.

    Attributes:
        chosen: d_w ‖g_w‖² − d_l ⟨g_w, g_l⟩, the rise of the chosen log-prob per unit of learning rate.
        rejected: d_l ‖g_l‖² − d_w ⟨g_w, g_l⟩, the fall of the rejected log-prob per unit of learning rate.
    """

    chosen: Float64[Tensor, "*block pair"]
    rejected: Float64[Tensor, "*block pair"]


@dataclass(frozen=True)
class BandPosition:
    """Position of each pair in the band of coefficient ratios for which both log-probs move as intended.

    Attributes:
        log_ratio: log(r/r*), r = d_w/d_l and r* = ‖g_l‖/‖g_w‖; NaN unless both coefficients are positive.
        slack: −log ρ − |log(r/r*)|, ρ the cosine; positive inside the band, +∞ where ρ ≤ 0 (every positive ratio is
            inside), NaN where `log_ratio` is.
    """

    log_ratio: Float64[Tensor, " pair"]
    slack: Float64[Tensor, " pair"]


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

    Raises:
        UnsupportedObjectiveError: the coefficients differ from token to token.

    Example:
        Orthogonal gradients of norm 1, both coefficients ½: chosen rises and rejected falls by η/2.

        >>> import torch
        >>> from preflens.types import PairCoefficients, PairGram
        >>> one, zero, half = (torch.tensor([x], dtype=torch.float64) for x in (1.0, 0.0, 0.5))
        >>> change = predict_change(PairGram(one, one, zero), PairCoefficients(half, half), learning_rate=0.1)
        >>> change.chosen.item(), change.rejected.item()
        (0.05, -0.05)

    References:
        Yuan et al., arXiv 2410.13828, Eqs. 4-5 (DPO, own pair). The sum over a batch is the same line for all rows.
    """
    total = gram.total()
    if isinstance(total, BatchGram):
        change = learning_rate / total.pairs * (total.matrix @ coefficients.signed())
        return LogpChange(change[: total.pairs], change[total.pairs :])
    slack = gradient_condition(total, coefficients)
    return LogpChange(learning_rate * slack.chosen, -learning_rate * slack.rejected)


def gradient_condition(gram: PairGram, coefficients: PairCoefficients) -> GradientCondition:
    """Compute the slack of the two inequalities that decide whether a step moves both log-probs as intended.

    Chosen rises iff d_w ‖g_w‖² > d_l ⟨g_w,g_l⟩. Rejected falls iff d_l ‖g_l‖² > d_w ⟨g_w,g_l⟩. Nothing is divided, so
    the signs hold for negative coefficients too. With blocks, the slacks of the blocks add up to the total.

    Args:
        gram: gradient geometry.
        coefficients: d_w and d_l of the same pairs.

    Returns:
        Left side minus right side of both, nats per unit of learning rate.

    Raises:
        UnsupportedObjectiveError: the coefficients differ from token to token.

    Example:
        Parallel gradients, the rejected one twice as long: with d_w = d_l = 1 both log-probs fall.

        >>> import torch
        >>> from preflens.types import PairCoefficients, PairGram
        >>> one, two, four = (torch.tensor([x], dtype=torch.float64) for x in (1.0, 2.0, 4.0))
        >>> slack = gradient_condition(PairGram(one, four, two), PairCoefficients(one, one))
        >>> slack.chosen.item(), slack.rejected.item()
        (-1.0, 2.0)

    References:
        Yuan et al., arXiv 2410.13828, Condition 1 (DPO) and Section 3.2 (general losses).
    """
    c = coefficients.of_whole_responses()
    inner = gram.inner_product
    return GradientCondition(
        c.chosen * gram.chosen_sq_norm - c.rejected * inner, c.rejected * gram.rejected_sq_norm - c.chosen * inner
    )


def band_position(gram: PairGram, coefficients: PairCoefficients) -> BandPosition:
    """Locate each pair in the band ρ r* < r < r*/ρ in which both log-probs move as intended.

    Args:
        gram: gradient geometry; blocks, if any, are added up.
        coefficients: d_w and d_l of the same pairs.

    Returns:
        Position and slack, both in natural logarithms, no unit.

    Raises:
        UnsupportedObjectiveError: the coefficients differ from token to token.

    Example:
        Norms 1 and cosine ½: the band is ½ < r < 2, and r = 1 is log 2 away from either end.

        >>> import torch
        >>> from preflens.types import PairCoefficients, PairGram
        >>> one, half = (torch.tensor([x], dtype=torch.float64) for x in (1.0, 0.5))
        >>> position = band_position(PairGram(one, one, half), PairCoefficients(one, one))
        >>> position.log_ratio.item(), round(position.slack.item(), 4)
        (0.0, 0.6931)

    References:
        Equivalent to Condition 1 of arXiv 2410.13828 for positive coefficients; the name follows arXiv 2604.18239.
    """
    total, c = gram.total(), coefficients.of_whole_responses()
    ratio = c.chosen / c.rejected
    positive = (c.chosen > 0) & (c.rejected > 0)
    log_ratio = torch.where(positive, ratio, torch.nan).log() - 0.5 * (
        total.rejected_sq_norm.log() - total.chosen_sq_norm.log()
    )
    # log of a cosine ≤ 0 is taken as −∞: then every positive ratio is inside the band.
    log_cosine = torch.where(total.inner_product > 0, total.cosine, 0.0).log()
    return BandPosition(log_ratio, -log_cosine - log_ratio.abs())


def cancellation_tolerance(
    gram: PairGram, coefficients: PairCoefficients, *, learning_rate: float, relative: float = RELATIVE_TOLERANCE
) -> LogpChange:
    """Return the size below which an own-pair change cannot be distinguished from zero.

    A change is a difference, as in d_w ‖g_w‖² − d_l ⟨g_w,g_l⟩. For identical responses the two terms cancel and what
    is left is rounding. The tolerance is a share of the larger term.

    Args:
        gram: gradient geometry; blocks, if any, are added up.
        coefficients: d_w and d_l of the same pairs.
        learning_rate: η of the change to be judged.
        relative: share of the terms' size; no unit.

    Returns:
        Tolerance of the chosen and of the rejected change, nats.

    Example:
        Identical responses of norm 1: each change is 1 − 1 = 0, up to a millionth.

        >>> import torch
        >>> from preflens.types import PairCoefficients, PairGram
        >>> one = torch.ones(1, dtype=torch.float64)
        >>> cancellation_tolerance(PairGram(one, one, one), PairCoefficients(one, one), learning_rate=1.0).chosen.item()
        1e-06
    """
    total = gram.total()
    d_w, d_l, inner = coefficients.chosen.abs(), coefficients.rejected.abs(), total.inner_product.abs()
    return LogpChange(
        learning_rate * relative * torch.maximum(d_w * total.chosen_sq_norm, d_l * inner),
        learning_rate * relative * torch.maximum(d_l * total.rejected_sq_norm, d_w * inner),
    )


def classify(change: LogpChange, tolerance: LogpChange | float = 0.0) -> tuple[Outcome, ...]:
    """Return the outcome of each pair: the directions in which its two log-probs move.

    Args:
        change: predicted or measured change, nats.
        tolerance: a log-prob that moves by no more than this counts as unchanged; nats.

    Returns:
        One outcome per pair.

    Example:
        >>> import torch
        >>> from preflens.types import LogpChange
        >>> down = torch.tensor([-0.1], dtype=torch.float64)
        >>> classify(LogpChange(down, down))
        (<Outcome.BOTH_FALL: 'both_fall'>,)
    """
    if not isinstance(tolerance, LogpChange):
        limit = torch.full_like(change.chosen, tolerance)
        tolerance = LogpChange(limit, limit)
    unchanged = (change.chosen.abs() <= tolerance.chosen) | (change.rejected.abs() <= tolerance.rejected)
    rows = zip(unchanged.tolist(), (change.chosen > 0).tolist(), (change.rejected > 0).tolist(), strict=True)
    return tuple(Outcome.UNCHANGED if still else _OUTCOMES[up, other_up] for still, up, other_up in rows)
