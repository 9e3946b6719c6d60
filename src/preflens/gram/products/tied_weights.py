"""Cross terms of an embedding and a linear map that share their weight (tied embeddings).

The gradient of the shared weight is Σ_s e_{id_s} ⊗ d_s from the embedding plus Σ_t u_t ⊗ h_t from the linear map. The
inner product of the two terms of two responses is Σ_st u_t[id_s] (d_s·h_t): only the entries that occur are needed.
"""

import torch
from jaxtyping import Float64, Int
from torch import Tensor

from preflens.gram.factors.factors import EmbeddingRows, OuterProductSum
from preflens.gram.factors.layout import Layout
from preflens.gram.factors.scored_rows import SoftmaxRows

LinearTerm = OuterProductSum | SoftmaxRows


def tied_cross_pairs(lookup: EmbeddingRows, linear: LinearTerm, layout: Layout) -> Float64[Tensor, "three pair"]:
    """Compute the contribution of the cross terms to the products within pairs.

    Args:
        lookup: term of the embedding.
        linear: term of the linear map.
        layout: of the pass.

    Returns:
        One column per pair.
    """
    n, index = layout.pairs, _response_of(linear)
    columns = []
    for k in range(n):
        rows = ((index == k) | (index == n + k)).nonzero()[:, 0]
        side = (index[rows] == n + k).long()
        chosen, rejected = (_sums(lookup, i, linear, rows, group=side, count=2) for i in (k, n + k))
        columns.append(torch.stack([2 * chosen[0], 2 * rejected[1], chosen[1] + rejected[0]]))
    return torch.stack(columns, 1)


def tied_cross_gram(lookup: EmbeddingRows, linear: LinearTerm) -> Float64[Tensor, "response response"]:
    """Compute the contribution of the cross terms to the Gram.

    Args:
        lookup: term of the embedding.
        linear: term of the linear map.

    Returns:
        A symmetric matrix.
    """
    index, count = _response_of(linear), len(lookup.ids)
    rows = torch.arange(len(index), device=index.device)
    cross = torch.stack([_sums(lookup, i, linear, rows, group=index, count=count) for i in range(count)])
    return cross + cross.T


def _sums(
    lookup: EmbeddingRows,
    response: int,
    linear: LinearTerm,
    rows: Int[Tensor, " selected"],
    *,
    group: Int[Tensor, " selected"],
    count: int,
) -> Float64[Tensor, " group"]:
    """Inner products of one response's embedding term with the linear terms of groups of rows."""
    ids, position = lookup.ids[response].unique(return_inverse=True)
    table = lookup.grads.new_zeros(len(ids), lookup.grads.shape[2]).index_add_(0, position, lookup.grads[response])
    inputs, gradients = _rows(linear, rows, ids)
    by_row = ((inputs @ table.T) * gradients).sum(1, dtype=torch.float64)
    return by_row.new_zeros(count).index_add(0, group, by_row)


def _rows(linear: LinearTerm, rows: Int[Tensor, " selected"], ids: Int[Tensor, " column"]) -> tuple[Tensor, Tensor]:
    """Inputs of some rows, and their output gradients at some outputs."""
    if isinstance(linear, SoftmaxRows):
        taken = linear.take(rows)
        return taken.inputs, taken.columns(ids)
    return linear.inputs.flatten(0, 1)[rows], linear.grads.flatten(0, 1)[rows][:, ids]


def _response_of(linear: LinearTerm) -> Int[Tensor, " flat_row"]:
    """The response of each row."""
    if isinstance(linear, SoftmaxRows):
        return linear.head.response_index
    responses, rows, _ = linear.inputs.shape
    return torch.arange(responses, device=linear.inputs.device).repeat_interleave(rows)
