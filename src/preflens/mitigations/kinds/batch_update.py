"""Gram, weights and signs of an update batch, as maps of scope `batch` use them."""

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
        gram: G of all responses, chosen responses first; constraint pairs, whose coefficients are zero, after the pairs
            that step.
        weights: c. The plain update is u = Σ c_i g_i and changes log-probs by (η/n) G c; the common factor 1/n is left
            out.
        signs: +1 for chosen, −1 for rejected responses.
        free: responses whose weight may change: those of treatable pairs and of constraint pairs.
        pairs: number of pairs that step.
    """

    gram: Float64[Tensor, "response response"]
    weights: Float64[Tensor, " response"]
    signs: Float64[Tensor, " response"]
    free: Bool[Tensor, " response"]
    pairs: int

    @property
    def untreated(self) -> Bool[Tensor, " pair"]:
        """Pairs of the update batch that keep their coefficients."""
        return ~self.free[: self.pairs]

    def size(self, weights: Float64[Tensor, " response"]) -> float:
        """Return ‖Σ w_i g_i‖."""
        return math.sqrt(max(0.0, float(weights @ self.gram @ weights)))

    def coefficients(self, weights: Float64[Tensor, " response"]) -> PairCoefficients:
        """Return the d_w and d_l that correspond to other weights."""
        chosen, rejected = (self.signs * weights).chunk(2)
        return PairCoefficients(chosen, rejected)


def update_of(coefficients: PairCoefficients, gram: BatchGram) -> BatchUpdate:
    """Build the update of a batch from coefficients and Gram.

    Args:
        coefficients: d_w and d_l of the pairs that step.
        gram: of these pairs and of any constraint pairs after them, without blocks.

    Returns:
        The update.
    """
    n = len(coefficients.chosen)
    constraints = gram.pairs - n
    # A constraint pair has no coefficients. With 1 in their place, only its gradients decide whether it is treatable.
    chosen, rejected = (torch.cat([d, d.new_ones(constraints)]) for d in (coefficients.chosen, coefficients.rejected))
    free = is_treatable(PairCoefficients(chosen, rejected), gram.pair_gram())
    zeros = coefficients.chosen.new_zeros(constraints)
    weights = torch.cat([coefficients.chosen, zeros, -coefficients.rejected, zeros])
    signs = torch.ones_like(weights)
    signs[gram.pairs :] = -1
    return BatchUpdate(gram.matrix, weights, signs, free.repeat(2), n)
