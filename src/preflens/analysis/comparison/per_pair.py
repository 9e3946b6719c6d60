"""Predict the change of every held-out pair under every objective, by the cheaper of two exact ways.

Stacked directions: sum one update direction per objective over the training pairs and take its inner product with each
held-out gradient. Cross-Gram: keep the held-out gradients and take their inner products with the training gradients.
What does not fit into memory is done in blocks, with one more sweep over the other side per block.
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float64
from torch import Tensor

from preflens.analysis.comparison.held_out import products_along
from preflens.analysis.measurement.forward_passes import MicroBatches
from preflens.analysis.measurement.real_steps import PlainUpdate
from preflens.gram.capture.forward import ForwardOutput
from preflens.response_order import chosen_first

PerPairChange = Float64[Tensor, "objective two held_out"]


def per_pair_changes(
    training: Sequence[MicroBatches],
    held_out: MicroBatches,
    signed: Float64[Tensor, "objective two pair"],
    *,
    fit: int,
) -> PerPairChange:
    """Predict the changes of all held-out log-probs in one step on the mean loss of all training pairs.

    Args:
        training: the update batches, their pairs in the order of `signed`.
        held_out: the held-out pairs.
        signed: c = (d_w, −d_l) of each objective.
        fit: number of tensors of the size of all trainable parameters that may be held at a time.

    Returns:
        Changes at learning rate 1, nats, held-out pairs in the order of the passes.
    """
    method = stacked_directions if len(signed) <= 2 * sum(map(len, held_out.pairs)) else cross_gram
    return method(training, held_out, signed, fit=fit)


def describe_strategy(objectives: int, pairs: int) -> str:
    """Describe the way that `per_pair_changes` takes.

    Args:
        objectives: number of objectives.
        pairs: number of held-out pairs.

    Returns:
        A phrase for the record.
    """
    if objectives <= 2 * pairs:
        return f"{objectives} directions added up over the training pairs"
    return f"cross-Gram with {2 * pairs} held-out gradients"


def stacked_directions(
    training: Sequence[MicroBatches], held_out: MicroBatches, signed: Float64[Tensor, "objective two pair"], *, fit: int
) -> PerPairChange:
    """Sum U_k = (1/N) Σ_i c_i^k ∇a_i over the training pairs and take its inner products with the held-out gradients.

    Args:
        training: the update batches.
        held_out: the held-out pairs.
        signed: c of each objective.
        fit: number of directions that may be held at a time.

    Returns:
        Changes at learning rate 1, nats.
    """
    blocks = [products_along(held_out, _directions(training, block)) for block in signed.split(fit)]
    return torch.cat(blocks)


def cross_gram(
    training: Sequence[MicroBatches], held_out: MicroBatches, signed: Float64[Tensor, "objective two pair"], *, fit: int
) -> PerPairChange:
    """Take the inner products of held-out and training gradients and weight them with the coefficients.

    Args:
        training: the update batches.
        held_out: the held-out pairs.
        signed: c of each objective.
        fit: number of gradients that may be held at a time.

    Returns:
        Changes at learning rate 1, nats.
    """
    parts = []
    for block in _blocks(_gradients(held_out), fit):
        cross = torch.cat([products_along(passes, block) for passes in training], dim=2)  # [held out, two, pair]
        parts.append(torch.einsum("ksp,jsp->kj", signed, cross) / signed.shape[2])
    order = chosen_first([2 * len(part) for part in held_out.pairs])
    return torch.cat(parts, dim=1)[:, order].reshape(len(signed), 2, -1)


def _directions(training: Sequence[MicroBatches], signed: Float64[Tensor, "objective two pair"]) -> list[PlainUpdate]:
    model = training[0].model
    parameters = [p for p in model.parameters() if p.requires_grad]
    sums = [
        [torch.zeros_like(p, dtype=torch.promote_types(p.dtype, torch.float32)) for p in parameters] for _ in signed
    ]
    forwards = [f for passes in training for f in passes.forwards_to_head()]
    lengths = [len(part) for passes in training for part in passes.pairs]
    for forward, coefficients in zip(forwards, signed.split(lengths, dim=2), strict=True):
        with torch.enable_grad():
            values = ForwardOutput(forward()).logps()
        for number, (total, c) in enumerate(zip(sums, coefficients, strict=True)):
            weights = (c.flatten() / signed.shape[2]).to(values)
            gradients = torch.autograd.grad(values, parameters, weights, retain_graph=number + 1 < len(sums),
                                            materialize_grads=True)  # fmt: skip
            torch._foreach_add_(total, [g.to(t.dtype) for g, t in zip(gradients, total, strict=True)])
    return sums


def _gradients(passes: MicroBatches) -> Iterator[PlainUpdate]:
    """The gradient of every response, pass by pass."""
    parameters = [p for p in passes.model.parameters() if p.requires_grad]
    for forward in passes.forwards_to_head():
        with torch.enable_grad():
            values = ForwardOutput(forward()).logps()
        for response in range(len(values)):
            more = response + 1 < len(values)
            yield list(torch.autograd.grad(values[response], parameters, retain_graph=more, materialize_grads=True))


def _blocks(updates: Iterator[PlainUpdate], size: int) -> Iterator[list[PlainUpdate]]:
    block: list[PlainUpdate] = []
    for update in updates:
        block.append(update)
        if len(block) == size:
            yield block
            block = []
    if block:
        yield block
