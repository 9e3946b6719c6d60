"""NCA: noise contrastive alignment, which pulls the chosen response towards a fixed reward."""

import torch.nn.functional as F

from preflens.objectives.kinds import Citation, PairwiseObjective
from preflens.objectives.kinds.validation import positive
from preflens.pair_logps import PerPair, ResponseLogps

_CITATION = Citation(
    "Noise Contrastive Alignment of Language Models with Explicit Rewards",
    "Chen et al.",
    2024,
    "2402.05369",
    "the pairwise NCA loss",
    method="NCA",
    configurations="`nca:beta=0.1` (TRL)",
    differences="TRL: `nca_pair`",
)


def nca(beta: float = 0.1) -> PairwiseObjective:
    """Noise Contrastive Alignment on pairs (NCA).

    ℓ = −log σ(R_w) − ½ log σ(−R_w) − ½ log σ(−R_l), R_w = β (a_w − r_w), R_l = β (a_l − r_l).

    Coefficients: d_w = β (σ(−R_w) − ½ σ(R_w)), negative past R_w = log 2; d_l = ½ β σ(R_l).

    Domain: every log-prob.

    Helps: where the chosen log-prob should not fall: below the reference d_w is largest. It is negative past R_w = log
    2.

    Args:
        beta: β > 0, strength of the pull to the reference model; no unit. 0.1 is the default of TRL.

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, nca
        >>> at_reference(nca(beta=0.1))
        'd_w = 0.025, d_l = 0.025 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Chen et al., "Noise Contrastive Alignment of Language Models with Explicit Rewards", 2024,
        https://arxiv.org/abs/2402.05369, the pairwise NCA loss.

    Note:
        This is TRL's `nca_pair`.
    """
    positive("nca", beta=beta)

    def of_pair(chosen: ResponseLogps, rejected: ResponseLogps) -> PerPair:
        r_w, r_l = beta * chosen.log_ratio, beta * rejected.log_ratio
        return -F.logsigmoid(r_w) - 0.5 * F.logsigmoid(-r_w) - 0.5 * F.logsigmoid(-r_l)

    return PairwiseObjective("nca", of_pair, _CITATION, {"beta": beta})
