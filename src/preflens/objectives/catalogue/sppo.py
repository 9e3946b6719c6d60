"""SPPO: a squared distance of each log-ratio to its own target."""

from preflens.objectives.kinds import Citation, PairwiseObjective
from preflens.objectives.kinds.validation import positive
from preflens.pair_logps import PerPair, ResponseLogps

_CITATION = Citation(
    "Self-Play Preference Optimization for Language Model Alignment",
    "Wu et al.",
    2024,
    "2405.00675",
    "Eq. 4.7 with win probabilities 1 and 0",
    method="SPPO",
    configurations="`sppo:beta=0.001` (authors: η = 1000); `sppo:beta=0.1` (TRL's default)",
    differences="the authors' code halves the loss",
)


def sppo(beta: float = 0.1) -> PairwiseObjective:
    """Self-Play Preference Optimization with hard labels.

    ℓ = (A − 1/(2β))² + (B + 1/(2β))², A = a_w − r_w, B = a_l − r_l: a term for each response.

    Coefficients: d_w = 2 (1/(2β) − A), d_l = 2 (1/(2β) + B). Each changes sign past its target.

    Domain: every log-prob.

    Helps: where the sizes of the log-ratios matter and not only their difference: each has its own target. If A nears
    its target first, d_w/d_l goes to zero.

    Args:
        beta: β > 0; the targets are ±1/(2β) nats. 0.1 is the default of TRL; the authors use η = 1/β = 1000.

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, sppo
        >>> at_reference(sppo(beta=0.1))
        'd_w = 10, d_l = 10 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Wu et al., "Self-Play Preference Optimization for Language Model Alignment", 2024,
        https://arxiv.org/abs/2405.00675, Eq. 4.7 with win probabilities 1 and 0.

    Note:
        This is TRL's `sppo_hard`. The authors' code halves the loss, which halves both coefficients.
    """
    positive("sppo", beta=beta)
    target = 0.5 / beta

    def of_pair(chosen: ResponseLogps, rejected: ResponseLogps) -> PerPair:
        return (chosen.log_ratio - target) ** 2 + (rejected.log_ratio + target) ** 2

    return PairwiseObjective("sppo", of_pair, _CITATION, {"beta": beta})
