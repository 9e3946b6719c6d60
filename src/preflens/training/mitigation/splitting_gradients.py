"""Sequential and virtual-point updates: gradients of the two sides, evaluated at two points near the parameters.

Parameters are restored to the last bit. The optimizer gets one gradient.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from preflens.errors import InputError
from preflens.training.trainer_protocol import optimizer_of
from preflens.types import Side

# Runs a forward and a backward pass of one side's loss, which adds to `param.grad`.
Differentiate = Callable[[Side], Tensor]
Gradient = Sequence[Tensor]


def virtual_points(
    parameters: Sequence[nn.Parameter], differentiate: Differentiate, *, reach: float
) -> tuple[Gradient, Gradient, Tensor]:
    """Evaluate each side's gradient at the point reached by half a (virtual) step of the other side.

    Args:
        parameters: trainable; restored afterwards.
        differentiate: adds g₊ (of the chosen side) or g₋ (of the negative log-likelihood of the rejected side) to
            `param.grad`, and returns the loss.
        reach: κh.

    Returns:
        q_stage = g₊(θ + κh/2 · g₋) − g₋(θ − κh/2 · g₊); the plain q = g₊ − g₋; and the loss.
    """
    chosen, loss = _gradient(parameters, differentiate, "chosen")
    rejected, rejected_loss = _gradient(parameters, differentiate, "rejected")
    with moved(parameters, rejected, reach / 2):
        staged_chosen, _ = _gradient(parameters, differentiate, "chosen")
    with moved(parameters, chosen, -reach / 2):
        staged_rejected, _ = _gradient(parameters, differentiate, "rejected")
    return _difference(staged_chosen, staged_rejected), _difference(chosen, rejected), loss + rejected_loss


def sequential(
    parameters: Sequence[nn.Parameter], differentiate: Differentiate, *, first: Side, reach: float
) -> tuple[Gradient, Tensor]:
    """Evaluate one side's gradient at the point reached by the other side's step.

    Args:
        parameters: trainable; restored afterwards.
        differentiate: as for `virtual_points`.
        first: the side that steps first.
        reach: h.

    Returns:
        (θ − θ'')/h, where θ'' is the point reached by both steps; and the loss.
    """
    second: Side = "rejected" if first == "chosen" else "chosen"
    first_gradient, first_loss = _gradient(parameters, differentiate, first)
    with moved(parameters, first_gradient, -reach if first == "chosen" else reach):
        second_gradient, second_loss = _gradient(parameters, differentiate, second)
    if first == "chosen":
        return _difference(first_gradient, second_gradient), first_loss + second_loss
    return _difference(second_gradient, first_gradient), first_loss + second_loss


def add_to_first_moment(
    optimizer: torch.optim.Optimizer, parameters: Sequence[nn.Parameter], excess: Mapping[nn.Parameter, Tensor]
) -> None:
    """Change Adam's state so that its next step has one gradient in the first moment and another in the second.

    The step makes m ← β₁ m + (1 − β₁) q. With m + (1 − β₁)/β₁ · (q_stage − q) in place of m before it, that is
    β₁ m + (1 − β₁) q_stage.

    Args:
        optimizer: Adam or AdamW of torch, without `amsgrad`.
        parameters: trainable.
        excess: q_stage − q, scaled like the gradients that the optimizer sees.

    Raises:
        InputError: the optimizer is another one, or has `amsgrad`.
    """
    inner = optimizer_of(optimizer)
    if not isinstance(inner, (torch.optim.Adam, torch.optim.AdamW)) or any(g["amsgrad"] for g in inner.param_groups):
        raise InputError(
            f"`splitting` supports torch's Adam and AdamW, and plain SGD. Found a "
            f"`{type(inner).__name__}`. Set `optim` to `adamw_torch` or `sgd`."
        )
    beta = {p: group["betas"][0] for group in inner.param_groups for p in group["params"]}
    for p in parameters:
        state = inner.state[p]
        if not state:  # as Adam itself begins
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
        state["exp_avg"].add_(excess[p], alpha=(1 - beta[p]) / beta[p])


@contextmanager
def moved(parameters: Sequence[nn.Parameter], along: Gradient, step: float) -> Iterator[None]:
    """Move parameters inside a block.

    Args:
        parameters: to move.
        along: direction of each.
        step: factor on the directions.

    Yields:
        Nothing.
    """
    originals = [p.detach().clone() for p in parameters]
    try:
        with torch.no_grad():
            for p, direction in zip(parameters, along, strict=True):
                p.add_(direction, alpha=step)
        yield
    finally:
        with torch.no_grad():
            for p, original in zip(parameters, originals, strict=True):
                p.copy_(original)


def _gradient(
    parameters: Sequence[nn.Parameter], differentiate: Differentiate, side: Side
) -> tuple[list[Tensor], Tensor]:
    for p in parameters:
        p.grad = None
    loss = differentiate(side)
    gradient = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    for p in parameters:
        p.grad = None
    return gradient, loss


def _difference(left: Gradient, right: Gradient) -> list[Tensor]:
    return [a - b for a, b in zip(left, right, strict=True)]
