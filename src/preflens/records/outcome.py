"""Outcome of a step for the two log-probs of a pair."""

from enum import StrEnum


class Outcome(StrEnum):
    """Directions in which the chosen and the rejected log-prob of a pair change.

    INTENDED, BOTH_FALL and BOTH_RISE are the three cases of Table 1 of Yuan et al., arXiv 2410.13828. REVERSED is
    impossible while both coefficients are positive; it appears when one is negative. UNCHANGED: a log-prob changes by
    less than the tolerance, as with an inactive hinge or two identical responses.
    """

    INTENDED = "intended"
    BOTH_RISE = "both_rise"
    BOTH_FALL = "both_fall"
    REVERSED = "reversed"
    UNCHANGED = "unchanged"

    @property
    def label(self) -> str:
        """The outcome in words."""
        return _LABELS[self]


_LABELS = {
    Outcome.INTENDED: "chosen rises, rejected falls",
    Outcome.BOTH_RISE: "both rise",
    Outcome.BOTH_FALL: "both fall",
    Outcome.REVERSED: "chosen falls, rejected rises",
    Outcome.UNCHANGED: "no significant change",
}
