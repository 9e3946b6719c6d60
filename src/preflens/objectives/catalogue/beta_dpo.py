"""β-DPO: DPO whose β follows the mean margin of the update batch."""

import torch.nn.functional as F

from preflens.objectives.kinds import BatchObjective, Citation
from preflens.objectives.kinds.validation import finite, non_negative, positive
from preflens.pair_logps import PairLogps, PerPair

_CITATION = Citation(
    "β-DPO: Direct Preference Optimization with Dynamic β",
    "Wu et al.",
    2024,
    "2407.08639",
    "the batch-level dynamic β, as in `preference_loss` of the authors' code (junkangwu/beta-DPO)",
    method="β-DPO",
    configurations="`beta_dpo:alpha=0.6,m0=0,floor=0.001` (authors' code: α = 0, β at least 0.001)",
    differences="the authors' trainer also filters pairs and keeps M_0 as a moving average",
)


def beta_dpo(beta: float = 0.1, alpha: float = 0.6, m0: float = 0.0, floor: float = 1e-3) -> BatchObjective:
    """DPO with a dynamic β for each batch (β-DPO).

    ℓ = −log σ(β_batch u), u = (a_w − r_w) − (a_l − r_l), β_batch = max(β_min, β [ 1 + α (mean u − M_0) ]), the mean
    over the update batch, detached.

    Coefficients: d_w = d_l = β_batch σ(−β_batch u).

    Domain: every log-prob.

    Helps: where the quality of pairs varies from batch to batch; d_w/d_l = 1 stays, so the condition is DPO's.

    Args:
        beta: β > 0, strength of the pull to the reference model; no unit. 0.1 is the default of TRL.
        alpha: α ≥ 0, how strongly β follows the margin, per nat. The authors' code uses 0, which is DPO; 0.6 is from
            memory of the paper.
        m0: M_0, the mean margin at which β is unchanged, nats. The authors keep a moving average of batch means (decay
            0.9); here it is a number that the caller may update.
        floor: β_min > 0, the least β_batch; 0.001 in the authors' code.

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, beta_dpo
        >>> at_reference(beta_dpo(beta=0.1))
        'd_w = 0.05, d_l = 0.05 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Wu et al., "β-DPO: Direct Preference Optimization with Dynamic β", 2024, https://arxiv.org/abs/2407.08639, the
        batch-level dynamic β, as in `preference_loss` of the authors' code (junkangwu/beta-DPO).

    Note:
        The authors' trainer also drops a fifth of the pairs, sampled by the distance of their margin from M_0; that is
        not done here.
    """
    positive("beta_dpo", beta=beta, floor=floor)
    non_negative("beta_dpo", alpha=alpha)
    finite("beta_dpo", m0=m0)

    def of_batch(logps: PairLogps) -> PerPair:
        margin = logps.chosen_side.log_ratio - logps.rejected_side.log_ratio
        beta_batch = (beta * (1 + alpha * (margin.detach().mean() - m0))).clamp(min=floor)
        return -F.logsigmoid(beta_batch * margin)

    return BatchObjective("beta_dpo", of_batch, _CITATION, {"beta": beta, "alpha": alpha, "m0": m0, "floor": floor})
