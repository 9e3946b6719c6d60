"""TRL's fused head, on the rows that predict a response token only.

Off the GPU, TRL scores every position of a batch, prompts and padding included. Here the same function of the same
hidden states is computed on the rows that count, in the forward and in the backward pass, and where a ride is on, the
head's part of the Gram is read off meanwhile.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from trl.trainer import utils as trl_utils

from preflens.errors import UnsupportedModelError
from preflens.gram.factors.head_scores import detached, scores_of, taken
from preflens.gram.factors.scored_rows import SCORES, SoftmaxRows
from preflens.gram.training_step.deferred import DeferredGradients
from preflens.gram.training_step.observer import BackwardObserver
from preflens.language_models.batch import PairBatch
from preflens.language_models.output_head import head_input_from_rows
from preflens.training.response_coefficients import response_coefficients
from preflens.types import HeadInput


@contextmanager
def response_rows_only(batch: PairBatch, ride: BackwardObserver | DeferredGradients | None = None) -> Iterator[None]:
    """Let models with TRL's fused head score response rows only, for a while.

    Args:
        batch: that goes through the model in the meantime.
        ride: takes the head's part of the Gram in the backward pass, or None.

    Yields:
        Nothing.
    """
    original = trl_utils._ChunkedLogProbFunction
    trl_utils._ChunkedLogProbFunction = _StandIn(original, batch, ride)
    try:
        yield
    finally:
        trl_utils._ChunkedLogProbFunction = original


@dataclass(frozen=True)
class _StandIn:
    """Is called in place of TRL's autograd function.

    Attributes:
        original: that function.
        batch: the rows that go through the model.
        ride: reads the Gram off the backward pass, or None.
    """

    original: Any
    batch: PairBatch
    ride: BackwardObserver | DeferredGradients | None

    def apply(
        self,
        hidden: Float[Tensor, "row in"],
        weight: Float[Tensor, "vocab in"],
        bias: Float[Tensor, " vocab"] | None,
        targets: Tensor,
        temperature: float,
        chunk_size: int,
        soft_cap: float | None,
        scale: float,
        outputs: tuple[str, ...],
    ) -> tuple[Tensor | None, ...]:
        """Score response rows; the others get zeros, which TRL masks anyway."""
        _refuse(temperature, outputs)
        predicts = self.batch.completion_mask[:, 1:]
        places = predicts.flatten().nonzero()[:, 0]
        if len(places) == 0:  # nothing to score, but a graph to be kept
            rest = (temperature, chunk_size, soft_cap, scale, outputs)
            nothing: tuple[Tensor | None, ...] = self.original.apply(hidden, weight, bias, targets, *rest)
            return nothing
        compact = len(hidden) == len(places) != predicts.numel()
        if not compact and len(hidden) != predicts.numel():
            raise UnsupportedModelError(
                f"The head got {len(hidden)} rows for {predicts.numel()} tokens, as with virtual tokens of prompt "
                "learning. Pass `replace_head=False`."
            )
        rows = hidden if compact else hidden[places]
        head = head_input_from_rows(rows, weight, self.batch, bias=bias, scale=scale, soft_cap=soft_cap)
        ride = self.ride if torch.is_grad_enabled() else None
        if ride is not None:
            ride.on_forward(head)
        found: tuple[Tensor, ...] = _Rows.apply(rows, weight, bias, head, ride)  # type: ignore[no-untyped-call]  # torch's
        full = found if compact else tuple(v.new_zeros(len(hidden)).index_copy(0, places, v) for v in found)
        logps, entropy, mean, top = full
        return logps, entropy, None, mean, top


def _refuse(temperature: float, outputs: tuple[str, ...]) -> None:
    if temperature != 1:
        raise UnsupportedModelError(f"A temperature of {temperature:g} is not supported; TRL's DPOTrainer uses 1.")
    if "log_sum_sq_probs" in outputs:
        raise UnsupportedModelError("The weighting of WPO needs TRL's own head. Pass `replace_head=False`.")


class _Rows(torch.autograd.Function):
    """Log-probs of rows, with entropy, mean score, and whether the target scores highest, which have no gradient."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401  # torch gives it no public type
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,  # noqa: ARG004  # as hidden
        head: HeadInput,
        ride: BackwardObserver | DeferredGradients | None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        cut, step = detached(head), max(1, SCORES // len(weight))
        starts = range(0, len(cut.hidden), step)
        parts = [_score(taken(cut, slice(start, start + step)), differentiate=len(starts) == 1) for start in starts]
        normalizer, target_score, entropy, mean, top = (
            torch.cat([getattr(part, name) for part in parts]) for name in _COLUMNS
        )
        ctx.head, ctx.ride, ctx.rows = head, ride, SoftmaxRows(cut, normalizer, target_score)
        ctx.gradient = parts[0].gradient  # None where it is too large: it is computed again
        device = hidden.device.type  # in the same precision
        ctx.autocast = torch.autocast(
            device, dtype=torch.get_autocast_dtype(device), enabled=torch.is_autocast_enabled(device)
        )
        ctx.mark_non_differentiable(entropy, mean, top)
        return target_score - normalizer, entropy, mean, top

    @staticmethod
    def backward(ctx: Any, sent: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        scored = None if ctx.gradient is None else (ctx.rows, ctx.gradient)
        places, count = ctx.head.response_index, ctx.head.responses
        coefficients = None if ctx.ride is None else response_coefficients(sent, places, count)
        if coefficients is not None:
            return *ctx.ride.through_head(ctx.head, coefficients, scored), None, None
        slices = iter([(slice(0, len(ctx.head.weight)), ctx.gradient)])
        if ctx.gradient is None:
            slices = _again(ctx.rows, ctx.autocast)
        return *_plain_backward(ctx.head, sent, ctx.rows, slices), None, None


def _again(rows: SoftmaxRows, autocast: Any) -> Iterator[tuple[slice, Tensor]]:  # noqa: ANN401  # torch.autocast
    """Score gradients as the forward pass would have had them, a slice of the vocabulary at a time."""
    slices = rows.gradients()
    while True:
        with autocast:
            found = next(slices, None)
        if found is None:
            return
        yield found


_COLUMNS = ("normalizer", "target_score", "entropy", "mean", "top")


@dataclass(frozen=True)
class _Scored:
    """Some rows, scored.

    Attributes:
        normalizer: log Σ exp z.
        target_score: z at the target.
        entropy: of the next token, nats.
        mean: of z over the vocabulary.
        top: whether the target scores highest.
        gradient: u, of the log-prob with respect to W h + b.
    """

    normalizer: Tensor
    target_score: Tensor
    entropy: Tensor
    mean: Tensor
    top: Tensor
    gradient: Tensor | None


def _score(head: HeadInput, *, differentiate: bool) -> _Scored:
    scores, slope = scores_of(head, slice(None))
    targets = head.targets[:, None]
    target_score, mean, top = scores.gather(1, targets)[:, 0], scores.mean(1), scores.argmax(1) == head.targets
    token_logps = torch.log_softmax(scores, 1)
    normalizer = target_score - token_logps.gather(1, targets)[:, 0]
    probs = token_logps.exp()
    entropy = -torch.linalg.vecdot(probs, token_logps)
    if not differentiate:
        return _Scored(normalizer, target_score, entropy, mean, top, None)
    gradient = probs.neg_().scatter_add_(1, targets, probs.new_ones(targets.shape))
    return _Scored(normalizer, target_score, entropy, mean, top, gradient if slope is None else gradient.mul_(slope))


def _plain_backward(
    head: HeadInput, sent: Float[Tensor, " scored_token"], rows: SoftmaxRows, slices: Iterator[tuple[slice, Tensor]]
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Gradients with respect to hidden rows, weight and bias; None for what needs none."""
    hidden = torch.zeros_like(rows.inputs)
    weight = torch.zeros_like(head.weight, dtype=rows.inputs.dtype) if head.weight.requires_grad else None
    bias = torch.zeros_like(head.bias, dtype=rows.inputs.dtype) if head.bias is not None else None
    for here, part in slices:
        weighted = part * sent[:, None].to(part.dtype)
        hidden += weighted @ rows.head.weight[here].to(weighted.dtype)
        if weight is not None:
            weight[here] = weighted.T @ rows.inputs
        if bias is not None:
            bias[here] = weighted.sum(0)
    found = [None if g is None else g.to(head.weight.dtype) for g in (weight, bias)]
    return hidden.to(head.hidden.dtype), found[0], found[1]
