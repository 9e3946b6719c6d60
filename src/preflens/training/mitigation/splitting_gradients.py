"""Sequential and virtual-point updates: gradients of the two sides, taken at two points near the parameters.

Parameters are moved and put back bit for bit; what the optimizer gets is one gradient.
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
    """Differentiate each side at a point half a (virtual) step of the other one away.

    Args:
        parameters: that are trained; where they were afterwards.
        differentiate: brings g₊ (of the chosen) and g₋ (of the rejected answers' negative log-likelihood).
        reach: κh.

    Returns:
        q_stage = g₊(θ + κh/2 · g₋) − g₋(θ − κh/2 · g₊); the plain q = g₊ − g₋; and the loss.
    """
    chosen, loss = _gradient(parameters, differentiate, "chosen")
    rejected, other = _gradient(parameters, differentiate, "rejected")
    with moved(parameters, rejected, reach / 2):
        staged_chosen, _ = _gradient(parameters, differentiate, "chosen")
    with moved(parameters, chosen, -reach / 2):
        staged_rejected, _ = _gradient(parameters, differentiate, "rejected")
    return _difference(staged_chosen, staged_rejected), _difference(chosen, rejected), loss + other


def sequential(
    parameters: Sequence[nn.Parameter], differentiate: Differentiate, *, first: Side, reach: float
) -> tuple[Gradient, Tensor]:
    """Take one side's step, and differentiate the other side there.

    Args:
        parameters: that are trained; where they were afterwards.
        differentiate: as for `virtual_points`.
        first: whose step is taken first.
        reach: h.

    Returns:
        (θ − θ'')/h, θ'' where the two steps lead; and the loss.
    """
    second: Side = "rejected" if first == "chosen" else "chosen"
    here, loss = _gradient(parameters, differentiate, first)
    with moved(parameters, here, -reach if first == "chosen" else reach):
        there, other = _gradient(parameters, differentiate, second)
    return (_difference(here, there) if first == "chosen" else _difference(there, here)), loss + other


def add_to_first_moment(
    optimizer: torch.optim.Optimizer, parameters: Sequence[nn.Parameter], excess: Mapping[nn.Parameter, Tensor]
) -> None:
    """Prepare Adam's state so that its next step has another gradient in the first moment than in the second.

    The step makes m ← β₁ m + (1 − β₁) q. With m + (1 − β₁)/β₁ · (q_stage − q) in the place of m before it, that is
    β₁ m + (1 − β₁) q_stage.

    Args:
        optimizer: Adam or AdamW of torch, without `amsgrad`.
        parameters: that are trained.
        excess: q_stage − q, scaled like the gradients that the optimizer sees.

    Raises:
        InputError: the optimizer keeps its moments otherwise.
    """
    inner = optimizer_of(optimizer)
    if not isinstance(inner, (torch.optim.Adam, torch.optim.AdamW)) or any(g["amsgrad"] for g in inner.param_groups):
        raise InputError(
            f"`splitting` knows the moments of torch's Adam and AdamW, and plain SGD. Found a "
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
    """Move parameters for a while.

    Args:
        parameters: which.
        along: direction of each.
        step: how far.

    Yields:
        Nothing.
    """
    kept = [p.detach().clone() for p in parameters]
    try:
        with torch.no_grad():
            for p, direction in zip(parameters, along, strict=True):
                p.add_(direction, alpha=step)
        yield
    finally:
        with torch.no_grad():
            for p, before in zip(parameters, kept, strict=True):
                p.copy_(before)


def _gradient(
    parameters: Sequence[nn.Parameter], differentiate: Differentiate, side: Side
) -> tuple[list[Tensor], Tensor]:
    for p in parameters:
        p.grad = None
    loss = differentiate(side)
    found = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    for p in parameters:
        p.grad = None
    return found, loss


def _difference(one: Gradient, other: Gradient) -> list[Tensor]:
    return [a - b for a, b in zip(one, other, strict=True)]
