"""Inner products of per-response gradients, kept as factors, with updates of their parameters.

Gradients meet updates a few rows of a parameter at a time: the gradient of that part is formed, for all responses, and
multiplied with all directions. What is formed, and what has to be known of an update, stays small enough for a cache.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from types import EllipsisType

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from preflens.gram.factors.factors import EmbeddingRows, Factor, Materialized, OnDemand, OuterProductSum
from preflens.gram.factors.layout import Layout
from preflens.gram.factors.scored_rows import SoftmaxRows
from preflens.gram.products.within_pairs import PIECE, Products, flat_pairs

ParameterUpdate = Sequence[Tensor]  # one tensor a parameter
Changes = Float64[Tensor, "update response"]
RowSlice = slice | EllipsisType  # of a parameter: entries of its first axis, or all there is

# Entries of a formed block of gradients.
_BLOCK = 1 << 20
# Entries of a parameter that are worked on together.
_PART = 1 << 19


def parts_of(parameter: Tensor) -> Iterator[RowSlice]:
    """Cut a parameter along its first axis.

    Args:
        parameter: of any shape.

    Yields:
        Its rows, some at a time; together all of them, once.
    """
    if parameter.numel() <= _PART:
        yield ...
        return
    step = max(1, _PART * len(parameter) // parameter.numel())
    for start in range(0, len(parameter), step):
        yield slice(start, min(start + step, len(parameter)))


def inner_products_with_updates(factor: Factor, updates: Sequence[ParameterUpdate]) -> Changes:
    """Multiply the gradients of some parameters with updates of them.

    Args:
        factor: the gradients.
        updates: of each direction, one tensor a parameter.

    Returns:
        One row an update.
    """
    if isinstance(factor, OuterProductSum) and len(updates) == 1:
        return _moved(factor, updates[0])
    if isinstance(factor, OnDemand):
        flat = torch.stack([torch.cat([u.flatten() for u in update]).double() for update in updates])
        return torch.stack([flat @ factor.gradient(i).double() for i in range(factor.responses)], 1)
    parts, offset = [], 0
    for of_one in zip(*updates, strict=True):
        parts += [
            partial_inner_products(factor, rows, [u[rows] for u in of_one], offset=offset)
            for rows in parts_of(of_one[0])
        ]
        offset += of_one[0].numel()
    return torch.stack(parts).sum(0)


def partial_inner_products(
    factor: OuterProductSum | EmbeddingRows | Materialized,
    rows: RowSlice,
    updates: Sequence[Tensor],
    *,
    offset: int,
    products: Products | None = None,
) -> Changes:
    """Multiply the gradients of a part of one parameter with updates of that part.

    Args:
        factor: the gradients of parameters that belong together (weight, or weight and bias).
        rows: the part.
        updates: of each direction, for that part.
        offset: how many numbers the parameters before this one have: 0 for a weight, more for the bias beside it.
        products: within pairs, of outer products; what this part gives is added, at little cost while it is there.

    Returns:
        One row an update.
    """
    start = 0 if isinstance(rows, EllipsisType) else rows.start
    if isinstance(factor, Materialized):
        wide = updates[0][0].numel() if isinstance(rows, slice) else 0  # numbers in a row
        here = slice(offset + start * wide, offset + start * wide + updates[0].numel())
        return torch.stack([u.flatten() for u in updates]).double() @ factor.values[:, here].double().T
    if isinstance(factor, EmbeddingRows):
        return _lookup_along(factor, start, updates)
    if offset:
        return _inner_products(factor.grads.sum(1)[:, rows].double(), updates, products)
    return _formed_along(factor, rows, updates, products)


def sliced_inner_products(
    rows: SoftmaxRows, gradient: Float[Tensor, "row some_vocab"], updates: Sequence[Sequence[Tensor | None]]
) -> Changes:
    """Multiply a slice of the gradients of a head's weight and bias with updates of it: Σ_t u_t·(U h_t + v).

    Args:
        rows: scored rows.
        gradient: u at a slice of the vocabulary.
        updates: of each direction, for weight and bias there; None for what does not move.

    Returns:
        One row an update.
    """
    total = torch.zeros(len(updates), rows.head.responses, dtype=torch.float64, device=gradient.device)
    for k, (weight, bias) in enumerate(updates):
        by_row = torch.zeros(len(gradient), dtype=torch.float64, device=gradient.device)
        if weight is not None:
            by_row += (rows.inputs @ weight.to(rows.inputs).T).mul_(gradient).sum(1)  # as large as all scores: in place
        if bias is not None:
            by_row += gradient @ bias.to(gradient)
        total[k].index_add_(0, rows.head.response_index, by_row)
    return total


def formed_sliced_inner_products(
    rows: SoftmaxRows, gradient: Float[Tensor, "row some_vocab"], updates: Sequence[Tensor]
) -> Changes:
    """Do the same for the weight by forming its gradients there: for two directions and more.

    Args:
        rows: scored rows.
        gradient: u at a slice of the vocabulary.
        updates: of each direction, for the weight there.

    Returns:
        One row an update.
    """
    inputs, bounds = rows.inputs, list(pairwise(rows.bounds))
    formed = inputs.new_empty(len(bounds), gradient.shape[1], inputs.shape[1])
    for (start, end), block in zip(bounds, formed, strict=True):
        torch.mm(gradient[start:end].T, inputs[start:end], out=block)
    return _inner_products(formed.flatten(1), updates, None)


def _inner_products(gradients: Tensor, updates: Sequence[Tensor], products: Products | None) -> Changes:
    """Multiply gradients that are there, flattened, with updates of the same numbers."""
    total = torch.zeros(len(updates), len(gradients), dtype=torch.float64, device=gradients.device)
    flat = [update.to(gradients).flatten() for update in updates]
    for start in range(0, gradients.shape[1], PIECE):
        piece = gradients[:, start : start + PIECE]
        # A direction at a time: a product of two matrices as thin as this takes longer.
        total += torch.stack([piece.mv(update[start : start + PIECE]) for update in flat])
        if products is not None:
            products += flat_pairs(Materialized(piece), Layout(len(piece)))
    return total


def _moved(factor: OuterProductSum, update: ParameterUpdate) -> Changes:
    """Σ_t d_t·(U x_t): one product of the size of a forward pass."""
    weight = update[0].to(factor.inputs)
    moved = factor.inputs @ (weight if factor.input_first else weight.T)
    if factor.with_bias:
        moved += update[1].to(moved)
    return moved.mul_(factor.grads).sum((1, 2)).double()[None]


def _formed_along(
    factor: OuterProductSum, rows: RowSlice, updates: Sequence[Tensor], products: Products | None
) -> Changes:
    """Form the gradients of some rows, and meet all updates with them."""
    one, other = (factor.inputs, factor.grads) if factor.input_first else (factor.grads, factor.inputs)
    one = one[:, :, rows]
    total = torch.zeros(len(updates), len(one), dtype=torch.float64, device=one.device)
    step = max(1, _BLOCK // (len(other) * other.shape[2]))
    for start in range(0, one.shape[2], step):
        here = slice(start, start + step)
        block = torch.bmm(one[:, :, here].mT, other).flatten(1)
        total += _inner_products(block, [u[here] for u in updates], products)
    return total


def _lookup_along(factor: EmbeddingRows, start: int, updates: Sequence[Tensor]) -> Changes:
    """Only rows that take one of these entries meet the updates."""
    responses, places = ((factor.ids >= start) & (factor.ids < start + len(updates[0]))).nonzero(as_tuple=True)
    ids, grads = factor.ids[responses, places] - start, factor.grads[responses, places]
    total = torch.zeros(len(updates), len(factor.ids), dtype=torch.float64, device=grads.device)
    for k, update in enumerate(updates):
        total[k].index_add_(0, responses, (update[ids].to(grads) * grads).sum(1).double())
    return total
