"""Take a step, look again, put the weights back: the judge of every forecast."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from preflens.gram.capture.forward import LogpForward
from preflens.types import LogpChange, PairCoefficients

PlainUpdate = list[Tensor]


def plain_update(
    module: nn.Module, forwards: Sequence[LogpForward], coefficients: Sequence[PairCoefficients]
) -> PlainUpdate:
    """Compute the direction of a plain gradient step on the mean loss: (1/N) Σ_i c_i ∇a_i.

    Args:
        module: its parameters with `requires_grad` are differentiated; `param.grad` is not touched.
        forwards: one a micro-batch; each returns a number per response, chosen responses first.
        coefficients: of the pairs of each micro-batch.

    Returns:
        One tensor a trainable parameter.
    """
    parameters = _trainable(module)
    pairs = sum(len(c.chosen) for c in coefficients)
    update = [torch.zeros_like(p) for p in parameters]
    for forward, c in zip(forwards, coefficients, strict=True):
        with torch.enable_grad():
            values = forward()
        objective = values @ c.signed().to(values) / pairs
        torch._foreach_add_(update, torch.autograd.grad(objective, parameters, materialize_grads=True))
    return update


def measure_change(
    module: nn.Module, forwards: Sequence[LogpForward], update: PlainUpdate, *, learning_rate: float
) -> LogpChange:
    """Measure what a step really does to the log-probs; the weights are back afterwards, bit for bit.

    Args:
        module: whose trainable parameters step.
        forwards: one a micro-batch; each returns a number per response, chosen responses first.
        update: direction of the step, one tensor a trainable parameter.
        learning_rate: η.

    Returns:
        Log-probs after the step less log-probs before, nats; micro-batches in order.
    """
    before = logp_values(forwards)
    with stepped(module, update, learning_rate=learning_rate):
        after = logp_values(forwards)
    return LogpChange(*(after - before).unbind())


@contextmanager
def stepped(module: nn.Module, update: PlainUpdate, *, learning_rate: float) -> Iterator[None]:
    """Move the trainable parameters by η·update for a while.

    Args:
        module: whose parameters move.
        update: one tensor a trainable parameter.
        learning_rate: η.

    Yields:
        Nothing.
    """
    with walking(module) as step:
        step(update, learning_rate)
        yield


@contextmanager
def walking(module: nn.Module) -> Iterator[Callable[[PlainUpdate, float], None]]:
    """Let the trainable parameters take steps for a while; the original tensors come back.

    The steps are added up apart from the weights, which are where they were plus the sum: added to the weights one by
    one, steps below their last digit would be lost, each time in the same direction.

    Args:
        module: whose parameters move.

    Yields:
        Takes one more step: of an update, one tensor a trainable parameter, times a learning rate.
    """
    kept = [(p, p.data) for p in _trainable(module)]
    total: PlainUpdate = []

    def step(update: PlainUpdate, learning_rate: float) -> None:
        if total:
            torch._foreach_add_(total, update, alpha=learning_rate)
        else:
            total.extend(learning_rate * direction for direction in update)
        for (parameter, data), moved in zip(kept, total, strict=True):
            parameter.data = data + moved

    try:
        yield step
    finally:
        for parameter, data in kept:
            parameter.data = data


@contextmanager
def in_float32(module: nn.Module) -> Iterator[None]:
    """Compute in float32 for a while where a module is in half precision, whose steps of a hundredth of a nat vanish.

    Args:
        module: parameters and buffers in float16 or bfloat16 are widened; the narrow ones come back bit for bit.

    Yields:
        Nothing.
    """
    narrow = [
        (tensor, tensor.data)
        for tensor in (*module.parameters(), *module.buffers())
        if tensor.dtype in {torch.float16, torch.bfloat16}
    ]
    try:
        for tensor, data in narrow:
            tensor.data = data.float()
        yield
    finally:
        for tensor, data in narrow:
            tensor.data = data


def _trainable(module: nn.Module) -> list[nn.Parameter]:
    return [p for p in module.parameters() if p.requires_grad]


@torch.no_grad()
def logp_values(forwards: Sequence[LogpForward]) -> Float64[Tensor, "two pair"]:
    """Compute log-probs, nats.

    Args:
        forwards: one a micro-batch; each returns a number per response, chosen responses first.

    Returns:
        Chosen and rejected log-probs; micro-batches in order.
    """
    return torch.cat([forward().double().cpu().reshape(2, -1) for forward in forwards], dim=1)
