"""Token weights: masked log-probs, the exact sparse mask, λ*, and the alignment of two responses."""

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
    """A weight for each token of the responses, in the layout of `PairLogps`. Padding is not read.

    Attributes:
        chosen: μ_w, from 0 (left out) to 1 (unchanged).
        rejected: μ_l.

    Example:
        >>> weights = TokenWeights(torch.ones(1, 2, dtype=torch.float64), torch.zeros(1, 3, dtype=torch.float64))
        >>> weights.rejected.sum().item()
        0.0
    """

    chosen: Float64[Tensor, "pair chosen_token"]
    rejected: Float64[Tensor, "pair rejected_token"]


@dataclass(frozen=True)
class LearnedMasks:
    """Learned masks, kept between epochs.

    Attributes:
        masks: weights of the chosen and of the rejected tokens, by the key of the pair.
        updates: number of updates so far.

    Example:
        >>> import torch
        >>> from preflens.mitigations import sparse_mask
        >>> from preflens.pair_logps import PairLogps
        >>> rows, mask = torch.tensor([[-1.0, -2.0], [-1.0, -4.0]]), torch.ones(2, 2, dtype=torch.bool)
        >>> logps = PairLogps.from_rows(rows, mask, ref_token_logps=rows)
        >>> _, state = sparse_mask(kind="learned").apply(logps, [((5, 6), (5, 7))], keys=["pair 0"])
        >>> state.updates, list(state.masks)
        (1, ['pair 0'])
    """

    masks: Mapping[str, tuple[Float64[Tensor, " chosen"], Float64[Tensor, " rejected"]]]
    updates: int


def masked_logps(logps: PairLogps, weights: TokenWeights) -> PairLogps:
    """Replace each log-prob with Σ_t μ_t log π(y_t|…), under the policy and under the reference.

    Args:
        logps: log-probs, with token log-probs; the graph is kept. Token counts stay, so losses that divide by length
            divide by the length of the whole response.
        weights: μ.

    Returns:
        Log-probs for an objective of whole responses, without token log-probs.

    Example:
        >>> import torch
        >>> from preflens.mitigations import TokenWeights, masked_logps
        >>> from preflens.pair_logps import PairLogps
        >>> rows, mask = torch.tensor([[-1.0, -2.0], [-1.0, -4.0]]), torch.ones(2, 2, dtype=torch.bool)
        >>> logps = PairLogps.from_rows(rows, mask, ref_token_logps=rows)
        >>> half = torch.tensor([[1.0, 0.5]], dtype=torch.float64)
        >>> masked = masked_logps(logps, TokenWeights(half, half))
        >>> masked.chosen.item(), masked.rejected.item()
        (-2.0, -3.0)
    """
    sides = ((logps.chosen_side, weights.chosen), (logps.rejected_side, weights.rejected))
    (chosen, ref_chosen), (rejected, ref_rejected) = (_masked(side, mu) for side, mu in sides)
    return replace(
        logps, chosen=chosen, rejected=rejected, ref_chosen=ref_chosen, ref_rejected=ref_rejected,
        chosen_token_logps=None, rejected_token_logps=None, ref_chosen_token_logps=None, ref_rejected_token_logps=None,
    )  # fmt: skip


def sparsest(gains: Float64[Tensor, " token"], *, beta: float, kappa: float) -> Float64[Tensor, " token"]:
    """Minimize −log σ(β Σ_t μ_t v_t) + κ Σ_t μ_t over μ in [0, 1], exactly.

    The function is convex, and its derivative at token t, κ − β σ(−z) v_t with z = β Σ μ v, is smaller for the greater
    gain. So the minimizer takes tokens in the order of their gains, with weight 1, as long as β σ(−z) v_t > κ, and the
    next one with the weight that makes the two equal: z = log(β v_t/κ − 1). For κ = 0, every token with v_t ≥ 0 is
    taken.

    Args:
        gains: v, the log-ratio of a chosen token or minus that of a rejected one, nats.
        beta: β, no unit.
        kappa: κ, the penalty of a token of weight 1, no unit.

    Returns:
        The mask.

    References:
        Yuan et al., arXiv 2410.13828, Section 5.2 (idea; the formula is reconstructed). With masks from a network
        instead: SparsePO, arXiv 2410.05102.
    """
    if kappa == 0:
        return (gains >= 0).double()
    mask, z = torch.zeros_like(gains), 0.0
    for index in gains.argsort(descending=True).tolist():
        slope = beta * float(gains[index])
        if slope <= kappa:
            break
        reach = float(torch.special.logit(torch.tensor(1 - kappa / slope, dtype=torch.float64)))
        share = min(1.0, (reach - z) / slope)
        if share <= 0:
            break
        mask[index] = share
        z += share * slope
    return mask


def lambda_star(
    gram: PairGram, shared_product: Float64[Tensor, " pair"], *, ratio: Float64[Tensor, " pair"]
) -> Float64[Tensor, " pair"]:
    """Return the largest weight of the rejected response's shared tokens at which the chosen log-prob does not fall.

    With g_l = C + S, C from the contrast tokens and S from the shared ones, the change of the chosen log-prob by its
    own pair is η (d_w ‖g_w‖² − d_l ⟨g_w, C⟩ − λ d_l ⟨g_w, S⟩). It is not negative iff λ ≤ (r ‖g_w‖² − ⟨g_w, C⟩)/⟨g_w,
    S⟩, r = d_w/d_l, where ⟨g_w, S⟩ > 0.

    Args:
        gram: geometry of the whole responses.
        shared_product: ⟨g_w, S⟩.
        ratio: r.

    Returns:
        λ from 0 to 1. At 0 the chosen log-prob may still fall, because of the contrast tokens alone.

    Example:
        ⟨g_w, C⟩ = 0 and ⟨g_w, S⟩ = 2 with ‖g_w‖² = 1 and r = 1: λ* = ½.

        >>> from preflens.mitigations import lambda_star
        >>> one = torch.ones(1, dtype=torch.float64)
        >>> lambda_star(PairGram(one, 9 * one, 2 * one), 2 * one, ratio=one).item()
        0.5
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
    """Align two responses and mark the tokens that have no counterpart in the other one.

    Tokens after an insertion or deletion are still aligned. Matching blocks are those of Ratcliff and Obershelp: the
    longest common run first, then recursively on both sides of it.

    Args:
        chosen: token ids of the chosen response.
        rejected: token ids of the rejected response.

    Returns:
        For each token of the chosen and of the rejected response, whether it has no counterpart.

    Example:
        >>> contrast_tokens([5, 7, 8, 9], [6, 6, 7, 8, 9])
        ([True, False, False, False], [True, True, False, False, False])
    """
    unmatched = [True] * len(chosen), [True] * len(rejected)
    matcher = SequenceMatcher(None, list(chosen), list(rejected), autojunk=False)
    for block in matcher.get_matching_blocks():
        for side, start in zip(unmatched, (block.a, block.b), strict=True):
            side[start : start + block.size] = [False] * block.size
    return unmatched
