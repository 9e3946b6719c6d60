"""The first step of an objective: coefficients at the reference model, and when both log-probs move as intended."""

import torch

from preflens.errors import NumericalError
from preflens.objectives.kinds.base import Objective
from preflens.pair_logps import PairLogps

EQUAL = (
    "d_w = d_l always. For positive coefficients the chosen response rises and the rejected one falls iff "
    "⟨g_w,g_l⟩ < min(‖g_w‖², ‖g_l‖²)."
)
GENERAL = (
    "chosen rises iff d_w ‖g_w‖² > d_l ⟨g_w,g_l⟩, rejected falls iff d_l ‖g_l‖² > d_w ⟨g_w,g_l⟩. For positive "
    "coefficients both hold iff ⟨g_w,g_l⟩ < min(r ‖g_w‖², ‖g_l‖²/r), r = d_w/d_l."
)
BY_TOKEN = (
    "coefficients differ between tokens: chosen rises iff Σ_t d_{w,t} ⟨g_w,g_{w,t}⟩ > Σ_t d_{l,t} ⟨g_w,g_{l,t}⟩, "
    "with g_{w,t} and g_{l,t} the gradients of single tokens; likewise for the rejected response."
)


def condition_of(objective: Objective) -> str:
    """Return the condition under which a step of an objective moves both log-probs of a pair as intended.

    Args:
        objective: any objective.

    Returns:
        A sentence: the short one where d_w = d_l for a thousand random pairs.

    References:
        Yuan et al., arXiv 2410.13828, Condition 1 and Section 3.2.
    """
    if objective.kind == "token":
        return BY_TOKEN
    try:
        c = objective.coefficients(_drawn())
    except NumericalError:
        return GENERAL
    return EQUAL if torch.allclose(c.chosen, c.rejected, rtol=1e-9, atol=0) else GENERAL


def at_reference(objective: Objective) -> str:
    """Return the coefficients of one pair when the policy equals the reference model, as before the first step.

    Args:
        objective: any objective.

    Returns:
        A sentence with d_w and d_l, and a warning where one is negative.

    Example:
        >>> from preflens.objectives import at_reference, dpo
        >>> at_reference(dpo(beta=0.1))  # β σ(0)
        'd_w = 0.05, d_l = 0.05 for a pair with 10 tokens and −20 nats on each side.'
    """
    same, count = torch.full((1,), -20.0, dtype=torch.float64), torch.full((1,), 10)
    token = torch.full((1, 10), -2.0, dtype=torch.float64)
    logps = PairLogps(
        same, same, same, same, count, count, token, token, token, token, token, token, same, same,
    )  # fmt: skip
    try:
        c = objective.coefficients(logps)
    except NumericalError as error:
        return f"no coefficients with these parameters. {error}"
    d_w, d_l = c.chosen.item() + 0.0, c.rejected.item() + 0.0  # no "-0"
    text = f"d_w = {d_w:.3g}, d_l = {d_l:.3g} for a pair with 10 tokens and −20 nats on each side"
    if d_w < 0 and d_l < 0:
        return f"{text}: the first step runs backwards."
    sides = [side for side, d in (("descends the chosen", d_w), ("climbs the rejected", d_l)) if d < 0]
    return f"{text}: the first step {sides[0]} response." if sides else f"{text}."


def _drawn() -> PairLogps:
    """Random log-probs of a thousand pairs near their reference, where every objective is defined."""
    draw = torch.Generator().manual_seed(0)
    ref_w, ref_l = -20 - 20 * torch.rand((2, 1000), generator=draw, dtype=torch.float64)
    near = 0.6 * torch.rand((2, 1000), generator=draw, dtype=torch.float64) - 0.3
    counts = torch.randint(1, 9, (2, 1000), generator=draw)
    level = torch.full((1000, 1), -1.0, dtype=torch.float64)
    return PairLogps(
        ref_w + near[0], ref_l + near[1], ref_w, ref_l, counts[0], counts[1], level, level, level, level, level, level,
        future_chosen=ref_w + 2 * near[0], future_rejected=ref_l + 2 * near[1],
    )  # fmt: skip
