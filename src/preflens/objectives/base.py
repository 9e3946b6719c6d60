"""What an objective is: the four functions of the paper's Eq. 1; loss and coefficients are derived from them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from preflens.errors import MissingInputError, NumericalError
from preflens.types import PairCoefficients, PairLogps, ResponseLogps

Pairs = Float[Tensor, " pair"]
Side = Callable[[ResponseLogps], Pairs]


@dataclass(frozen=True)
class Source:
    """The paper an objective comes from.

    Attributes:
        title: title of the paper.
        authors: first author and others.
        year: year of the first version.
        arxiv: arXiv number.
        place: the equation, section or table where the loss stands, as far as confirmed.
    """

    title: str
    authors: str
    year: int
    arxiv: str
    place: str

    def __str__(self) -> str:
        return f"{self.authors}, {self.title!r}, {self.year}, arXiv {self.arxiv}, {self.place}"


@runtime_checkable
class Objective(Protocol):
    """Anything that turns the log-probs of pairs into a loss per pair and into step coefficients."""

    @property
    def name(self) -> str:
        """The name in the table of objectives."""

    @property
    def parameters(self) -> Mapping[str, float]:
        """The values it was made with."""

    @property
    def needs_reference(self) -> bool:
        """Whether log-probs under a reference model are needed."""

    def loss(self, logps: PairLogps) -> Pairs:
        """Return the loss of each pair."""

    def coefficients(self, logps: PairLogps) -> PairCoefficients:
        """Return d_w and d_l of each pair."""


def no_regularizer(chosen: ResponseLogps) -> Pairs:
    """Return zero for every pair: most objectives have no term on the chosen response alone."""
    return torch.zeros_like(chosen.logp)


@dataclass(frozen=True)
class MarginObjective:
    """A margin-based loss: ℓ = −( m( h_w(a_w) − h_l(a_l) ) + Λ(a_w) ).

    a_w and a_l are the log-probs of the chosen and the rejected response; m, h_w and h_l are scalar functions, and Λ
    is an optional regularizer on the chosen response. Everything else is derived from these four, never stated twice.

    Attributes:
        name: the name in the table.
        m: the function of the margin h_w − h_l; the objective wants it large.
        h_w: what the margin takes from the chosen response.
        h_l: what the margin takes from the rejected response.
        source: the paper.
        parameters: the values the objective was made with.
        regularizer: Λ.

    References:
        Yuan et al., "A Common Pitfall of Margin-based Language Model Alignment: Gradient Entanglement", 2024,
        https://arxiv.org/abs/2410.13828, Eq. 1 (m here increases; the loss is its negative).
    """

    name: str
    m: Callable[[Pairs], Pairs]
    h_w: Side
    h_l: Side
    source: Source
    parameters: Mapping[str, float] = field(default_factory=dict)
    regularizer: Side = no_regularizer

    def loss(self, logps: PairLogps) -> Pairs:
        """Return the loss of each pair; no mean over the batch.

        Args:
            logps: log-probs in nats, with reference log-probs and token counts where the objective uses them.

        Returns:
            The loss, no unit.
        """
        chosen, rejected = logps.chosen_side, logps.rejected_side
        return -(self.m(self.h_w(chosen) - self.h_l(rejected)) + self.regularizer(chosen))

    def coefficients(self, logps: PairLogps) -> PairCoefficients:
        """Return d_w = −∂ℓ/∂a_w and d_l = +∂ℓ/∂a_l of each pair, by automatic differentiation in float64.

        Args:
            logps: log-probs in nats.

        Returns:
            The coefficients with which a gradient step climbs g_w and descends g_l. They may be negative.

        Raises:
            NumericalError: a coefficient is not representable for some pair.
        """
        exact = logps.double()
        with torch.enable_grad():
            chosen, rejected = exact.chosen.requires_grad_(), exact.rejected.requires_grad_()
            total = self.loss(replace(exact, chosen=chosen, rejected=rejected)).sum()
            d_chosen, d_rejected = torch.autograd.grad(total, (chosen, rejected), materialize_grads=True)
        result = PairCoefficients(-d_chosen, d_rejected)
        bad = (~torch.isfinite(result.signed())).reshape(2, -1).any(0)
        if bool(bad.any()):
            pair = int(bad.nonzero()[0])
            raise NumericalError(
                f"Objective `{self.name}` has no finite coefficients for pair {pair} (from 0): its log-probs are "
                f"{logps.chosen[pair].item():.6g} (chosen) and {logps.rejected[pair].item():.6g} (rejected) nats."
            )
        return result

    @cached_property
    def needs_reference(self) -> bool:
        """Whether the loss uses log-probs under a reference model."""
        one = torch.ones(1, dtype=torch.float64)
        return not self._computes(PairLogps(one, one, chosen_tokens=one.long(), rejected_tokens=one.long()))

    @cached_property
    def uses_length(self) -> bool:
        """Whether the loss uses the token counts of the responses."""
        one = torch.ones(1, dtype=torch.float64)
        return not self._computes(PairLogps(one, one, ref_chosen=one, ref_rejected=one))

    def _computes(self, logps: PairLogps) -> bool:
        try:
            self.loss(logps)
        except MissingInputError:
            return False
        return True
