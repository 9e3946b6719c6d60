"""ODPO: DPO with a required margin."""

import torch.nn.functional as F

from preflens.objectives.kinds import Citation, MarginObjective
from preflens.objectives.kinds.rewards import log_ratio, times
from preflens.objectives.kinds.validation import finite, positive

_CITATION = Citation(
    "Direct Preference Optimization with an Offset",
    "Amini et al.",
    2024,
    "2402.10571",
    "the ODPO loss",
    unverified="Written from general knowledge of the paper; the equation was not re-read; one offset stands for the "
    "paper's offset of each pair",
    method="ODPO",
    configurations="`odpo:offset=1`",
    differences="the paper's offset differs from pair to pair",
)


def odpo(beta: float = 0.1, offset: float = 1.0) -> MarginObjective:
    """DPO with an offset (ODPO), the offset a constant.

    ℓ = −log σ( β u − Δ ), u = (a_w − r_w) − (a_l − r_l), the margin form with m(z) = log σ(z − Δ), h_w = h_l = β (a −
    r).

    Coefficients: d_w = d_l = β σ(Δ − β u).

    Domain: every log-prob.

    Helps: where some pairs should be separated more than others. d_w/d_l = 1 stays, so the condition is DPO's.

    Args:
        beta: β > 0, strength of the pull to the reference model; no unit. 0.1 is the default of TRL.
        offset: Δ, logits. The paper sets it for each pair from the difference of scores; 1 is only a placeholder.

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, odpo
        >>> at_reference(odpo(beta=0.1))
        'd_w = 0.0731, d_l = 0.0731 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Amini et al., "Direct Preference Optimization with an Offset", 2024, https://arxiv.org/abs/2402.10571, the ODPO
        loss.

    Note:
        Not confirmed: written from general knowledge of the paper; the equation was not re-read; one offset stands for
        the paper's offset of each pair.
    """
    positive("odpo", beta=beta)
    finite("odpo", offset=offset)
    reward = times(beta, log_ratio)
    parameters = {"beta": beta, "offset": offset}
    return MarginObjective("odpo", lambda z: F.logsigmoid(z - offset), reward, reward, _CITATION, parameters)
