"""Margin-based objectives: the four functions of Yuan et al.'s Eq. 1."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from preflens.objectives.kinds.base import Citation, Kind
from preflens.objectives.kinds.coefficients import AutodiffObjective, checked, pair_coefficients
from preflens.objectives.kinds.rewards import RewardFn, zero_reward
from preflens.pair_logps import PairLogps, PerPair
from preflens.types import PairCoefficients


@dataclass(frozen=True)
class MarginObjective(AutodiffObjective):
    """A margin-based loss: ℓ = −( m( h_w(a_w) − h_l(a_l) ) + Λ(a_w) ).

    a_w and a_l are the log-probs of the chosen and the rejected response; m, h_w and h_l are scalar functions, and Λ
    is an optional regularizer on the chosen response. Coefficients, inputs and checks are derived from these four.

    Attributes:
        name: the name in the table of objectives.
        m: the function of the margin h_w − h_l that the objective maximizes.
        h_w: the reward of the chosen response.
        h_l: the reward of the rejected response.
        source: the paper.
        parameters: hyperparameters, by name.
        regularizer: Λ.

    Example:
        The exponential loss exp(−(a_w − a_l)). At equal log-probs both coefficients are 1.

        >>> import torch
        >>> from preflens.objectives import Citation, MarginObjective
        >>> from preflens.pair_logps import PairLogps
        >>> source = Citation("An example", "Nobody", 2026, "", "no equation")
        >>> logp = lambda response: response.logp
        >>> exponential = MarginObjective("exponential", lambda z: -torch.exp(-z), h_w=logp, h_l=logp, source=source)
        >>> logps = torch.tensor([-2.0])
        >>> d = exponential.coefficients(PairLogps(logps, logps))
        >>> d.chosen.item(), d.rejected.item()
        (1.0, 1.0)

    References:
        Yuan et al., "A Common Pitfall of Margin-based Language Model Alignment: Gradient Entanglement", 2024,
        https://arxiv.org/abs/2410.13828, Eq. 1 (m here increases; the loss is its negative).
    """

    name: str
    m: Callable[[PerPair], PerPair]
    h_w: RewardFn
    h_l: RewardFn
    source: Citation
    parameters: Mapping[str, float] = field(default_factory=dict)
    regularizer: RewardFn = zero_reward

    @property
    def kind(self) -> Kind:
        """Always `margin`."""
        return "margin"

    def loss(self, logps: PairLogps) -> PerPair:
        """Return the loss of each pair, without a mean over the batch. Differentiable in the log-probs.

        Args:
            logps: log-probs in nats, with reference log-probs and token counts where the objective uses them.

        Returns:
            The loss, no unit.
        """
        chosen, rejected = logps.chosen_side, logps.rejected_side
        values = -(self.m(self.h_w(chosen) - self.h_l(rejected)) + self.regularizer(chosen))
        return checked(self.name, values, logps)

    def coefficients(self, logps: PairLogps) -> PairCoefficients:
        """Return d_w = −∂ℓ/∂a_w and d_l = +∂ℓ/∂a_l of each pair, by automatic differentiation in float64.

        Args:
            logps: log-probs in nats.

        Returns:
            The coefficients of g_w and −g_l in a gradient step. They may be negative.
        """
        return pair_coefficients(self.name, self.loss, logps)
