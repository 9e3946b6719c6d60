"""Cross terms of a table that rows are looked up in and a linear map that shares its weight (tied embeddings).

The gradient of the shared weight is Σ_s e_{id_s} ⊗ d_s from the look-up plus Σ_t u_t ⊗ h_t from the linear map, so the
inner product of the two parts of two responses is Σ_st u_t[id_s] (d_s·h_t): only the entries that occur are needed.
"""

import torch
from jaxtyping import Float64, Int
from torch import Tensor

from preflens.gram.factors.factors import EmbeddingRows, OuterProductSum
from preflens.gram.factors.layout import Layout
from preflens.gram.factors.scored_rows import SoftmaxRows

Linear = OuterProductSum | SoftmaxRows


def cross_pairs(lookup: EmbeddingRows, linear: Linear, layout: Layout) -> Float64[Tensor, "three pair"]:
    """Compute what the cross terms add to the products within pairs.

    Args:
        lookup: the look-up's part.
        linear: the linear map's part.
        layout: of the pass.

    Returns:
        One column a pair.
    """
    n, index = layout.pairs, _response_of(linear)
    columns = []
    for k in range(n):
        here = ((index == k) | (index == n + k)).nonzero()[:, 0]
        side = (index[here] == n + k).long()
        chosen, rejected = (_sums(lookup, i, linear, here, side, count=2) for i in (k, n + k))
        columns.append(torch.stack([2 * chosen[0], 2 * rejected[1], chosen[1] + rejected[0]]))
    return torch.stack(columns, 1)


def cross_table(lookup: EmbeddingRows, linear: Linear) -> Float64[Tensor, "response response"]:
    """Compute what the cross terms add to the Gram.

    Args:
        lookup: the look-up's part.
        linear: the linear map's part.

    Returns:
        The symmetric addition.
    """
    index, count = _response_of(linear), len(lookup.ids)
    everything = torch.arange(len(index), device=index.device)
    found = torch.stack([_sums(lookup, i, linear, everything, index, count=count) for i in range(count)])
    return found + found.T


def _sums(
    lookup: EmbeddingRows,
    response: int,
    linear: Linear,
    here: Int[Tensor, " some"],
    group: Int[Tensor, " some"],
    *,
    count: int,
) -> Float64[Tensor, " group"]:
    """Inner products of one response's look-up part with the linear parts of groups of rows."""
    ids, place = lookup.ids[response].unique(return_inverse=True)
    table = lookup.grads.new_zeros(len(ids), lookup.grads.shape[2]).index_add_(0, place, lookup.grads[response])
    inputs, gradients = _rows(linear, here, ids)
    by_row = ((inputs @ table.T) * gradients).sum(1, dtype=torch.float64)
    return by_row.new_zeros(count).index_add(0, group, by_row)


def _rows(linear: Linear, here: Int[Tensor, " some"], ids: Int[Tensor, " column"]) -> tuple[Tensor, Tensor]:
    """Inputs of some rows, and their output gradients at some outputs."""
    if isinstance(linear, SoftmaxRows):
        rows = linear.take(here)
        return rows.inputs, rows.columns(ids)
    return linear.inputs.flatten(0, 1)[here], linear.grads.flatten(0, 1)[here][:, ids]


def _response_of(linear: Linear) -> Int[Tensor, " flat_row"]:
    """Which response each row belongs to."""
    if isinstance(linear, SoftmaxRows):
        return linear.head.response_index
    responses, rows, _ = linear.inputs.shape
    return torch.arange(responses, device=linear.inputs.device).repeat_interleave(rows)
