"""Weights of tokens: what they do to log-probs, and the two that can be computed exactly."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from preflens.pair_logps import PairLogps, ResponseLogps
from preflens.types import PairGram


@dataclass(frozen=True)
class TokenWeights:
    """A weight for each token of the responses, in the layout of `PairLogps`; padding is not read.

    Attributes:
        chosen: μ_w, from 0 (left out) to 1 (as it is).
        rejected: μ_l.
    """

    chosen: Float64[Tensor, "pair chosen_token"]
    rejected: Float64[Tensor, "pair rejected_token"]


@dataclass(frozen=True)
class LearnedMasks:
    """Masks that are kept from epoch to epoch.

    Attributes:
        masks: by the pair's key, the weights of its chosen and of its rejected tokens.
        updates: how many updates were made with them.
    """

    masks: Mapping[str, tuple[Float64[Tensor, " chosen"], Float64[Tensor, " rejected"]]]
    updates: int


def masked_logps(logps: PairLogps, weights: TokenWeights) -> PairLogps:
    """Put Σ_t μ_t log π(y_t|…) in the place of each log-prob, under the policy and under the reference.

    Args:
        logps: with those of the tokens; the graph is kept. Token counts stay, so losses that divide by length divide
            by the length of the whole response.
        weights: μ.

    Returns:
        Log-probs that an objective of whole responses takes; token log-probs are left out, as they are weighted.
    """
    sides = ((logps.chosen_side, weights.chosen), (logps.rejected_side, weights.rejected))
    (chosen, ref_chosen), (rejected, ref_rejected) = (_masked(side, mu) for side, mu in sides)
    return replace(
        logps, chosen=chosen, rejected=rejected, ref_chosen=ref_chosen, ref_rejected=ref_rejected,
        chosen_token_logps=None, rejected_token_logps=None, ref_chosen_token_logps=None, ref_rejected_token_logps=None,
    )  # fmt: skip


def sparsest(gains: Float64[Tensor, " token"], *, beta: float, kappa: float) -> Float64[Tensor, " token"]:
    """Minimise −log σ(β Σ_t μ_t v_t) + κ Σ_t μ_t over μ in [0, 1], exactly.

    The function is convex, and its derivative at token t, κ − β σ(−z) v_t with z = β Σ μ v, is smaller for the greater
    gain. So the minimiser takes tokens in the order of their gains, whole ones, as long as β σ(−z) v_t > κ, and of the
    next one as much as makes the two equal: z = log(β v_t/κ − 1). Without a price (κ = 0), every token is taken that
    does not lose.

    Args:
        gains: v, the log-ratio of a chosen token or minus that of a rejected one, nats.
        beta: β, no unit.
        kappa: κ, the price of a whole token, no unit.

    Returns:
        The mask.

    References:
        Yuan et al., arXiv 2410.13828, Section 5.2 (idea; the formula is reconstructed). With masks from a network
        instead: SparsePO, arXiv 2410.05102.
    """
    if kappa == 0:
        return (gains >= 0).double()
    mask, z = torch.zeros_like(gains), 0.0
    for place in gains.argsort(descending=True).tolist():
        slope = beta * float(gains[place])
        if slope <= kappa:
            break
        reach = float(torch.special.logit(torch.tensor(1 - kappa / slope, dtype=torch.float64)))
        share = min(1.0, (reach - z) / slope)
        if share <= 0:
            break
        mask[place] = share
        z += share * slope
    return mask


def lambda_star(
    gram: PairGram, shared_product: Float64[Tensor, " pair"], *, ratio: Float64[Tensor, " pair"]
) -> Float64[Tensor, " pair"]:
    """Return the largest weight of the rejected response's shared tokens with which chosen does not fall.

    With g_l = C + S, C from the contrast tokens and S from the shared ones, the chosen log-prob's own change is
    η (d_w ‖g_w‖² − d_l ⟨g_w, C⟩ − λ d_l ⟨g_w, S⟩). It is not negative iff
    λ ≤ (r ‖g_w‖² − ⟨g_w, C⟩)/⟨g_w, S⟩, r = d_w/d_l, where ⟨g_w, S⟩ > 0.

    Args:
        gram: geometry of the whole responses.
        shared_product: ⟨g_w, S⟩.
        ratio: r.

    Returns:
        λ from 0 to 1. At 0 chosen may still fall: then contrast tokens alone sink it.
    """
    contrast_product = gram.inner_product - shared_product
    room = ratio * gram.chosen_sq_norm - contrast_product
    largest = torch.where(shared_product > 0, room / shared_product, torch.ones_like(room))
    return largest.clamp(0, 1)


def _masked(side: ResponseLogps, mu: Float64[Tensor, "pair response_token"]) -> tuple[Tensor, Tensor | None]:
    logps = side.at_tokens(side.token_logps, "log-probs")
    weights = mu.to(logps)
    policy = (weights * logps).sum(1)
    if side.ref_logp is None:
        return policy, None
    reference: Float[Tensor, "pair response_token"] = side.at_tokens(side.ref_token_logps, "reference log-probs")
    return policy, (weights * reference).sum(1)


def contrast_tokens(chosen: Sequence[int], rejected: Sequence[int]) -> tuple[list[bool], list[bool]]:
    """Align two responses and mark the tokens that have no partner in the other one.

    Insertions and deletions shift what follows, and the shifted tokens still meet. Matching blocks are those of
    Ratcliff and Obershelp: the longest common run first, then the same on both sides of it.

    Args:
        chosen: token ids of the chosen response.
        rejected: token ids of the rejected response.

    Returns:
        For each token of the chosen and of the rejected response, whether it stands alone.

    Example:
        >>> contrast_tokens([5, 7, 8, 9], [6, 6, 7, 8, 9])
        ([True, False, False, False], [True, True, False, False, False])
    """
    alone = [True] * len(chosen), [True] * len(rejected)
    matcher = SequenceMatcher(None, list(chosen), list(rejected), autojunk=False)
    for block in matcher.get_matching_blocks():
        for side, start in zip(alone, (block.a, block.b), strict=True):
            side[start : start + block.size] = [False] * block.size
    return alone
