"""Inner products within pairs: ‖∇_w‖², ‖∇_l‖² and ⟨∇_w, ∇_l⟩, without forming gradients where that is cheaper.

For an outer-product gradient Σ_t d_t ⊗ x_t there are two exact ways. *Ghost*: ⟨∇_i, ∇_j⟩ = Σ_ts (x_it·x_js)(d_it·d_js),
two small Gram matrices over rows, multiplied entry by entry. *Formed*: the gradient itself, a block of outputs at a
time. Ghost costs T²(in + out), formed T·in·out, so ghost is cheaper for short rows and wide layers.
"""

import torch
from jaxtyping import Float64
from torch import Tensor

from preflens.gram.factors.factors import EmbeddingRows, Materialized, OnDemand, OuterProductSum
from preflens.gram.factors.layout import Layout
from preflens.gram.products.input_grams import InputGramCache, InputGrams, PairRows, row_gram

PairProducts = Float64[Tensor, "three pair"]  # ‖∇_w‖², ‖∇_l‖², ⟨∇_w, ∇_l⟩

# Entries of a formed block of gradients: 8 MB of float32, which stays in cache or nearly so.
_BLOCK = 1 << 21
# Entries of the row Grams worked on together, which bounds the memory of ghost products.
_GRAM = 1 << 23
# A float32 product never sums over more terms than this: longer sums lose digits on CPU (28 % of a squared norm at 124
# million terms), and the pieces are added up in float64.
PIECE = 1 << 16
# Multiply-adds per weight that reading, squaring and adding up a formed gradient costs; measured on CPU.
_TOUCH = 24


def outer_pairs(factor: OuterProductSum, layout: Layout, cache: InputGramCache) -> PairProducts:
    """Compute the products of outer-product gradients.

    Args:
        factor: inputs and output gradients.
        layout: of the pass.
        cache: of input Grams.

    Returns:
        One column per pair.
    """
    x, d = layout.sides(factor.inputs), layout.sides(factor.grads)
    shared = layout.shared if layout.applies(factor.inputs) else 0
    if ghost_is_cheaper(x, d, shared=shared, cached=cache.holds(factor.inputs, layout)):
        layout = layout.narrowed(factor.grads)
        return ghost_pairs(cache.get(factor.inputs, layout), layout.sides(factor.grads), bias=factor.with_bias)
    if factor.inputs.shape[2] * factor.grads.shape[2] * layout.responses <= _BLOCK:
        return flat_pairs(Materialized(factor.dense()), layout)
    return formed_pairs(x, d, bias=factor.with_bias)


def lookup_pairs(factor: EmbeddingRows, layout: Layout) -> PairProducts:
    """Compute the products of embedding gradients: two rows contribute where they look up the same entry.

    Args:
        factor: ids and output gradients.
        layout: of the pass.

    Returns:
        One column per pair.
    """
    chosen, rejected = layout.sides(factor.ids.unsqueeze(2))
    same = [(a == b.transpose(1, 2)).to(factor.grads.dtype) for a, b in _three(chosen, rejected)]
    return ghost_pairs(InputGrams(same[0], same[2], same[1], shared=0), layout.sides(factor.grads), bias=False)


def flat_pairs(factor: Materialized | OnDemand, layout: Layout) -> PairProducts:
    """Compute the products of formed gradients, or of gradients that are computed for one pair at a time.

    Args:
        factor: the gradients.
        layout: of the pass.

    Returns:
        One column per pair.
    """
    n = layout.pairs
    if isinstance(factor, Materialized):
        sides = factor.values.unflatten(0, (2, n)).transpose(0, 1)  # [pair, side, numel]
        table = torch.stack([torch.bmm(piece, piece.mT).double() for piece in sides.split(PIECE, 2)]).sum(0)
        return torch.stack([table[:, 0, 0], table[:, 1, 1], table[:, 0, 1]])
    columns = [_products(factor.gradient(i)[None, None], factor.gradient(n + i)[None, None]) for i in range(n)]
    return torch.cat(columns, 1)


