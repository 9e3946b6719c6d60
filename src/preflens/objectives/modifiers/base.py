"""The type of a modifier: it changes the log-probs that a loss is computed from, or weights the loss."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from preflens.objectives.kinds.base import Citation, Objective
from preflens.pair_logps import PairLogps, PerPair


def unchanged(logps: PairLogps) -> PairLogps:
    """Return the log-probs unchanged."""
    return logps


def no_weight(logps: PairLogps) -> PerPair:
    """Return weight 1 for every pair."""
    return torch.ones_like(logps.chosen)


def anything(objective: Objective) -> str:  # noqa: ARG001  # the signature of `Modifier.refusal`
    """Return an empty text: any objective can be modified."""
    return ""


@dataclass(frozen=True)
class Modifier:
    """A change to any objective: ℓ'(a) = weight(a) · ℓ(change(a)).

    Attributes:
        name: the name in the table of modifiers.
        source: the paper.
        parameters: hyperparameters, by name.
        change: maps the log-probs to those that the loss is computed from; differentiable.
        weight: the factor on the loss of each pair; detached where the paper detaches it.
        per_token: whether the modified coefficients differ between tokens of a response.
        refusal: returns returns why an objective cannot be modified, or an empty text.

    Example:
        A modifier that halves the loss, and with it both coefficients.

        >>> import torch
        >>> from preflens.objectives import Citation, Modifier, at_reference, dpo, modified
        >>> source = Citation("An example", "Nobody", 2026, "", "no equation")
        >>> half = Modifier("half", source, weight=lambda logps: torch.full_like(logps.chosen, 0.5))
        >>> at_reference(modified(dpo(beta=0.1), half))
        'd_w = 0.025, d_l = 0.025 for a pair with 10 tokens and −20 nats on each side.'
    """

    name: str
    source: Citation
    parameters: Mapping[str, float] = field(default_factory=dict)
    change: Callable[[PairLogps], PairLogps] = unchanged
    weight: Callable[[PairLogps], PerPair] = no_weight
    per_token: bool = False
    refusal: Callable[[Objective], str] = anything
