"""What a modifier of objectives is: other log-probs for the loss, or a weight on it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from preflens.objectives.kinds.base import Citation, Objective
from preflens.pair_logps import PairLogps, PerPair


def unchanged(logps: PairLogps) -> PairLogps:
    """Return the log-probs as they are."""
    return logps


def no_weight(logps: PairLogps) -> PerPair:
    """Return one for every pair."""
    return torch.ones_like(logps.chosen)


def anything(objective: Objective) -> str:  # noqa: ARG001  # the signature of `Modifier.refusal`
    """Return no reason to refuse."""
    return ""


@dataclass(frozen=True)
class Modifier:
    """A change to any objective: ℓ'(a) = weight(a) · ℓ(change(a)).

    Attributes:
        name: the name in the table of modifiers.
        source: the paper.
        parameters: the values it was made with.
        change: the log-probs that the loss gets; differentiable.
        weight: the factor on each pair's loss; detached where the paper detaches it.
        per_token: whether tokens of a response count differently afterwards.
        refusal: why an objective cannot be modified, or an empty text.
    """

    name: str
    source: Citation
    parameters: Mapping[str, float] = field(default_factory=dict)
    change: Callable[[PairLogps], PairLogps] = unchanged
    weight: Callable[[PairLogps], PerPair] = no_weight
    per_token: bool = False
    refusal: Callable[[Objective], str] = anything
