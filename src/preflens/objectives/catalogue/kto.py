"""KTO on pairs: each response compared with a reference point from the batch."""

import torch.nn.functional as F

from preflens.objectives.kinds import BatchObjective, Citation
from preflens.objectives.kinds.validation import non_negative, positive
from preflens.pair_logps import PairLogps, PerPair

_CITATION = Citation(
    "KTO: Model Alignment as Prospect Theoretic Optimization",
    "Ethayarajh et al.",
    2024,
    "2402.01306",
    "Eq. 8, number not confirmed",
    unverified="The paired form follows the loss type `kto_pair` of TRL 0.7 to 0.9 as remembered, with the reference "
    "points detached as in the paper",
    method="KTO",
    configurations="`kto:beta=0.1,lam_w=1,lam_l=1`",
    differences="the paper and TRL's KTO trainer are unpaired, with a KL from mismatched pairs",
)


def kto(beta: float = 0.1, lam_w: float = 1.0, lam_l: float = 1.0) -> BatchObjective:
    """Kahneman-Tversky Optimization on pairs.

    ℓ = λ_w [ 1 − σ(β (A − z_w)) ] + λ_l [ 1 − σ(β (z_l − B)) ], A = a_w − r_w, B = a_l − r_l. The reference points are
    detached means over the update batch, z_w = max(0, mean B) and z_l = max(0, mean A): the half of the other side
    estimates the KL.

    Coefficients: d_w = λ_w β K_w (1 − K_w), d_l = λ_l β K_l (1 − K_l), K_w = σ(β (A − z_w)), K_l = σ(β (z_l − B)).

    Domain: every log-prob.

    Helps: where one response is learned before the other: its coefficient goes to zero independently, which moves
    d_w/d_l away from 1.

    Args:
        beta: β > 0, strength of the pull to the reference model; no unit. 0.1 is the default of TRL.
        lam_w: λ_w ≥ 0, weight of chosen responses; the paper's default is 1.
        lam_l: λ_l ≥ 0, weight of rejected responses; the paper's default is 1.

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, kto
        >>> at_reference(kto(beta=0.1))
        'd_w = 0.025, d_l = 0.025 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Ethayarajh et al., "KTO: Model Alignment as Prospect Theoretic Optimization", 2024,
        https://arxiv.org/abs/2402.01306, Eq. 8, number not confirmed.

    Note:
        The paper and TRL's KTO trainer take unpaired responses and estimate the KL from mismatched prompt-response
        pairs. Not confirmed: the paired form follows the loss type `kto_pair` of TRL 0.7 to 0.9 as remembered, with the
        reference points detached as in the paper.
    """
    positive("kto", beta=beta)
    non_negative("kto", lam_w=lam_w, lam_l=lam_l)

    def of_batch(logps: PairLogps) -> PerPair:
        chosen, rejected = logps.chosen_side.log_ratio, logps.rejected_side.log_ratio
        z_w, z_l = (side.detach().mean().clamp(min=0) for side in (rejected, chosen))
        return lam_w * F.sigmoid(-beta * (chosen - z_w)) + lam_l * F.sigmoid(-beta * (z_l - rejected))

    return BatchObjective("kto", of_batch, _CITATION, {"beta": beta, "lam_w": lam_w, "lam_l": lam_l})
