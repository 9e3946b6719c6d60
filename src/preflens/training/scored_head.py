"""Log-probs of head rows as an autograd function, with the statistics that TRL logs.

The forward pass keeps what the backward pass needs: the scores' gradients where they are small enough, otherwise only
normalizers, and the gradients are computed again a slice of the vocabulary at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from preflens.gram.factors.head_scores import detached, scores_of, taken
from preflens.gram.factors.scored_rows import SCORES, SoftmaxRows
from preflens.gram.training_step.deferred import DeferredGradients
from preflens.gram.training_step.observer import BackwardObserver
from preflens.training.response_coefficients import response_coefficients
from preflens.types import HeadInput


class ScoredHead(torch.autograd.Function):
    """Log-probs of rows; and entropy, mean score, and whether the target scores highest, which have no gradient."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401  # torch gives it no public type
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,  # noqa: ARG004  # as hidden
        head: HeadInput,
        observer: BackwardObserver | DeferredGradients | None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Score the rows, as many at a time as `SCORES` allows."""
        rows, step = detached(head), max(1, SCORES // len(weight))
        starts = range(0, len(rows.hidden), step)
        parts = [_score(taken(rows, slice(start, start + step)), differentiate=len(starts) == 1) for start in starts]
        normalizer, target_score, entropy, mean, top = (
            torch.cat([getattr(part, name) for part in parts]) for name in _COLUMNS
        )
        ctx.head, ctx.observer, ctx.rows = head, observer, SoftmaxRows(rows, normalizer, target_score)
        ctx.gradient = parts[0].gradient  # None where it is too large: it is computed again
        device = hidden.device.type  # in the same precision
        ctx.autocast = torch.autocast(
            device, dtype=torch.get_autocast_dtype(device), enabled=torch.is_autocast_enabled(device)
        )
        ctx.mark_non_differentiable(entropy, mean, top)
        return target_score - normalizer, entropy, mean, top

    @staticmethod
    def backward(ctx: Any, token_gradients: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        """Differentiate; where the pass is observed, through the observer, which reads off the head's gradients."""
        scored = None if ctx.gradient is None else (ctx.rows, ctx.gradient)
        response_index, count = ctx.head.response_index, ctx.head.responses
        coefficients = None if ctx.observer is None else response_coefficients(token_gradients, response_index, count)
        if coefficients is not None:
            return *ctx.observer.through_head(ctx.head, coefficients, scored), None, None
        slices = iter([(slice(0, len(ctx.head.weight)), ctx.gradient)])
        if ctx.gradient is None:
            slices = _score_gradients(ctx.rows, ctx.autocast)
        return *_head_gradients(ctx.head, token_gradients, ctx.rows, slices), None, None


def _score_gradients(rows: SoftmaxRows, autocast: Any) -> Iterator[tuple[slice, Tensor]]:  # noqa: ANN401  # torch.autocast
    """Gradients of the scores, in the precision of the forward pass, a slice of the vocabulary at a time."""
    slices = rows.gradients()
    while True:
        with autocast:
            part = next(slices, None)
        if part is None:
            return
        yield part


_COLUMNS = ("normalizer", "target_score", "entropy", "mean", "top")


@dataclass(frozen=True, kw_only=True)
class _Scored:
    """Scores of rows.

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
        return _Scored(
            normalizer=normalizer, target_score=target_score, entropy=entropy, mean=mean, top=top, gradient=None
        )
    gradient = probs.neg_().scatter_add_(1, targets, probs.new_ones(targets.shape))
    return _Scored(
        normalizer=normalizer,
        target_score=target_score,
        entropy=entropy,
        mean=mean,
        top=top,
        gradient=gradient if slope is None else gradient.mul_(slope),
    )


def _head_gradients(
    head: HeadInput,
    token_gradients: Float[Tensor, " scored_token"],
    rows: SoftmaxRows,
    slices: Iterator[tuple[slice, Tensor]],
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Gradients with respect to hidden rows, weight and bias; None for frozen ones."""
    hidden = torch.zeros_like(rows.inputs)
    weight = torch.zeros_like(head.weight, dtype=rows.inputs.dtype) if head.weight.requires_grad else None
    bias = torch.zeros_like(head.bias, dtype=rows.inputs.dtype) if head.bias is not None else None
    for tokens, part in slices:
        weighted = part * token_gradients[:, None].to(part.dtype)
        hidden += weighted @ rows.head.weight[tokens].to(weighted.dtype)
        if weight is not None:
            weight[tokens] = weighted.T @ rows.inputs
        if bias is not None:
            bias[tokens] = weighted.sum(0)
    weight_gradient, bias_gradient = (None if g is None else g.to(head.weight.dtype) for g in (weight, bias))
    return hidden.to(head.hidden.dtype), weight_gradient, bias_gradient
