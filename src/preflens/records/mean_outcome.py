"""What a step does to held-out pairs on average, decided by intervals: never by the sign of an estimate alone."""

from enum import Enum

from preflens.records.common import Estimate

# With fewer held-out prompts no interval is trusted.
FEWEST_PROMPTS = 5


class MeanOutcome(Enum):
    """The outcome of a mean step, as it is shown and saved.

    Members:
        INTENDED: chosen rises, rejected falls.
        BOTH_RISE: both rise.
        BOTH_FALL: both fall.
        MARGIN_SHRINKS: rejected gains on chosen.
        CANNOT_BE_TOLD: an interval that would decide includes zero, or there is none.
    """

    INTENDED = "intended"
    BOTH_RISE = "both rise"
    BOTH_FALL = "both fall"
    MARGIN_SHRINKS = "margin shrinks"
    CANNOT_BE_TOLD = "cannot be told"


def mean_outcome(chosen: Estimate, rejected: Estimate, margin: Estimate, *, prompts: int) -> MeanOutcome:
    """Decide what a step does to the means.

    Args:
        chosen: mean change of held-out chosen log-probs.
        rejected: likewise of rejected ones.
        margin: likewise of the margin.
        prompts: held-out prompts.

    Returns:
        The outcome.
    """
    if prompts < FEWEST_PROMPTS:
        return MeanOutcome.CANNOT_BE_TOLD
    up, down = sign(chosen), sign(rejected)
    if sign(margin) < 0 or (up < 0 < down):
        return MeanOutcome.MARGIN_SHRINKS
    outcomes = {
        (1, -1): MeanOutcome.INTENDED,
        (1, 1): MeanOutcome.BOTH_RISE,
        (-1, -1): MeanOutcome.BOTH_FALL,
    }
    return outcomes.get((up, down), MeanOutcome.CANNOT_BE_TOLD)


def sign(estimate: Estimate) -> int:
    """Return the sign that an estimate's interval decides.

    Args:
        estimate: with its interval.

    Returns:
        1 or −1 where the interval lies on one side of zero, 0 where it does not or is missing.
    """
    if estimate.low is not None and estimate.low > 0:
        return 1
    return -1 if estimate.high is not None and estimate.high < 0 else 0