def ghost_is_cheaper(inputs: PairRows, grads: PairRows, *, shared: int, cached: bool) -> bool:
    """Compare the multiply-adds of both ways.

    Args:
        inputs: inputs of both responses.
        grads: output gradients of both responses.
        shared: leading input rows that both responses share.
        cached: whether the row Grams of the inputs are known already.

    Returns:
        Whether ghost products cost less.
    """
    t_w, t_l = (side.shape[1] for side in inputs)
    unshared, d_in, d_out = t_l - shared, inputs[0].shape[2], grads[0].shape[2]
    input_gram = 0 if cached else (t_w * (t_w + unshared) + unshared * unshared) * d_in
    ghost = input_gram + (t_w * t_w + t_l * t_l + t_w * t_l) * d_out
    return ghost < 1.1 * (t_w + t_l + _TOUCH) * d_in * d_out


def ghost_pairs(grams: InputGrams, grads: PairRows, *, bias: bool) -> PairProducts:
    """Multiply row Grams of inputs and of output gradients, some pairs at a time.

    Args:
        grams: of the inputs.
        grads: output gradients of both responses.
        bias: whether the gradient of a bias is part of it.

    Returns:
        One column per pair.
    """
    pairs, rows = len(grads[0]), max(grads[0].shape[1], grads[1].shape[1], 1)
    step = max(1, _GRAM // (rows * rows))
    pieces = (slice(start, start + step) for start in range(0, pairs, step))
    return torch.cat([_ghost_of(grams, piece, grads[0][piece], grads[1][piece], bias=bias) for piece in pieces], 1)


def formed_pairs(inputs: PairRows, grads: PairRows, *, bias: bool) -> PairProducts:
    """Form the gradients of both responses, a block of outputs at a time.

    Args:
        inputs: inputs of both responses.
        grads: output gradients of both responses.
        bias: whether the gradient of a bias is part of it.

    Returns:
        One column per pair.
    """
    pairs, _, width = inputs[0].shape
    total = torch.zeros(3, pairs, dtype=torch.float64, device=inputs[0].device)
    if bias:
        total += _products(*(d.sum(1).double()[:, None] for d in grads))
    step = max(1, _BLOCK // (pairs * width))
    for start in range(0, grads[0].shape[2], step):
        outputs = slice(start, start + step)
        total += _products(*(torch.bmm(d[:, :, outputs].mT, x) for x, d in zip(inputs, grads, strict=True)))
    return total


def _ghost_of(grams: InputGrams, piece: slice, d_w: Tensor, d_l: Tensor, *, bias: bool) -> PairProducts:
    """Products of some pairs; the Gram of the chosen rows also has the rows that the rejected response shares."""
    k = grams.shared
    ww, wl, ll = (g[piece] + 1 if bias else g[piece] for g in (grams.chosen, grams.cross, grams.rejected))
    g_ww, g_wl, g_ll = row_gram(d_w, d_w), row_gram(d_w, d_l), row_gram(d_l, d_l)
    chosen = _total(ww, g_ww)
    cross = _total(wl, g_wl[:, :, k:])
    rejected = _total(ll, g_ll[:, k:, k:])
    if k:
        cross = cross + _total(ww[:, :, :k], g_wl[:, :, :k])
        rejected = rejected + _total(ww[:, :k, :k], g_ll[:, :k, :k]) + 2 * _total(wl[:, :k], g_ll[:, :k, k:])
    return torch.stack([chosen, rejected, cross])


def _products(chosen: Tensor, rejected: Tensor) -> PairProducts:
    return torch.stack([_total(a, b) for a, b in _three(chosen, rejected)])


def _three(chosen: Tensor, rejected: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
    return (chosen, chosen), (rejected, rejected), (chosen, rejected)


def _total(a: Tensor, b: Tensor) -> Float64[Tensor, " pair"]:
    return (a * b).sum((1, 2)).double()  # torch adds up in a cascade, good to 1e-8 at this many terms
