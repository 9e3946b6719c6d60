"""Log-probs and rewards for the log: those that TRL logs for the same loss, and likewise for all other losses."""

from collections.abc import Mapping

import torch
from torch import Tensor

from preflens.objectives.kinds import MarginObjective
from preflens.objectives.kinds.base import Objective
from preflens.objectives.kinds.weighted_sum import WeightedSum
from preflens.objectives.modifiers import ModifiedObjective
from preflens.pair_logps import PairLogps

# The parameter that TRL calls β, where it has another name here.
_BETA: Mapping[str, str] = {"ipo": "tau", "ipo_per_token": "tau", "orpo": "lam"}
# This objective has no reward; TRL's trainer logs log-ratios times the β of its configuration.
_LIKELIHOOD = "sft"


def rewards_need_reference(objective: Objective) -> bool:
    """Return whether rewards compare with the reference model.

    Args:
        objective: in training.

    Returns:
        Whether its rewards are log-ratios.
    """
    term = _first_term(objective)
    return term.needs_reference or term.name == _LIKELIHOOD


def logged_values(objective: Objective, logps: PairLogps, *, beta: float) -> tuple[Tensor, Tensor]:
    """Return log-probs and rewards of responses for the log.

    Log-probs are sums over the tokens, with a lower weight on the tail under `@ld`. With a reference model, rewards are
    β times the log-ratio, for every loss. Without one, they are the terms of the margin, such as β log π(y)/|y| for
    `simpo`. For a sum, they are those of the first term that is not `sft`.

    Args:
        objective: in training.
        logps: of the responses, nats, with those of the reference where `rewards_need_reference`.
        beta: of TRL's configuration, for `sft`.

    Returns:
        Log-probs in nats and rewards without unit, each with chosen responses first.

    Note:
        TRL's `DPOTrainer` logs β times summed log-ratios for all its losses, also for those of log-probs per token and
        of other divergences. Its `CPOTrainer` and `ORPOTrainer` log the same rewards as this function for `simpo`,
        `alphapo`, `cpo` and `orpo`, and log-probs per token where the loss divides by the length.
    """
    term, modified = _first_term(objective), _modified_logps(objective, logps)
    sides = modified.chosen_side, modified.rejected_side
    scale = beta if term.name == _LIKELIHOOD else term.parameters.get(_BETA.get(term.name, "beta"), 1.0)
    if rewards_need_reference(term):
        rewards = [scale * side.log_ratio for side in sides]
    elif term.name == "orpo":  # its margin takes log-odds, which TRL does not log
        rewards = [scale * side.logp_per_token for side in sides]
    elif isinstance(term, MarginObjective):
        rewards = [term.h_w(sides[0]), term.h_l(sides[1])]
    else:
        rewards = [scale * side.logp for side in sides]
    return torch.cat([modified.chosen, modified.rejected]), torch.cat(rewards)


def _modified_logps(objective: Objective, logps: PairLogps) -> PairLogps:
    """Log-probs after the modifiers that weight tokens; a divergence changes the loss, not the log-probs."""
    while isinstance(objective, (WeightedSum, ModifiedObjective)):
        if isinstance(objective, ModifiedObjective) and objective.modifier.per_token:
            logps = objective.modifier.change(logps)
        objective = _inner(objective)
    return logps


def _first_term(objective: Objective) -> Objective:
    while isinstance(objective, (WeightedSum, ModifiedObjective)):
        objective = _inner(objective)
    return objective


def _inner(objective: WeightedSum | ModifiedObjective) -> Objective:
    if isinstance(objective, ModifiedObjective):
        return objective.objective
    terms = [term for _, term in objective.terms]
    return next((term for term in terms if _first_term(term).name != _LIKELIHOOD), terms[0])
