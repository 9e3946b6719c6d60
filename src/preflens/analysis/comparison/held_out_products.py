"""What every update batch does to every held-out response, in as few sweeps over the parameters as memory allows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from preflens.analysis.comparison.cross_products import CrossProducts, cross_products
from preflens.analysis.comparison.model_queries import ModelQueries
from preflens.analysis.measurement.forward_passes import MicroBatches
from preflens.analysis.measurement.progress import progress_bar
from preflens.analysis.measurement.sealed_arrays import digest
from preflens.analysis.measurement.update_batches import longest_first
from preflens.gram.readers.stored_gradients import PerResponseGradients, per_response_gradients
from preflens.language_models.tokenizing import TokenizedPair
from preflens.optimizers.first_update import FirstUpdate
from preflens.response_order import chosen_first

Batch = Sequence[TokenizedPair]


@dataclass(frozen=True, kw_only=True)
class OptimizerQuestion:
    """What the optimizer is asked in every update batch.

    Attributes:
        weights: of each batch, the weights of its responses in each different gradient, clipped; chosen responses
            first.
        update: simulates the optimizer; None for inner products of gradients only.
        name: tells other settings and states of the optimizer apart, among finished parts on disk.
    """

    weights: Sequence[Float64[Tensor, "_direction _response"]]
    update: FirstUpdate | None
    name: str


def held_out_products(
    queries: ModelQueries, batches: Sequence[Batch], held_out: Sequence[TokenizedPair], question: OptimizerQuestion
) -> list[CrossProducts]:
    """Multiply every update batch's gradients, and updates made of them, with every held-out gradient.

    Args:
        queries: how the model is asked.
        batches: the training pairs of each update batch.
        held_out: the held-out pairs.
        question: what the optimizer is asked.

    Returns:
        One entry per update batch; rows and columns in the order of the pairs, chosen responses first.
    """
    (order,) = longest_first([range(len(held_out))], held_out)
    ordered = queries.passes([held_out[i] for i in order])
    back = torch.tensor(order).argsort()
    columns = torch.cat([back, back + len(order)])
    token = _bytes_per_token(queries, held_out[order[0]])
    parts = []
    with progress_bar("Held-out pairs", total=sum(map(len, batches)), shown=queries.progress) as advance:
        for numbers in _groups(batches, fits=queries.memory / 2 / token):
            parts += _group(queries, batches, numbers, ordered, question, fits=queries.memory / 2)
            advance(sum(len(batches[number]) for number in numbers))
    return [CrossProducts(part.plain[:, columns], part.updates[:, columns], part.decay[:, columns]) for part in parts]


def _group(
    queries: ModelQueries,
    batches: Sequence[Batch],
    numbers: Sequence[int],
    held_out: MicroBatches,
    question: OptimizerQuestion,
    *,
    fits: float,
) -> list[CrossProducts]:
    """Update batches whose gradients are kept at the same time."""
    weights = [question.weights[number] for number in numbers]
    rows = [2 * len(batches[number]) + 2 * len(w) for number, w in zip(numbers, weights, strict=True)]
    responses = 2 * sum(map(len, held_out.pairs))

    def find() -> Float64[Tensor, "row held_out"]:
        training = [queries.passes(batches[number]) for number in numbers]
        orders = [chosen_first([2 * len(part) for part in passes.pairs]) for passes in training]
        kept = [[*_kept(passes)] for passes in training]
        in_passes = [w[:, order.argsort()] for w, order in zip(weights, orders, strict=True)]
        blocks = [
            cross_products(kept, block, in_passes, question.update) for block in _blocks(_kept(held_out), fits=fits)
        ]
        columns = chosen_first([2 * len(part) for part in held_out.pairs])
        return torch.cat([
            torch.cat([
                torch.cat([p.plain for p in of_batch], dim=1)[order],
                torch.cat([p.updates for p in of_batch], dim=1),
                torch.cat([p.decay for p in of_batch], dim=1),
            ])[:, columns]
            for of_batch, order in zip(zip(*blocks, strict=True), orders, strict=True)
        ])  # fmt: skip

    key = digest(b"".join(w.contiguous().numpy().tobytes() for w in weights) + question.name.encode())
    values = queries.checkpoint.values(f"held-out-{numbers[0]:06}-{key}", (sum(rows), responses), find)
    found = []
    for number, w, part in zip(numbers, weights, values.split(rows), strict=True):
        found.append(CrossProducts(*part.split([2 * len(batches[number]), len(w), len(w)])))
    return found


def _kept(passes: MicroBatches) -> Iterator[PerResponseGradients]:
    for forward in passes.forwards_to_head():
        yield per_response_gradients(passes.model, forward)


def _blocks(kept: Iterator[PerResponseGradients], *, fits: float) -> Iterator[list[PerResponseGradients]]:
    block: list[PerResponseGradients] = []
    for each in kept:
        if block and sum(k.bytes for k in block) + each.bytes > fits:
            yield block
            block = []
        block.append(each)
    yield block


def _groups(batches: Sequence[Batch], *, fits: float) -> Iterator[list[int]]:
    """Numbers of update batches that fit together, by their tokens; one at least."""
    group: list[int] = []
    taken = 0
    for number, batch in enumerate(batches):
        tokens = sum(2 * pair.longest for pair in batch)
        if group and taken + tokens > fits:
            yield group
            group, taken = [], 0
        group.append(number)
        taken += tokens
    yield group


def _bytes_per_token(queries: ModelQueries, pair: TokenizedPair) -> float:
    (kept,) = _kept(queries.passes([pair]))
    return max(1.0, kept.bytes / (2 * pair.longest))
