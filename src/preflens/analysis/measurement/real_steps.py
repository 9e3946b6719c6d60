"""Take a real gradient step, measure the change of the log-probs, restore the weights."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from preflens.analysis.measurement.forward_passes import MicroBatches, by_pass
from preflens.gram.capture.forward import LogpForward
from preflens.objectives.kinds.base import Objective
from preflens.pair_logps import PairLogps
from preflens.types import LogpChange, PairCoefficients

PlainUpdate = list[Tensor]


def plain_update(
    module: nn.Module, forwards: Sequence[LogpForward], coefficients: Sequence[PairCoefficients]
) -> PlainUpdate:
    """Compute the update of a plain gradient step on the mean loss at learning rate 1: (1/N) Σ_i c_i ∇a_i.

    Args:
        module: the module whose parameters with `requires_grad` are differentiated. No `.grad` is touched.
        forwards: one function per micro-batch, each returning one log-prob per response, chosen responses first.
        coefficients: coefficients of the pairs of each micro-batch.

    Returns:
        One tensor per trainable parameter.
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


def objective_update(objective: Objective, passes: MicroBatches, start: PairLogps) -> PlainUpdate:
    """Compute the direction of a plain step of an objective at the present weights.

    Args:
        objective: the loss.
        passes: the update batch.
        start: its log-probs at the start of the steps, of which those under the reference still hold.

    Returns:
        One tensor per trainable parameter.
    """
    chosen, rejected = logp_values(passes.forwards())
    coefficients = objective.coefficients(replace(start, chosen=chosen, rejected=rejected))
    return plain_update(passes.model, passes.forwards(), by_pass(passes, coefficients))


def measure_change(
    module: nn.Module, forwards: Sequence[LogpForward], update: PlainUpdate, *, learning_rate: float
) -> LogpChange:
    """Measure the change of the log-probs in a real step. The weights are restored bit for bit.

    Args:
        module: the module whose trainable parameters step.
        forwards: one function per micro-batch, each returning one log-prob per response, chosen responses first.
        update: update at learning rate 1, with one tensor per trainable parameter.
        learning_rate: η.

    Returns:
        Log-probs after the step minus log-probs before it, nats, micro-batches in order.
    """
    before = logp_values(forwards)
    with stepped(module, update, learning_rate=learning_rate):
        after = logp_values(forwards)
    return LogpChange(*(after - before).unbind())


@contextmanager
def stepped(module: nn.Module, update: PlainUpdate, *, learning_rate: float) -> Iterator[None]:
    """Add η·update to the trainable parameters during the block.

    Args:
        module: the module whose trainable parameters step.
        update: one tensor per trainable parameter.
        learning_rate: η.

    Yields:
        Nothing.
    """
    with walking(module) as step:
        step(update, learning_rate)
        yield


@contextmanager
def walking(module: nn.Module) -> Iterator[Callable[[PlainUpdate, float], None]]:
    """Let the trainable parameters take steps during the block. The original tensors are restored.

    The updates are summed apart from the weights, and the sum is added to the original weights. Added to the weights
    one by one, updates below their last digit would be lost, each time in the same direction.

    Args:
        module: the module whose trainable parameters step.

    Yields:
        A function that takes one more step, given an update (one tensor per trainable parameter) and a learning rate.
    """
    original = [(p, p.data) for p in _trainable(module)]
    total: PlainUpdate = []

    def step(update: PlainUpdate, learning_rate: float) -> None:
        if total:
            torch._foreach_add_(total, update, alpha=learning_rate)
        else:
            total.extend(learning_rate * tensor for tensor in update)
        for (parameter, data), change in zip(original, total, strict=True):
            parameter.data = data + change

    try:
        yield step
    finally:
        for parameter, data in original:
            parameter.data = data


@contextmanager
def in_float32(module: nn.Module) -> Iterator[None]:
    """Compute in float32 during the block if a module is in half precision, where steps of a hundredth of a nat vanish.

    Args:
        module: the module whose float16 and bfloat16 parameters and buffers are widened. The originals are restored
            bit for bit.

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
        forwards: one function per micro-batch, each returning one log-prob per response, chosen responses first.

    Returns:
        Chosen and rejected log-probs, micro-batches in order.
    """
    return torch.cat([forward().double().cpu().reshape(2, -1) for forward in forwards], dim=1)
