"""Objectives that are any function of a pair's two responses, sums of a term for each among them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from preflens.objectives.kinds.base import Citation, Kind
from preflens.objectives.kinds.coefficients import AutodiffObjective, checked, pair_coefficients
from preflens.pair_logps import PairLogps, PerPair, ResponseLogps
from preflens.types import PairCoefficients


@dataclass(frozen=True)
class PairwiseObjective(AutodiffObjective):
    """A loss of the two log-probs of a pair that is no function of one margin, or is a sum of a term for each response.

    What the paper calls pointwise is here too. A weight that the paper detaches is detached in `of_pair`.

    Attributes:
        name: the name in the table.
        of_pair: the loss from the chosen and the rejected side.
        source: the paper.
        parameters: the values the objective was made with.
    """

    name: str
    of_pair: Callable[[ResponseLogps, ResponseLogps], PerPair]
    source: Citation
    parameters: Mapping[str, float] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        """Always `pairwise`."""
        return "pairwise"

    def loss(self, logps: PairLogps) -> PerPair:
        """Return the loss of each pair; no mean over the batch. Differentiable in the log-probs.

        Args:
            logps: log-probs in nats, with what the objective needs beside them.

        Returns:
            The loss, no unit.
        """
        return checked(self.name, self.of_pair(logps.chosen_side, logps.rejected_side), logps)

    def coefficients(self, logps: PairLogps) -> PairCoefficients:
        """Return d_w = −∂ℓ/∂a_w and d_l = +∂ℓ/∂a_l of each pair, by automatic differentiation in float64.

        Args:
            logps: log-probs in nats.

        Returns:
            The coefficients with which a gradient step climbs and descends. They may be negative.
        """
        return pair_coefficients(self.name, self.loss, logps)
