"""Log-probs whose backward pass tells an observer the coefficients of the loss."""

from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from preflens.gram.factors.scored_rows import SoftmaxRows, softmax_rows
from preflens.gram.products.output_head import Scored
from preflens.gram.readers.single_pass import GramAccumulator
from preflens.types import HeadInput

HeadGradients = tuple[Tensor, Tensor | None, Tensor | None]  # of hidden rows, weight and bias


@runtime_checkable
class CoefficientReceiver(Protocol):
    """Receives the coefficients of a loss in the backward pass."""

    def on_coefficients(self, coefficients: Float[Tensor, " response"]) -> None:
        """Called with ∂L/∂a_i, before any gradient arrives at a module."""

    def through_head(self, head: HeadInput, coefficients: Float[Tensor, " response"]) -> HeadGradients:
        """Run the backward pass of a head."""


class ObservedLogps(torch.autograd.Function):
    """Identity on log-probs that reports the coefficients of the loss."""

    @staticmethod
    def forward(ctx: Any, observer: CoefficientReceiver, values: Tensor) -> Tensor:  # noqa: ANN401  # torch's
        """Return the log-probs unchanged."""
        ctx.observer = observer
        return values.detach()

    @staticmethod
    def backward(ctx: Any, coefficients: Tensor) -> tuple[None, Tensor]:  # noqa: ANN401
        """Report the coefficients and pass them on."""
        ctx.observer.on_coefficients(coefficients)
        return None, coefficients


class ObservedHeadLogps(torch.autograd.Function):
    """Log-probs of a head, whose rows the backward pass scores again."""

    @staticmethod
    def forward(ctx: Any, observer: CoefficientReceiver, head: HeadInput, *_: Tensor | None) -> Tensor:  # noqa: ANN401
        """Return the log-probs, nats."""
        ctx.observer, ctx.head = observer, head
        return softmax_rows(head).logps().to(torch.promote_types(head.hidden.dtype, torch.float32))

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401  # torch gives it no public type
        coefficients: Tensor,
    ) -> tuple[None, None, Tensor, Tensor | None, Tensor | None]:
        """Let the observer run the backward pass of the head."""
        return None, None, *ctx.observer.through_head(ctx.head, coefficients)


def head_backward(
    accumulator: GramAccumulator, head: HeadInput, coefficients: Float[Tensor, " response"], scored: Scored | None
) -> HeadGradients:
    """Compute the gradients of a weighted sum of log-probs, and accumulate the products of the head's gradients.

    Args:
        accumulator: accumulates the products.
        head: input of the head.
        coefficients: weights of the log-probs.
        scored: scored rows and the gradients of their scores, where they are known already.

    Returns:
        Gradients of hidden rows, weight and bias; None for those that need none.
    """
    wide = torch.promote_types(head.hidden.dtype, torch.float32)
    weights = coefficients.to(wide)
    weight = torch.zeros_like(head.weight, dtype=wide) if head.weight.requires_grad else None
    bias = torch.zeros_like(head.bias, dtype=wide) if head.bias is not None and head.bias.requires_grad else None

    def add(number: int, rows: SoftmaxRows, columns: slice, gradient: Tensor) -> None:  # noqa: ARG001  # any part
        weighted = gradient * weights[rows.head.response_index, None]
        if weight is not None:
            weight[columns] += weighted.T @ rows.inputs
        if bias is not None:
            bias[columns] += weighted.sum(0)

    result = accumulator.score_head_with(head, add, weights=weights, scored=scored)
    narrow = [None if g is None else g.to(head.weight.dtype) for g in (weight, bias)]
    return result.hidden_gradient, narrow[0], narrow[1]
