"""Sparse token masks: only the tokens that distinguish the two responses contribute to the step."""

from preflens.errors import InputError
from preflens.mitigations.kinds.base import within
from preflens.mitigations.kinds.token_mask import MASK_KINDS, TokenMask
from preflens.objectives.kinds.base import Citation
from preflens.specs import Value

SPARSE = Citation(
    title="A Common Pitfall of Margin-based Language Model Alignment: Gradient Entanglement",
    authors="Yuan et al.", year=2024, arxiv="2410.13828", location="Section 5.2",
    unverified="formula reconstructed; SparsePO (arXiv 2410.05102) is the closest published one",
)  # fmt: skip


def sparse_mask(
    kind: str = "exact",
    *,
    beta: float = 0.1,
    kappa: float = 0.001,
    warm_up: float = 100.0,
    rate: float = 1.0,
    strength: float = 1.0,
) -> TokenMask:
    """Train on Σ_t μ_t log π(y_t|…) with sparse masks μ in [0, 1].

    The loss is −log σ(β Σ μ_{w,t} R_{w,t} − β Σ μ_{l,t} R_{l,t}) + κ (|μ_w|₁ + |μ_l|₁), R the log-ratio of a token to
    the reference; any other objective gets the masked log-probs in place of the plain ones. At the start all R are 0
    and every mask with a penalty would be empty, so the penalty is warmed up. Nothing is guaranteed: in a deep network,
    masked log-probs share parameters like plain ones. Evaluate it on the unmasked log-probs.

    Args:
        kind: `exact`: the minimizer over masks at the current log-ratios. `learned`: one gradient step on the masks at
            each update with a pair, kept between epochs, starting from the alignment of the two responses (1 at tokens
            that only one of them has, ½ at shared ones). `contrast`: tokens that only one of them has. `lambda`: the
            shared tokens of the rejected response get the largest weight at which the pair alone does not lower its
            chosen log-prob, from exact gradient products (two more passes).
        beta: β of the objective.
        kappa: κ, penalty per token.
        warm_up: updates until the penalty is κ.
        rate: step size of learned masks.
        strength: 0 for the plain loss, 1 for the full mask.

    Returns:
        The mitigation.

    Raises:
        InputError: a parameter is out of range.

    Example:
        The responses share their first token (id 5), so the mask `contrast` keeps the second one only.

        >>> import torch
        >>> from preflens.mitigations import sparse_mask
        >>> from preflens.pair_logps import PairLogps
        >>> rows, mask = torch.tensor([[-1.0, -2.0], [-1.0, -4.0]]), torch.ones(2, 2, dtype=torch.bool)
        >>> logps = PairLogps.from_rows(rows, mask, ref_token_logps=rows)
        >>> weights, _ = sparse_mask(kind="contrast").apply(logps, [((5, 6), (5, 7))])
        >>> weights.chosen.tolist(), weights.rejected.tolist()
        ([[0.0, 1.0]], [[0.0, 1.0]])
    """
    if kind not in MASK_KINDS:
        raise InputError(
            f"Parameter `kind` of mitigation `sparse_mask` should be one of {', '.join(MASK_KINDS)}. Found `{kind}`."
        )
    within("sparse_mask", 0.0, float("inf"), kappa=kappa, warm_up=warm_up, rate=rate)
    within("sparse_mask", 1e-6, float("inf"), beta=beta)
    within("sparse_mask", 0.0, 1.0, strength=strength)
    parameters: dict[str, Value] = {"kind": kind, "beta": beta, "kappa": kappa, "warm_up": warm_up, "rate": rate}
    parameters["strength"] = strength
    return TokenMask("sparse_mask", kind, beta, kappa, warm_up, rate, SPARSE, strength, parameters)
