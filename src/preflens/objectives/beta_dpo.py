"""β-DPO: DPO whose β follows the mean margin of the update batch."""

import torch.nn.functional as F

from preflens.log_probs import PairLogps, Pairs
from preflens.objectives.domain import finite, non_negative, positive
from preflens.objectives.kinds import BatchObjective, Source

SOURCE = Source(
    "β-DPO: Direct Preference Optimization with Dynamic β",
    "Wu et al.",
    2024,
    "2407.08639",
    "the batch-level dynamic β",
    caveat="Written from general knowledge of the paper; the equation was not re-read; published code bounds β_batch "
    "from below and filters pairs, which is not done here",
)


def beta_dpo(beta: float = 0.1, alpha: float = 0.6, m0: float = 0.0) -> BatchObjective:
    """DPO with a dynamic β for each batch (β-DPO).

    ℓ = −log σ(β_batch u), u = (a_w − r_w) − (a_l − r_l), β_batch = β [ 1 + α (mean β u − M_0) ], the mean over the
    update batch, detached.

    Coefficients: d_w = d_l = β_batch σ(−β_batch u). They are negative where the mean reward margin is more than 1/α
    below M_0.

    Domain: every log-prob.

    Helps: where the quality of pairs varies from batch to batch; d_w/d_l = 1 stays, so the condition is DPO's.

    Args:
        beta: β > 0, strength of the pull to the reference model; no unit. 0.1 is the default of TRL.
        alpha: α ≥ 0, how strongly β follows the margin; 0.6 as remembered from the paper.
        m0: M_0, the margin at which β is unchanged; no unit. The paper keeps a moving average of batch means; here it
            is a number that the caller may renew.

    Returns:
        The objective.

    References:
        Wu et al., "β-DPO: Direct Preference Optimization with Dynamic β", 2024, https://arxiv.org/abs/2407.08639, the
        batch-level dynamic β.

    Note:
        Not confirmed: written from general knowledge of the paper; the equation was not re-read; published code bounds
        β_batch from below and filters pairs, which is not done here.
    """
    positive("beta_dpo", beta=beta)
    non_negative("beta_dpo", alpha=alpha)
    finite("beta_dpo", m0=m0)

    def of_batch(logps: PairLogps) -> Pairs:
        margin = logps.chosen_side.log_ratio - logps.rejected_side.log_ratio
        beta_batch = beta * (1 + alpha * (beta * margin.detach().mean() - m0))
        return -F.logsigmoid(beta_batch * margin)

    return BatchObjective("beta_dpo", of_batch, SOURCE, {"beta": beta, "alpha": alpha, "m0": m0})
