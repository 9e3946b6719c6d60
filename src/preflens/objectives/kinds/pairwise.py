"""Objectives that are any function of a pair's two responses, for example a sum of one term per response."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from preflens.objectives.kinds.base import Citation, Kind
from preflens.objectives.kinds.coefficients import AutodiffObjective, checked, pair_coefficients
from preflens.pair_logps import PairLogps, PerPair, ResponseLogps
from preflens.types import PairCoefficients


@dataclass(frozen=True)
class PairwiseObjective(AutodiffObjective):
    """A loss of the two log-probs of a pair that is not a function of one margin, for example one term per response.

    Losses that papers call pointwise are included. A weight that a paper detaches is detached in `of_pair`.

    Attributes:
        name: the name in the table of objectives.
        of_pair: the loss as a function of the chosen and the rejected response.
        source: the paper.
        parameters: hyperparameters, by name.

    Example:
        The negative log-prob of the chosen response alone: d_w = 1, d_l = 0.

        >>> import torch
        >>> from preflens.objectives import Citation, PairwiseObjective
        >>> from preflens.pair_logps import PairLogps
        >>> source = Citation("An example", "Nobody", 2026, "", "no equation")
        >>> likelihood = PairwiseObjective("likelihood", lambda chosen, rejected: -chosen.logp, source)
        >>> d = likelihood.coefficients(PairLogps(torch.tensor([-2.0]), torch.tensor([-3.0])))
        >>> d.chosen.item(), d.rejected.item()
        (1.0, 0.0)
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
        """Return the loss of each pair, without a mean over the batch. Differentiable in the log-probs.

        Args:
            logps: log-probs in nats, with the other inputs of the objective.

        Returns:
            The loss, no unit.
        """
        return checked(self.name, self.of_pair(logps.chosen_side, logps.rejected_side), logps)

    def coefficients(self, logps: PairLogps) -> PairCoefficients:
        """Return d_w = −∂ℓ/∂a_w and d_l = +∂ℓ/∂a_l of each pair, by automatic differentiation in float64.

        Args:
            logps: log-probs in nats.

        Returns:
            The coefficients of g_w and −g_l in a gradient step. They may be negative.
        """
        return pair_coefficients(self.name, self.loss, logps)
