"""What training pairs do to every single held-out response: plainly, and through an optimizer's next update."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from preflens.gram.products.along_updates import RowSlice
from preflens.gram.readers.formed_gradients import gradient_parts
from preflens.gram.readers.stored_gradients import PerResponseGradients
from preflens.optimizers.first_update import FirstUpdate

# Float32 sums over more numbers than this lose digits.
_PIECE = 1 << 16


@dataclass(frozen=True)
class CrossProducts:
    """Inner products of one update batch with held-out gradients.

    Attributes:
        plain: ⟨g_i, g_h⟩ of every response of the batch with every held-out response; a plain step on any weighted sum
            of the batch's gradients changes held-out log-prob h by the same weighted sum of column h.
        updates: ⟨u_k, g_h⟩ of the optimizer's update for each gradient, weight decay apart.
        decay: the same of what weight decay adds; zero without it.
    """

    plain: Float64[Tensor, "_response held_out"]
    updates: Float64[Tensor, "_direction held_out"]
    decay: Float64[Tensor, "_direction held_out"]


def cross_products(
    batches: Sequence[Sequence[PerResponseGradients]],
    held_out: Sequence[PerResponseGradients],
    weights: Sequence[Float64[Tensor, "_direction _response"]],
    update: FirstUpdate | None,
) -> list[CrossProducts]:
    """Multiply the gradients of update batches, and what an optimizer makes of their sums, with held-out gradients.

    For each row w of a batch's weights the optimizer gets −Σ_i w_i g_i as the gradient of the loss. Gradients are
    formed some rows of a parameter at a time, for all responses of all batches, so held-out ones once; no update of
    the size of the model exists.

    Args:
        batches: per-response gradients of each update batch, one entry per pass.
        held_out: of held-out responses, at the same parameters.
        weights: of each batch, what its losses send back to each of its responses, clipped; in the order of its passes.
        update: the optimizer's; None for plain products only.

    Returns:
        The products of each batch; responses in the order of the passes.
    """
    counts = [sum(len(kept.logps) for kept in batch) for batch in batches]
    held_out_count = sum(len(kept.logps) for kept in held_out)
    device = held_out[0].logps.device
    results = [
        CrossProducts(*(_zeros(rows, held_out_count, device) for rows in (count, len(w), len(w))))
        for count, w in zip(counts, weights, strict=True)
    ]
    whole = update is not None and not update.by_entry
    passes = [kept for batch in batches for kept in batch]
    for parameter, rows, parts in gradient_parts([*passes, *held_out], whole=whole):
        other = torch.cat(parts[len(passes) :])
        own = torch.cat(parts[: len(passes)]).split(counts)
        for gradients, w, result in zip(own, weights, results, strict=True):
            result.plain.add_(_product(gradients, other))
            if update is not None and len(w):
                _add_update(result, other, -(w.to(gradients) @ gradients), update, parameter, rows)
    return [CrossProducts(r.plain.cpu(), r.updates.cpu(), r.decay.cpu()) for r in results]


def _add_update(
    result: CrossProducts,
    held_out: Float[Tensor, "held_out numel"],
    gradients: Float[Tensor, "direction numel"],
    update: FirstUpdate,
    parameter: nn.Parameter,
    rows: RowSlice,
) -> None:
    """Step on a part of a parameter, and multiply the step with the held-out gradients there."""
    shaped = gradients.reshape(len(gradients), *parameter[rows].shape)
    result.updates.add_(_product(update.of(parameter, rows, shaped).flatten(1), held_out))
    decayed = update.decay(parameter, rows, shaped)
    if decayed is not None:
        result.decay.add_(_product(decayed.flatten(1), held_out))


def _zeros(rows: int, columns: int, device: torch.device) -> Float64[Tensor, "rows columns"]:
    return torch.zeros(rows, columns, dtype=torch.float64, device=device)


def _product(one: Float[Tensor, "a numel"], other: Float[Tensor, "b numel"]) -> Float64[Tensor, "a b"]:
    total = torch.zeros(len(one), len(other), dtype=torch.float64, device=one.device)
    for start in range(0, one.shape[1], _PIECE):
        here = slice(start, start + _PIECE)
        total += one[:, here] @ other[:, here].to(one).T
    return total
