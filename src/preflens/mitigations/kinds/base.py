"""The type of most mitigations: a map from the coefficients of a step and the gradient Gram to other coefficients."""

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

# Above a cosine of 1 minus this, the two gradients of a pair are parallel up to rounding.
PARALLEL = 1e-6


@dataclass(frozen=True)
class MovingAverages:
    """The state of a mitigation between updates: exponential moving averages of logarithms.

    Attributes:
        logs: by name, the average of natural logarithms.
        updates: number of updates so far.

    Example:
        >>> from preflens.mitigations import reward_calibration
        >>> gram = BatchGram(torch.eye(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64))
        >>> one = torch.ones(1, dtype=torch.float64)
        >>> reward_calibration().apply(PairCoefficients(one, one), gram).state.updates
        1
    """

    logs: Mapping[str, float]
    updates: int


@dataclass(frozen=True)
class Mitigated:
    """The result of applying a mitigation to the coefficients of an update batch.

    Attributes:
        coefficients: d_w and d_l of the step, no unit; also of constraint pairs, if the Gram contains any.
        untreated: pairs that keep their coefficients because the mitigation guarantees nothing for them: d_w ≤ 0, d_l ≤
            0, a gradient that is zero, or parallel gradients.
        state: the state for the next update, or None for a mitigation without a state.
        report: numbers to log, by name.

    Example:
        A zero rejected gradient: nothing is guaranteed for the pair, so it is untreated.

        >>> from preflens.mitigations import normalized
        >>> one = torch.ones(1, dtype=torch.float64)
        >>> normalized().apply(PairCoefficients(one, one), PairGram(one, 0 * one, 0 * one)).untreated.tolist()
        [True]
    """

    coefficients: PairCoefficients
    untreated: Bool[Tensor, " pair"]
    state: MovingAverages | None = None
    report: Mapping[str, float] = field(default_factory=dict)


Full = Callable[[PairCoefficients, PairGram | BatchGram, MovingAverages | None], Mitigated]


@dataclass(frozen=True)
class CoefficientMap:
    """A mitigation defined by its map at full strength. Weaker strengths are derived from it.

    Attributes:
        name: the name in the table of mitigations.
        full: the map at strength 1.
        source: the paper.
        scope: the pairs that it depends on. `pair`: each pair alone, so splitting an update batch changes nothing.
            `batch`: all pairs, including cross-pair terms; it needs a `BatchGram`.
        strength: 0 leaves every coefficient bit-identical; 1 applies the full map.
        parameters: hyperparameters, by name.

    Example:
        A mitigation of your own that halves d_l. At strength ½ the factor is √½, because the scope is `pair`.

        >>> from preflens.mitigations import CoefficientMap, Mitigated
        >>> from preflens.objectives import Citation
        >>> def halve(coefficients, gram, state):
        ...     changed = PairCoefficients(coefficients.chosen, 0.5 * coefficients.rejected)
        ...     return Mitigated(changed, torch.zeros_like(coefficients.chosen, dtype=torch.bool))
        >>> source = Citation("An example", "Nobody", 2026, "", "no equation")
        >>> mine = CoefficientMap("halved", halve, source, scope="pair", strength=0.5)
        >>> one = torch.ones(1, dtype=torch.float64)
        >>> round(mine.apply(PairCoefficients(one, one), PairGram(one, one, 0 * one)).coefficients.rejected.item(), 4)
        0.7071
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

        Between strengths 0 and 1, coefficients are interpolated geometrically for scope `pair` (d^(1−s) d'^s, so they
        keep their sign) and linearly for scope `batch`.

        Args:
            coefficients: d_w and d_l of the pairs, from the objective.
            gram: geometry of the pairs; blocks, if any, are added up. Pairs beyond those of the coefficients are
                constraint pairs.
            state: `Mitigated.state` of the previous update, or None at the first.

        Returns:
            The coefficients of the step, and the state for the next update.

        Raises:
            InputError: the scope is `batch` and `gram` is a `PairGram`.
        """
        geometry, plain = gram.total(), coefficients.of_whole_responses()
        if self.strength == 0:
            return Mitigated(coefficients, torch.zeros_like(plain.chosen, dtype=torch.bool), state)
        if self.scope == "pair":
            geometry = geometry.pair_gram() if isinstance(geometry, BatchGram) else geometry
        elif isinstance(geometry, PairGram):
            raise InputError(f"Mitigation `{self.name}` depends on the whole batch. Pass a `BatchGram`.")
        result = self.full(plain, geometry, state)
        if self.strength == 1:
            return result
        blend = _geometric if self.scope == "pair" else _linear
        full = result.coefficients
        chosen = blend(_like(plain.chosen, full.chosen), full.chosen, self.strength)
        rejected = blend(_like(plain.rejected, full.rejected), full.rejected, self.strength)
        return replace(result, coefficients=PairCoefficients(chosen, rejected))


def as_rollout_transform(mitigation: CoefficientMap) -> CoefficientTransform:
    """Return a mitigation as the `transform` of a rollout.

    Args:
        mitigation: it starts without a state.

    Returns:
        The argument of `rollout(..., transform=…)`. It passes the mitigation's state from call to call.

    Example:
        With `normalized`, both log-probs of a pair with norms 1 and 2 move by c times their norm.

        >>> from preflens.dynamics import rollout
        >>> from preflens.mitigations import as_rollout_transform, normalized
        >>> from preflens.objectives import dpo
        >>> from preflens.pair_logps import PairLogps
        >>> start = torch.tensor([-10.0], dtype=torch.float64)
        >>> gram = BatchGram(torch.diag(torch.tensor([1.0, 4.0], dtype=torch.float64)), torch.cat([start, start]))
        >>> logps, transform = PairLogps(start, start, start, start), as_rollout_transform(normalized("unit"))
        >>> path = rollout(gram, logps, dpo(), steps=1, learning_rate=0.1, transform=transform)
        >>> round(path.chosen[1].item(), 4), round(path.rejected[1].item(), 4)
        (-9.9, -10.2)
    """
    state: MovingAverages | None = None

    def step(coefficients: PairCoefficients, gram: BatchGram) -> PairCoefficients:
        nonlocal state
        mitigated = mitigation.apply(coefficients, gram, state)
        state = mitigated.state
        return mitigated.coefficients

    return step


def is_treatable(coefficients: PairCoefficients, gram: PairGram) -> Bool[Tensor, " pair"]:
    """Return the pairs for which a mitigation can guarantee a direction.

    Args:
        coefficients: d_w and d_l.
        gram: geometry of the same pairs, without blocks.

    Returns:
        True where both coefficients are positive, and both gradients are nonzero and not parallel.
    """
    positive = (coefficients.chosen > 0) & (coefficients.rejected > 0)
    nonzero = (gram.chosen_sq_norm > 0) & (gram.rejected_sq_norm > 0)
    cosine = torch.where(nonzero, gram.cosine, torch.ones_like(gram.cosine))
    return positive & (cosine < 1 - PARALLEL)


def within(mitigation: str, low: float, high: float, **values: float) -> None:
    """Raise if a parameter is outside a closed interval.

    Args:
        mitigation: the mitigation's name, for the message.
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
    """An unchanged coefficient stays bit-identical."""
    ratio = torch.where(end == start, torch.ones_like(start), end / start)
    return start * ratio.pow(share)


def _linear(start: Tensor, end: Tensor, share: float) -> Tensor:
    return start + share * (end - start)


def _like(values: Tensor, longer: Tensor) -> Tensor:
    """Append zeros for constraint pairs."""
    return torch.cat([values, values.new_zeros(len(longer) - len(values))])
