"""cDPO: DPO with smoothed labels."""

import torch.nn.functional as F

from preflens.objectives.kinds import Citation, MarginObjective
from preflens.objectives.kinds.rewards import log_ratio, times
from preflens.objectives.kinds.validation import between, positive
from preflens.pair_logps import PerPair

_CITATION = Citation(
    "A note on DPO with noisy preferences and relationship to IPO",
    "Mitchell",
    2023,
    "",
    "Eq. 3",
    url="https://ericmitchell.ai/cdpo.pdf",
    method="cDPO",
    configurations="`cdpo:eps=0.1`",
    differences="TRL before 0.29 only",
)


def cdpo(beta: float = 0.1, eps: float = 0.1) -> MarginObjective:
    """Conservative DPO (cDPO).

    ℓ = −(1 − ε) log σ(x) − ε log σ(−x), x = β u, u = (a_w − r_w) − (a_l − r_l), the margin form with h_w = h_l = β (a −
    r).

    Coefficients: d_w = d_l = β [ σ(−x) − ε ], negative past x = log((1 − ε)/ε).

    Domain: every log-prob.

    Helps: where a share ε of the labels is wrong: the margin has a finite target.

    Args:
        beta: β > 0, strength of the pull to the reference model; no unit. 0.1 is the default of TRL.
        eps: ε in [0, 0.5), the share of flipped labels; 0.1 is only an example.

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, cdpo
        >>> at_reference(cdpo(beta=0.1))
        'd_w = 0.04, d_l = 0.04 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Mitchell, "A note on DPO with noisy preferences and relationship to IPO", 2023,
        https://ericmitchell.ai/cdpo.pdf, Eq. 3.

    Note:
        TRL before 0.29 did this with `label_smoothing` on `sigmoid`; TRL since then ignores `label_smoothing` there.
    """
    positive("cdpo", beta=beta)
    between("cdpo", 0.0, 0.5, eps=eps)
    reward = times(beta, log_ratio)

    def m(z: PerPair) -> PerPair:
        return (1 - eps) * F.logsigmoid(z) + eps * F.logsigmoid(-z)

    return MarginObjective("cdpo", m, reward, reward, _CITATION, {"beta": beta, "eps": eps})
