"""The result of a probed step for a set of pairs: forecasts, and after the step the measured change."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from preflens.dynamics import cancellation_tolerance, classify, predict_change
from preflens.language_models.tokenizing import TokenizedPair
from preflens.records.outcome import Outcome
from preflens.response_order import chosen_first
from preflens.types import LogpChange, PairCoefficients, PairGram, Side

# Standard deviations of rounding within which a measured change is not significant.
_FLOOR_SIGMAS = 3.0


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """Forecast and measured change of one optimizer step for a set of pairs.

    All changes are in nats, summed over the tokens of a response.

    Attributes:
        pairs: in the order of all other fields.
        chosen_logp: log π of the chosen responses before the step.
        rejected_logp: likewise for rejected responses.
        gram: geometry before the step.
        coefficients: d_w and d_l of each pair's own loss, of which a step takes the mean over its pairs; None where
            they are not known.
        plain: forecast of plain gradient descent with the step's gradient and learning rate, other pairs included.
        optimizer: forecast of the update that the optimizer was about to make; None where it is not supported.
        attribution: ⟨g_i, Δθ⟩ of the update that was made; None before it, and where the update is not known.
        measured: the change that was measured; None before the step.
        floor: three standard deviations of the rounding error of each measured change; None where that is not known.
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

    def with_measured(
        self, chosen_logp: Tensor, rejected_logp: Tensor, attribution: LogpChange | None
    ) -> "ProbeResult":
        """Add what was measured after the step.

        Args:
            chosen_logp: log π of the chosen responses after it, nats.
            rejected_logp: likewise for rejected responses.
            attribution: to the update that was made.

        Returns:
            The complete result.
        """
        measured = LogpChange(chosen_logp - self.chosen_logp, rejected_logp - self.rejected_logp)
        return replace(self, attribution=attribution, measured=measured)

    def with_floor(self, rounding: float | None) -> "ProbeResult":
        """Add the rounding errors of the measured changes.

        Args:
            rounding: standard deviation of the error of the measured change of one token, nats; or None.

        Returns:
            The result with its floor: errors of tokens are independent.
        """
        if rounding is None:
            return self
        tokens = torch.tensor([pair.scored_tokens for pair in self.pairs], dtype=torch.float64).T
        return replace(self, floor=LogpChange(*(_FLOOR_SIGMAS * rounding * tokens.clamp(min=0).sqrt())))

    def mean_floor(self, side: Side) -> float:
        """Return the size below which the mean measured change of a side is rounding, nats."""
        if self.floor is None:
            return 0.0
        floors: Tensor = getattr(self.floor, side)
        return float(floors.norm()) / len(floors)

    def is_significant(self, side: Side) -> bool:
        """Return whether the mean measured change of a side is more than rounding."""
        assert self.measured is not None
        return abs(float(getattr(self.measured, side).mean())) > self.mean_floor(side)

    def part(self, indices: slice) -> "ProbeResult":
        """Return the result for some of the pairs.

        Args:
            indices: which.

        Returns:
            Their result.
        """
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return ProbeResult(**{name: _part(value, indices) for name, value in values.items()})

    @property
    def curvature(self) -> LogpChange | None:
        """What no first-order number contains: the measured change less the attribution, nats."""
        if self.measured is None or self.attribution is None:
            return None
        measured, attribution = self.measured, self.attribution
        return LogpChange(measured.chosen - attribution.chosen, measured.rejected - attribution.rejected)

    def outcomes(self) -> tuple[Outcome, ...] | None:
        """Classify what each pair's own part of a plain step does to it; None without coefficients."""
        if self.coefficients is None:
            return None
        change = predict_change(self.gram, self.coefficients, learning_rate=1.0)
        return classify(change, cancellation_tolerance(self.gram, self.coefficients, learning_rate=1.0))


def merge_results(results: Sequence[ProbeResult]) -> ProbeResult:
    """Concatenate the results of several processes at one step.

    Args:
        results: at least one.

    Returns:
        One result for all pairs; a field that any process lacks is None.
    """
    return ProbeResult(**{
        f.name: _concatenated([getattr(result, f.name) for result in results]) for f in fields(ProbeResult)
    })


def change_of(values: Float64[Tensor, " response"]) -> LogpChange:
    """Split changes of responses, chosen responses first, into the two sides.

    Args:
        values: nats.

    Returns:
        The change.
    """
    chosen, rejected = values.chunk(2)
    return LogpChange(chosen, rejected)


def join_passes(passes: list[Float64[Tensor, "*direction _"]]) -> Float64[Tensor, "*direction _"]:
    """Concatenate the responses of several passes, all chosen responses first.

    Args:
        passes: values of each pass, its chosen responses first.

    Returns:
        All values, on the CPU.
    """
    order = chosen_first([values.shape[-1] for values in passes])
    return torch.cat([values.cpu() for values in passes], dim=-1)[..., order]


def _part(value: Any, indices: slice) -> Any:  # noqa: ANN401  # a field of a result
    if value is None:
        return None
    if isinstance(value, (Tensor, tuple)):
        return value[indices]
    return type(value)(**{name: v if v is None else v[indices] for name, v in vars(value).items()})


def _concatenated(values: Sequence[Any]) -> Any:  # noqa: ANN401  # a field of a result
    first = values[0]
    if any(value is None for value in values):
        return None
    if isinstance(first, Tensor):
        return torch.cat(list(values))
    if isinstance(first, tuple):
        return tuple(chain.from_iterable(values))
    return type(first)(**{name: _concatenated([vars(value)[name] for value in values]) for name in vars(first)})
