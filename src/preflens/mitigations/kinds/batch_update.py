"""An update batch as maps over all of its responses see it."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from preflens.mitigations.kinds.base import is_treatable
from preflens.types import BatchGram, PairCoefficients


@dataclass(frozen=True)
class BatchUpdate:
    """Gram and weights of an update batch.

    Attributes:
        gram: G of all responses, chosen ones first; probe pairs, whose coefficients are zero, behind the own pairs.
        weights: c, so that the plain update is u = Σ c_i g_i and changes log-probs by (η/n) G c; the factor 1/n is
            common to all and left out.
        signs: +1 for chosen, −1 for rejected responses.
        free: responses whose weight may change: those of treatable pairs, and of probe pairs.
        pairs: how many are own pairs.
    """

    gram: Float64[Tensor, "response response"]
    weights: Float64[Tensor, " response"]
    signs: Float64[Tensor, " response"]
    free: Bool[Tensor, " response"]
    pairs: int

    @property
    def untreated(self) -> Bool[Tensor, " pair"]:
        """Own pairs that keep their coefficients."""
        return ~self.free[: self.pairs]

    def size(self, weights: Float64[Tensor, " response"]) -> float:
        """Return ‖Σ w_i g_i‖."""
        return math.sqrt(max(0.0, float(weights @ self.gram @ weights)))

    def coefficients(self, weights: Float64[Tensor, " response"]) -> PairCoefficients:
        """Return d_w and d_l that step with other weights."""
        chosen, rejected = (self.signs * weights).chunk(2)
        return PairCoefficients(chosen, rejected)


def update_of(coefficients: PairCoefficients, gram: BatchGram) -> BatchUpdate:
    """Bring coefficients and Gram together.

    Args:
        coefficients: d_w and d_l of the own pairs.
        gram: of the own pairs and of any probe pairs behind them, without blocks.

    Returns:
        The update.
    """
    own, n = gram.pair_gram(), len(coefficients.chosen)
    more = gram.pairs - n
    # A probe pair has no coefficients; with 1 in their place the question is only what its gradients are like.
    chosen, rejected = (torch.cat([d, d.new_ones(more)]) for d in (coefficients.chosen, coefficients.rejected))
    free = is_treatable(PairCoefficients(chosen, rejected), own)
    zeros = coefficients.chosen.new_zeros(more)
    weights = torch.cat([coefficients.chosen, zeros, -coefficients.rejected, zeros])
    signs = torch.ones_like(weights)
    signs[gram.pairs :] = -1
    return BatchUpdate(gram.matrix, weights, signs, free.repeat(2), n)
