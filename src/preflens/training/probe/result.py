"""What a probed step found out about a set of pairs, before the optimizer's step and after it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain
from typing import Any, Literal

import torch
from jaxtyping import Float64
from torch import Tensor

from preflens.dynamics import cancellation_tolerance, classify, predict_change
from preflens.language_models.tokenizing import TokenizedPair
from preflens.records.outcome import Outcome
from preflens.response_order import chosen_first
from preflens.types import LogpChange, PairCoefficients, PairGram

Side = Literal["chosen", "rejected"]
SIDES: tuple[Side, Side] = ("chosen", "rejected")
# Standard deviations of rounding within which a fact says nothing.
_SURE = 3.0


@dataclass(frozen=True)
class ProbeResult:
    """Forecast and fact of one optimizer step for a set of pairs. All changes in nats, summed over a response's tokens.

    Attributes:
        pairs: whose.
        chosen_logp: log π of the chosen responses before the step.
        rejected_logp: the same of the rejected ones.
        gram: geometry before the step.
        coefficients: d_w and d_l of each pair's own loss, of which a step takes the mean over its pairs; None where
            they are not known.
        plain: forecast of plain gradient descent with the step's gradient and learning rate, other pairs included.
        optimizer: forecast of the update that the optimizer was about to make; None where it could not be foretold.
        attribution: ⟨g_i, Δθ⟩ of the update that was made; None before it, and where it was not followed.
        measured: the change that was measured; None before the step.
        floor: three standard deviations of what rounding does to each fact; None where that is not known.
    """

    pairs: tuple[TokenizedPair, ...]
    chosen_logp: Float64[Tensor, " pair"]
    rejected_logp: Float64[Tensor, " pair"]
    gram: PairGram
    coefficients: PairCoefficients | None
    plain: LogpChange
    optimizer: LogpChange | None
    attribution: LogpChange | None = None
    measured: LogpChange | None = None
    floor: LogpChange | None = None

    def after(self, chosen_logp: Tensor, rejected_logp: Tensor, attribution: LogpChange | None) -> "ProbeResult":
        """Add what the step did.

        Args:
            chosen_logp: log π of the chosen responses after it, nats.
            rejected_logp: the same of the rejected ones.
            attribution: to the update that was made.

        Returns:
            The complete look.
        """
        measured = LogpChange(chosen_logp - self.chosen_logp, rejected_logp - self.rejected_logp)
        return replace(self, attribution=attribution, measured=measured)

    def above(self, rounding: float | None) -> "ProbeResult":
        """Add how coarse the facts are.

        Args:
            rounding: standard deviation of the error of a fact of one token, nats; or None.

        Returns:
            The look with its floor: errors of tokens are independent.
        """
        if rounding is None:
            return self
        tokens = torch.tensor([pair.scored_tokens for pair in self.pairs], dtype=torch.float64).T
        return replace(self, floor=LogpChange(*(_SURE * rounding * tokens.clamp(min=0).sqrt())))

    def mean_floor(self, side: Side) -> float:
        """Return below which size the mean fact of a side is rounding, nats."""
        if self.floor is None:
            return 0.0
        floors: Tensor = getattr(self.floor, side)
        return float(floors.norm()) / len(floors)

    def tells(self, side: Side) -> bool:
        """Whether the mean fact of a side is more than rounding."""
        assert self.measured is not None
        return abs(float(getattr(self.measured, side).mean())) > self.mean_floor(side)

    def part(self, here: slice) -> "ProbeResult":
        """Take some of the pairs.

        Args:
            here: which.

        Returns:
            The look at them.
        """
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return ProbeResult(**{name: _part(value, here) for name, value in values.items()})

    @property
    def curvature(self) -> LogpChange | None:
        """What the first order misses: the fact less the attribution."""
        if self.measured is None or self.attribution is None:
            return None
        one, other = self.measured, self.attribution
        return LogpChange(one.chosen - other.chosen, one.rejected - other.rejected)

    def outcomes(self) -> tuple[Outcome, ...] | None:
        """Say what each pair's own part of a plain step does to it; None without coefficients."""
        if self.coefficients is None:
            return None
        own = predict_change(self.gram, self.coefficients, learning_rate=1.0)
        return classify(own, cancellation_tolerance(self.gram, self.coefficients, learning_rate=1.0))


def merged(results: Sequence[ProbeResult]) -> ProbeResult:
    """Put looks of several processes at one step together.

    Args:
        results: at least one.

    Returns:
        One look at all pairs.
    """
    return ProbeResult(**{
        f.name: _together([getattr(result, f.name) for result in results]) for f in fields(ProbeResult)
    })


def change_of(values: Float64[Tensor, " response"]) -> LogpChange:
    """Split changes of responses, the chosen ones first, into the two sides.

    Args:
        values: nats.

    Returns:
        The change.
    """
    chosen, rejected = values.chunk(2)
    return LogpChange(chosen, rejected)


def joined(parts: list[Float64[Tensor, "*direction _"]]) -> Float64[Tensor, "*direction _"]:
    """Put the responses of several passes together, all chosen ones first.

    Args:
        parts: of each pass, its chosen responses first.

    Returns:
        The whole, on the CPU.
    """
    return torch.cat([part.cpu() for part in parts], dim=-1)[..., chosen_first([part.shape[-1] for part in parts])]


def _part(value: Any, here: slice) -> Any:  # noqa: ANN401  # a field of a look
    if value is None:
        return None
    if isinstance(value, (Tensor, tuple)):
        return value[here]
    return type(value)(**{name: v if v is None else v[here] for name, v in vars(value).items()})


def _together(values: Sequence[Any]) -> Any:  # noqa: ANN401  # a field of a look
    first = values[0]
    if any(value is None for value in values):
        return None
    if isinstance(first, Tensor):
        return torch.cat(list(values))
    if isinstance(first, tuple):
        return tuple(chain.from_iterable(values))
    return type(first)(**{name: _together([vars(value)[name] for value in values]) for name in vars(first)})
