"""WPO: pairs weighted by their probability under the current policy."""

from preflens.objectives.kinds.base import Citation, Objective
from preflens.objectives.modifiers.base import Modifier
from preflens.pair_logps import PairLogps, PerPair, ResponseLogps

_CITATION = Citation(
    "WPO: Enhancing RLHF with Weighted Preference Optimization",
    "Zhou et al.",
    2024,
    "2406.11827",
    "Eq. 2",
    method="WPO",
    configurations="`dpo:beta=0.1@wpo`",
    differences="as in TRL; refused for `aot` and `aot_unpaired`, as there",
)


def wpo() -> Modifier:
    """Weighted Preference Optimization: each pair's loss times w(x,y_w) w(x,y_l), detached.

    w(x,y) = exp( mean_t [ log π(y_t|…) − log Σ_v π(v|…)² ] ) over the tokens of a response. Both coefficients of a pair
    get the same factor, so d_w/d_l and the own-pair condition are those of the weighted objective; the relative weights
    of the pairs of a batch change.

    Returns:
        The modifier.

    Example:
        >>> from preflens.objectives import at_reference, dpo, modified
        >>> at_reference(modified(dpo(beta=0.1), wpo()))
        'd_w = 0.05, d_l = 0.05 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Zhou et al., "WPO: Enhancing RLHF with Weighted Preference Optimization", 2024,
        https://arxiv.org/abs/2406.11827, Eq. 2 with the alignment of weights of its Section 3, as in TRL.
    """

    def weight(logps: PairLogps) -> PerPair:
        return _alignment(logps.chosen_side) * _alignment(logps.rejected_side)

    def refusal(objective: Objective) -> str:
        sorts = objective.name in {"aot", "aot_unpaired"}
        return "it sorts the batch, so a weight would apply to another pair" if sorts else ""

    return Modifier("wpo", _CITATION, weight=weight, refusal=refusal)


def _alignment(response: ResponseLogps) -> PerPair:
    logps = response.at_tokens(response.token_logps, "log-probs").detach()
    level = response.at_tokens(response.log_sum_sq_probs, "sums of squared probabilities").detach()
    return ((logps - level).sum(1) / response.length.clamp(min=1)).exp()
