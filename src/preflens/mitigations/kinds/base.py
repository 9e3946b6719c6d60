"""What a mitigation is: a map from the coefficients of a step and the gradient Gram to other coefficients."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from preflens.dynamics import CoefficientTransform
from preflens.errors import InputError
from preflens.objectives.kinds.base import Citation
from preflens.specs import Value
from preflens.types import BatchGram, PairCoefficients, PairGram

Scope = Literal["pair", "batch"]

# A pair whose cosine is closer to 1 has one gradient, not two: what would tell its sides apart is rounding.
PARALLEL = 1e-6


@dataclass(frozen=True)
class MovingAverages:
    """What a mitigation remembers from update to update: exponential averages of logarithms.

    Attributes:
        logs: by name, the average of natural logarithms.
        updates: how many updates are in it.
    """

    logs: Mapping[str, float]
    updates: int


@dataclass(frozen=True)
class Mitigated:
    """What a mitigation made of the coefficients of an update batch.

    Attributes:
        coefficients: d_w and d_l to step with, no unit; of probe pairs too, where the Gram holds any.
        untreated: pairs that keep the coefficients they had because nothing can be promised for them: d_w ≤ 0,
            d_l ≤ 0, a gradient that is zero, or parallel gradients.
        state: what to hand over at the next update, or None where nothing is remembered.
        report: numbers worth logging, by name.
    """

    coefficients: PairCoefficients
    untreated: Bool[Tensor, " pair"]
    state: MovingAverages | None = None
    report: Mapping[str, float] = field(default_factory=dict)


Full = Callable[[PairCoefficients, PairGram | BatchGram, MovingAverages | None], Mitigated]


@dataclass(frozen=True)
class CoefficientMap:
    """A mitigation that is stated once, at full strength; what strength does is derived.

    Attributes:
        name: the name in the table of mitigations.
        full: the map at strength 1.
        source: where it is from.
        scope: what it looks at. `pair`: each pair alone, so it is the same however an update batch is split. `batch`:
            all pairs that it is given, cross-pair terms among them; it needs a `BatchGram`.
        strength: 0 leaves every coefficient as it is, to the last bit; 1 is the whole map.
        parameters: the values it was made with.
    """

    name: str
    full: Full
    source: Citation
    scope: Scope
    strength: float = 1.0
    parameters: Mapping[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        within(self.name, 0.0, 1.0, strength=self.strength)

    def apply(
        self, coefficients: PairCoefficients, gram: PairGram | BatchGram, state: MovingAverages | None = None
    ) -> Mitigated:
        """Change the coefficients of an update batch.

        In between strengths, coefficients of pairs move geometrically (d^(1−s) d'^s, so they keep their sign) and
        those of batches linearly.

        Args:
            coefficients: d_w and d_l of the pairs, as the objective has them.
            gram: their geometry; blocks, if any, are added up. Pairs beyond those of the coefficients are probe pairs.
            state: what was handed back at the update before, or None at the first.

        Returns:
            The coefficients to step with.

        Raises:
            InputError: the map looks at a batch and got the geometry of single pairs.
        """
        whole, own = gram.total(), coefficients.of_whole_responses()
        if self.strength == 0:
            return Mitigated(coefficients, torch.zeros_like(own.chosen, dtype=torch.bool), state)
        if self.scope == "pair":
            whole = whole.pair_gram() if isinstance(whole, BatchGram) else whole
        elif isinstance(whole, PairGram):
            raise InputError(f"Mitigation `{self.name}` looks at the whole batch: give it a `BatchGram`.")
        found = self.full(own, whole, state)
        if self.strength == 1:
            return found
        blend = _geometric if self.scope == "pair" else _linear
        chosen = blend(_like(own.chosen, found.coefficients.chosen), found.coefficients.chosen, self.strength)
        rejected = blend(_like(own.rejected, found.coefficients.rejected), found.coefficients.rejected, self.strength)
        return replace(found, coefficients=PairCoefficients(chosen, rejected))


def as_rollout_transform(mitigation: CoefficientMap) -> CoefficientTransform:
    """Put a mitigation between the coefficients and the steps of a rollout.

    Args:
        mitigation: starts without a memory.

    Returns:
        What `rollout(..., transform=…)` takes; it remembers from call to call what the mitigation remembers.
    """
    state: MovingAverages | None = None

    def step(coefficients: PairCoefficients, gram: BatchGram) -> PairCoefficients:
        nonlocal state
        found = mitigation.apply(coefficients, gram, state)
        state = found.state
        return found.coefficients

    return step


def is_treatable(coefficients: PairCoefficients, gram: PairGram) -> Bool[Tensor, " pair"]:
    """Tell for which pairs a change of coefficients can be reasoned about.

    Args:
        coefficients: d_w and d_l.
        gram: geometry of the same pairs, without blocks.

    Returns:
        True where both coefficients are positive, and both gradients there and not parallel.
    """
    positive = (coefficients.chosen > 0) & (coefficients.rejected > 0)
    there = (gram.chosen_sq_norm > 0) & (gram.rejected_sq_norm > 0)
    cosine = torch.where(there, gram.cosine, torch.ones_like(gram.cosine))
    return positive & (cosine < 1 - PARALLEL)


def within(mitigation: str, low: float, high: float, **values: float) -> None:
    """Refuse a parameter outside a closed interval.

    Args:
        mitigation: name for the message.
        low: least value.
        high: greatest value.
        **values: parameters by name.

    Raises:
        InputError: a value is outside, or not a number.
    """
    for name, value in values.items():
        if not (low <= value <= high and math.isfinite(value)):
            ends = f"from {low:g} to {high:g}" if math.isfinite(high) else f"{low:g} or more"
            raise InputError(f"Parameter `{name}` of mitigation `{mitigation}` should be {ends}. Found {value:g}.")


def _geometric(start: Tensor, end: Tensor, share: float) -> Tensor:
    """Where nothing changed, the very same number."""
    ratio = torch.where(end == start, torch.ones_like(start), end / start)
    return start * ratio.pow(share)


def _linear(start: Tensor, end: Tensor, share: float) -> Tensor:
    return start + share * (end - start)


def _like(values: Tensor, longer: Tensor) -> Tensor:
    """Zeros for the probe pairs behind."""
    return torch.cat([values, values.new_zeros(len(longer) - len(values))])
