"""Weighted sums of objectives, as in MPO and TRL's lists of losses."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

import torch

from preflens.errors import ObjectiveError
from preflens.objectives.kinds.base import Citation, Kind, Objective
from preflens.objectives.kinds.coefficients import AutodiffObjective, pair_coefficients, token_coefficients
from preflens.pair_logps import PairLogps, PerPair
from preflens.types import PairCoefficients

_ORDER: tuple[Kind, ...] = ("token", "batch", "pairwise")


@dataclass(frozen=True)
class WeightedSum(AutodiffObjective):
    """The loss Σ_k w_k ℓ_k; coefficients add up with the same weights.

    Attributes:
        terms: weight and objective of each term.

    Raises:
        ObjectiveError: there is no term, or a weight is not a finite number.

    Example:
        >>> from preflens.objectives import WeightedSum, at_reference, dpo, ipo
        >>> at_reference(WeightedSum(((0.5, dpo(beta=0.1)), (0.5, ipo(tau=0.1)))))  # 0.5·0.05 + 0.5·10
        'd_w = 5.03, d_l = 5.03 for a pair with 10 tokens and −20 nats on each side.'
    """

    terms: tuple[tuple[float, Objective], ...]

    def __post_init__(self) -> None:
        if not self.terms:
            raise ObjectiveError("A sum of objectives needs at least one term.")
        for weight, objective in self.terms:
            if not isfinite(weight):
                raise ObjectiveError(f"The weight of objective `{objective.name}` should be finite. Found {weight:g}.")

    @property
    def name(self) -> str:
        """The terms, for example `0.7*dpo+0.3*sft`."""
        return "+".join(f"{weight:g}*{objective.name}" for weight, objective in self.terms)

    @property
    def parameters(self) -> Mapping[str, float]:
        """The hyperparameters of all terms, prefixed with the term's name."""
        return {f"{o.name}.{k}": v for _, o in self.terms for k, v in o.parameters.items()}

    @property
    def source(self) -> Citation:
        """The paper of the first term."""
        return self.terms[0][1].source

    @property
    def kind(self) -> Kind:
        """The most demanding kind among the terms; a sum of margin losses is `pairwise`."""
        kinds = {objective.kind for _, objective in self.terms}
        return next((kind for kind in _ORDER if kind in kinds), "pairwise" if len(self.terms) > 1 else "margin")

    def loss(self, logps: PairLogps) -> PerPair:
        """Return the weighted sum of the terms' losses. Differentiable in the log-probs.

        Args:
            logps: log-probs in nats, with the other inputs of the terms.

        Returns:
            The loss, no unit.
        """
        return torch.stack([weight * objective.loss(logps) for weight, objective in self.terms]).sum(0)

    def coefficients(self, logps: PairLogps) -> PairCoefficients:
        """Return d_w and d_l of each pair, and of each token where a term's coefficients differ between tokens.

        Args:
            logps: log-probs in nats; all pairs of the update batch where a term is batch-coupled.

        Returns:
            The coefficients. They may be negative.
        """
        compute = token_coefficients if self.kind == "token" else pair_coefficients
        return compute(self.name, self.loss, logps)
