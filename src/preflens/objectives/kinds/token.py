"""Objectives whose coefficients differ between the tokens of a response."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from preflens.objectives.kinds.base import Citation, Kind
from preflens.objectives.kinds.coefficients import AutodiffObjective, checked, token_coefficients
from preflens.pair_logps import PairLogps, PerPair, ResponseLogps
from preflens.types import PairCoefficients


@dataclass(frozen=True)
class TokenObjective(AutodiffObjective):
    """A loss of token log-probs that does not reduce to the log-probs of whole responses.

    Its coefficients have one number per token. `logps.chosen` and `.rejected` have to be the sums of the token
    log-probs, as in training, where gradients reach the tokens through both.

    Attributes:
        name: the name in the table of objectives.
        of_tokens: the loss as a function of the chosen and the rejected response, with token log-probs.
        source: the paper.
        parameters: hyperparameters, by name.

    Example:
        The negative log-prob of the first chosen token: d_{w,t} is 1 at that token and 0 at the other.

        >>> import torch
        >>> from preflens.objectives import Citation, TokenObjective
        >>> from preflens.pair_logps import PairLogps
        >>> source = Citation("An example", "Nobody", 2026, "", "no equation")
        >>> first = TokenObjective("first", lambda chosen, rejected: -chosen.token_logps[:, 0], source)
        >>> rows, mask = torch.tensor([[-1.0, -2.0], [-3.0, -4.0]]), torch.ones(2, 2, dtype=torch.bool)
        >>> first.coefficients(PairLogps.from_rows(rows, mask)).per_token.chosen.tolist()
        [[1.0, -0.0]]
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
        """Return the loss of each pair, without a mean over the batch. Differentiable in the log-probs of the tokens.

        Args:
            logps: log-probs in nats, with the other inputs of the objective.

        Returns:
            The loss, no unit.
        """
        return checked(self.name, self.of_tokens(logps.chosen_side, logps.rejected_side), logps)

    def coefficients(self, logps: PairLogps) -> PairCoefficients:
        """Return d_{w,t} and d_{l,t} of each token, and their means over each response.

        Args:
            logps: log-probs in nats, with token log-probs.

        Returns:
            The coefficients of g_w and −g_l in a gradient step. They may be negative.
        """
        return token_coefficients(self.name, self.loss, logps)
