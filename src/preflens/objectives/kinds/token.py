"""Objectives in which the tokens of a response count differently."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from preflens.objectives.kinds.base import Citation, Kind
from preflens.objectives.kinds.coefficients import AutodiffObjective, checked, token_coefficients
from preflens.pair_logps import PairLogps, PerPair, ResponseLogps
from preflens.types import PairCoefficients


@dataclass(frozen=True)
class TokenObjective(AutodiffObjective):
    """A loss of token log-probs that does not reduce to the log-probs of whole responses.

    Its coefficients carry a number for each token. `logps.chosen` and `.rejected` have to be the sums of the token
    log-probs, as they are in training, where gradients then reach the tokens through both.

    Attributes:
        name: the name in the table.
        of_tokens: the loss from the chosen and the rejected side, with token log-probs.
        source: the paper.
        parameters: the values the objective was made with.
    """

    name: str
    of_tokens: Callable[[ResponseLogps, ResponseLogps], PerPair]
    source: Citation
    parameters: Mapping[str, float] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        """Always `token`."""
        return "token"

    def loss(self, logps: PairLogps) -> PerPair:
        """Return the loss of each pair; no mean over the batch. Differentiable in the log-probs of the tokens.

        Args:
            logps: log-probs in nats, with what the objective needs beside them.

        Returns:
            The loss, no unit.
        """
        return checked(self.name, self.of_tokens(logps.chosen_side, logps.rejected_side), logps)

    def coefficients(self, logps: PairLogps) -> PairCoefficients:
        """Return d_{w,t} and d_{l,t} of each token, and their means over each response.

        Args:
            logps: log-probs in nats, with those of the tokens.

        Returns:
            The coefficients with which a gradient step climbs and descends. They may be negative.
        """
        return token_coefficients(self.name, self.loss, logps)
