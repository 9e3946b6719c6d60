"""What the log calls log-probs and rewards: what TRL logs for the same loss, and the like of it for all others."""

from collections.abc import Mapping

import torch
from torch import Tensor

from preflens.objectives.kinds import MarginObjective
from preflens.objectives.kinds.base import Objective
from preflens.objectives.kinds.weighted_sum import WeightedSum
from preflens.objectives.modifiers import ModifiedObjective
from preflens.pair_logps import PairLogps

# What TRL calls β, where it has another name here.
_BETA: Mapping[str, str] = {"ipo": "tau", "ipo_per_token": "tau", "orpo": "lam"}
# It has no reward; TRL's trainer then logs log-ratios times the β of its configuration.
_LIKELIHOOD = "sft"


def rewards_need_reference(objective: Objective) -> bool:
    """Tell whether rewards compare with the reference model.

    Args:
        objective: that is trained.

    Returns:
        Whether its rewards are made of log-ratios.
    """
    term = _term(objective)
    return term.needs_reference or term.name == _LIKELIHOOD


def logged_values(objective: Objective, logps: PairLogps, *, beta: float) -> tuple[Tensor, Tensor]:
    """Return log-probs and rewards of responses for the log.

    Log-probs are sums over the tokens, with the tail weighed down under `@ld`. Rewards are, with a reference model, β
    times the log-ratio, whatever else the loss makes of it; without one, what the margin takes from a response, as β
    log π(y)/|y| of `simpo`. In a sum, those of the first term that is not `sft`.

    Args:
        objective: that is trained.
        logps: of the responses, nats, with the reference's where `rewards_need_reference`.
        beta: of TRL's configuration, for `sft`.

    Returns:
        Log-probs in nats and rewards without unit; of the chosen responses first.

    Note:
        TRL's `DPOTrainer` logs β times summed log-ratios for all its losses, those of log-probs per token and of other
        divergences too. Its `CPOTrainer` and `ORPOTrainer` log the rewards of `simpo`, `alphapo`, `cpo` and `orpo` that
        stand here, and log-probs per token where the loss divides by the length.
    """
    term, seen = _term(objective), _seen(objective, logps)
    sides = seen.chosen_side, seen.rejected_side
    scale = beta if term.name == _LIKELIHOOD else term.parameters.get(_BETA.get(term.name, "beta"), 1.0)
    if rewards_need_reference(term):
        found = [scale * side.log_ratio for side in sides]
    elif term.name == "orpo":  # its margin takes log-odds, which TRL does not log
        found = [scale * side.logp_per_token for side in sides]
    elif isinstance(term, MarginObjective):
        found = [term.h_w(sides[0]), term.h_l(sides[1])]
    else:
        found = [scale * side.logp for side in sides]
    return torch.cat([seen.chosen, seen.rejected]), torch.cat(found)


def _seen(objective: Objective, logps: PairLogps) -> PairLogps:
    """Log-probs after the modifiers that weigh tokens; a divergence changes the loss, not the log-probs."""
    while isinstance(objective, (WeightedSum, ModifiedObjective)):
        if isinstance(objective, ModifiedObjective) and objective.modifier.per_token:
            logps = objective.modifier.change(logps)
        objective = _inside(objective)
    return logps


def _term(objective: Objective) -> Objective:
    while isinstance(objective, (WeightedSum, ModifiedObjective)):
        objective = _inside(objective)
    return objective


def _inside(objective: WeightedSum | ModifiedObjective) -> Objective:
    if isinstance(objective, ModifiedObjective):
        return objective.objective
    terms = [term for _, term in objective.terms]
    return next((term for term in terms if _term(term).name != _LIKELIHOOD), terms[0])
