"""Inner products of per-response gradients, stored as factors, with updates of their parameters.

Inner products of gradients and updates are computed for a few rows of a parameter at a time: the gradient of these rows
is formed for all responses and multiplied with all updates. The formed gradient, and the part of an update that has to
be known, stay small enough for a cache.
"""

from collections.abc import Iterator, Sequence
from types import EllipsisType

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from preflens.gram.factors.factors import EmbeddingRows, Factor, Materialized, OnDemand, OuterProductSum
from preflens.gram.factors.layout import Layout
from preflens.gram.factors.scored_rows import SoftmaxRows
from preflens.gram.products.within_pairs import PIECE, PairProducts, flat_pairs

ParameterUpdate = Sequence[Tensor]  # one tensor per parameter
Changes = Float64[Tensor, "update response"]
RowSlice = slice | EllipsisType  # rows of a parameter: entries of its first axis, or the whole parameter

# Entries of a formed block of gradients.
_BLOCK = 1 << 20
# Entries of a parameter that are worked on together.
_PART = 1 << 19


def parts_of(parameter: Tensor, *, entries: int | None = None) -> Iterator[RowSlice]:
    """Cut a parameter along its first axis.

    Args:
        parameter: of any shape.
        entries: numbers of a part, about; None for what a cache holds.

    Yields:
        Slices that together cover all rows once.
    """
    size = _PART if entries is None else max(1, entries)
    if parameter.numel() <= size:
        yield ...
        return
    step = max(1, size * len(parameter) // parameter.numel())
    for start in range(0, len(parameter), step):
        yield slice(start, min(start + step, len(parameter)))


def inner_products_with_updates(factor: Factor, updates: Sequence[ParameterUpdate]) -> Changes:
    """Multiply the gradients of some parameters with updates of them.

    Args:
        factor: the gradients.
        updates: each with one tensor per parameter.

    Returns:
        One row per update.
    """
    if isinstance(factor, OuterProductSum) and len(updates) == 1:
        return _single_update(factor, updates[0])
    if isinstance(factor, OnDemand):
        flat = torch.stack([torch.cat([u.flatten() for u in update]).double() for update in updates])
        return torch.stack([flat @ factor.gradient(i).double() for i in range(factor.responses)], 1)
    parts, offset = [], 0
    for of_parameter in zip(*updates, strict=True):
        parts += [
            partial_inner_products(factor, rows, [u[rows] for u in of_parameter], offset=offset)
            for rows in parts_of(of_parameter[0])
        ]
        offset += of_parameter[0].numel()
    return torch.stack(parts).sum(0)


def partial_inner_products(
    factor: OuterProductSum | EmbeddingRows | Materialized,
    rows: RowSlice,
    updates: Sequence[Tensor],
    *,
    offset: int,
    products: PairProducts | None = None,
) -> Changes:
    """Multiply the gradients of some rows of one parameter with updates of these rows.

    Args:
        factor: the gradients of parameters that are kept together (weight, or weight and bias).
        rows: the rows.
        updates: of these rows, one tensor per update.
        offset: number of entries of the parameters before this one: 0 for a weight, more for the bias after it.
        products: within pairs, for outer products. The contribution of these rows is added, at little extra cost.

    Returns:
        One row per update.
    """
    start = 0 if isinstance(rows, EllipsisType) else rows.start
    if isinstance(factor, Materialized):
        width = updates[0][0].numel() if isinstance(rows, slice) else 0  # entries in a row
        entries = slice(offset + start * width, offset + start * width + updates[0].numel())
        return torch.stack([u.flatten() for u in updates]).double() @ factor.values[:, entries].double().T
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
        updates: of that slice of weight and bias; None for a parameter that is not updated.

    Returns:
        One row per update.
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
    """Compute `sliced_inner_products` for the weight by forming its gradients; cheaper for two updates and more.

    Args:
        rows: scored rows.
        gradient: u at a slice of the vocabulary.
        updates: of that slice of the weight.

    Returns:
        One row per update.
    """
    return _inner_products(rows.formed(gradient), updates, None)


def _inner_products(gradients: Tensor, updates: Sequence[Tensor], products: PairProducts | None) -> Changes:
    """Multiply formed gradients, flattened, with updates of the same entries."""
    total = torch.zeros(len(updates), len(gradients), dtype=torch.float64, device=gradients.device)
    flat = [update.to(gradients).flatten() for update in updates]
    for start in range(0, gradients.shape[1], PIECE):
        piece = gradients[:, start : start + PIECE]
        # One update at a time: a product of two matrices as thin as this takes longer.
        total += torch.stack([piece.mv(update[start : start + PIECE]) for update in flat])
        if products is not None:
            products += flat_pairs(Materialized(piece), Layout(len(piece)))
    return total


def _single_update(factor: OuterProductSum, update: ParameterUpdate) -> Changes:
    """Σ_t d_t·(U x_t): one product of the size of a forward pass."""
    weight = update[0].to(factor.inputs)
    outputs = factor.inputs @ (weight if factor.input_first else weight.T)
    if factor.with_bias:
        outputs += update[1].to(outputs)
    return outputs.mul_(factor.grads).sum((1, 2)).double()[None]


def _formed_along(
    factor: OuterProductSum, rows: RowSlice, updates: Sequence[Tensor], products: PairProducts | None
) -> Changes:
    """Form the gradients of some rows, and multiply them with all updates."""
    left, right = (factor.inputs, factor.grads) if factor.input_first else (factor.grads, factor.inputs)
    left = left[:, :, rows]
    total = torch.zeros(len(updates), len(left), dtype=torch.float64, device=left.device)
    step = max(1, _BLOCK // (len(right) * right.shape[2]))
    for start in range(0, left.shape[2], step):
        part = slice(start, start + step)
        block = torch.bmm(left[:, :, part].mT, right).flatten(1)
        total += _inner_products(block, [u[part] for u in updates], products)
    return total


def _lookup_along(factor: EmbeddingRows, start: int, updates: Sequence[Tensor]) -> Changes:
    """Only rows that look up one of the updated entries contribute."""
    in_part = (factor.ids >= start) & (factor.ids < start + len(updates[0]))
    responses, positions = in_part.nonzero(as_tuple=True)
    ids, grads = factor.ids[responses, positions] - start, factor.grads[responses, positions]
    total = torch.zeros(len(updates), len(factor.ids), dtype=torch.float64, device=grads.device)
    for k, update in enumerate(updates):
        total[k].index_add_(0, responses, (update[ids].to(grads) * grads).sum(1).double())
    return total
