"""Inner products between all responses, without forming gradients where that is cheaper.

The same two exact ways as in `within_pairs`: row Grams multiplied entry by entry, or gradients formed a block of
outputs at a time and multiplied with each other.
"""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from preflens.gram.factors.factors import EmbeddingRows, Materialized, OnDemand, OuterProductSum
from preflens.gram.factors.layout import Layout
from preflens.gram.products.within_pairs import PIECE

ResponseGram = Float64[Tensor, "response response"]

# Entries of a formed block of gradients.
_BLOCK = 1 << 21
# Entries of a row Gram worked on at a time.
_GRAM = 1 << 22


def outer_gram(factor: OuterProductSum, layout: Layout) -> ResponseGram:
    """Compute the Gram of outer-product gradients.

    Args:
        factor: inputs and output gradients.
        layout: of the pass.

    Returns:
        The Gram.
    """
    inputs, grads = layout.cut(factor.inputs), layout.cut(factor.grads)
    responses, rows, d_in = inputs.shape
    d_out, n = grads.shape[2], responses * rows
    ghost = n * n * (d_in + d_out) / 2
    formed = n * d_in * d_out + responses * responses * d_in * d_out / 2
    if ghost < formed:
        return _ghost(inputs, grads, one=1 if factor.with_bias else 0)
    return _formed(inputs, grads) + (flat_gram(Materialized(grads.sum(1))) if factor.with_bias else 0)


def lookup_gram(factor: EmbeddingRows, layout: Layout) -> ResponseGram:
    """Compute the Gram of embedding gradients: two rows contribute where they look up the same entry.

    Args:
        factor: ids and output gradients.
        layout: of the pass.

    Returns:
        The Gram.
    """
    ids, grads = layout.cut(factor.ids), layout.cut(factor.grads)
    responses, rows = ids.shape
    step = _step(responses, rows)
    flat_ids, flat_grads = ids.flatten(), grads.flatten(0, 1)
    parts = []
    for start in range(0, responses, step):
        block = slice(start * rows, (start + step) * rows)
        same_entry = flat_ids[block, None] == flat_ids[None]
        parts.append(_by_response((flat_grads[block] @ flat_grads.T) * same_entry, rows))
    return torch.cat(parts)


def flat_gram(factor: Materialized | OnDemand) -> ResponseGram:
    """Compute the Gram of formed gradients.

    Args:
        factor: the gradients.

    Returns:
        The Gram.
    """
    values = factor.dense()
    total = torch.zeros(len(values), len(values), dtype=torch.float64, device=values.device)
    for start in range(0, values.shape[1], PIECE):
        piece = values[:, start : start + PIECE].double()
        total += piece @ piece.T
    return total


def _ghost(inputs: Tensor, grads: Tensor, *, one: int) -> ResponseGram:
    """Row Grams of a block of responses with itself and those after it; symmetry gives the rest."""
    responses, rows, _ = inputs.shape
    step = _step(responses, rows)
    x, d = inputs.flatten(0, 1), grads.flatten(0, 1)
    total = torch.zeros(responses, responses, dtype=torch.float64, device=x.device)
    for start in range(0, responses, step):
        block, after = slice(start * rows, (start + step) * rows), slice(start * rows, None)
        products = (x[block] @ x[after].T + one).mul_(d[block] @ d[after].T)
        total[start : start + step, start:] = _by_response(products, rows)
    return total.triu() + total.triu(1).T


def _formed(inputs: Tensor, grads: Tensor) -> ResponseGram:
    responses, _, d_in = inputs.shape
    total = torch.zeros(responses, responses, dtype=torch.float64, device=inputs.device)
    step = max(1, _BLOCK // (responses * d_in))
    for start in range(0, grads.shape[2], step):
        block = torch.bmm(grads[:, :, start : start + step].transpose(1, 2), inputs).flatten(1)
        for piece in block.split(PIECE, dim=1):
            total += piece @ piece.T
    return total


def _by_response(products: Float[Tensor, "block_row every_row"], rows: int) -> Float64[Tensor, "block every"]:
    block, every = (size // rows for size in products.shape)
    return products.reshape(block, rows, every, rows).sum((1, 3), dtype=torch.float64)


def _step(responses: int, rows: int) -> int:
    """Number of responses per block; at least two blocks where symmetry can save something."""
    return max(1, min(_GRAM // max(1, rows * rows * responses), -(-responses // 4)))
