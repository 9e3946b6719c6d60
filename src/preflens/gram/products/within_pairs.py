"""Inner products within pairs: ‖∇_w‖², ‖∇_l‖² and ⟨∇_w, ∇_l⟩, without forming gradients where that is cheaper.

For an outer-product gradient Σ_t d_t ⊗ x_t there are two exact ways. *Ghost*: ⟨∇_i, ∇_j⟩ = Σ_ts (x_it·x_js)(d_it·d_js),
two small Gram matrices over rows, multiplied entry by entry. *Formed*: the gradient itself, a block of outputs at a
time. Ghost costs T²(in + out), formed T·in·out, so ghost wins for short rows and wide layers.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from preflens.gram.factors.factors import EmbeddingRows, Materialized, OnDemand, OuterProductSum
from preflens.gram.factors.layout import Layout

PairRows = tuple[Tensor, Tensor]  # rows of the chosen and of the rejected responses: [pair, row, features]
Products = Float64[Tensor, "three pair"]  # ‖∇_w‖², ‖∇_l‖², ⟨∇_w, ∇_l⟩

# Entries of a formed block of gradients: 8 MB of float32, which stays in cache or nearly so.
_BLOCK = 1 << 21
# Entries of the row Grams worked on together, which bounds what ghost products need.
_GRAM = 1 << 23
# A float32 product never sums over more terms than this: longer sums lose digits on CPU (28 % of a squared norm at 124
# million terms), and the pieces are added up in float64.
PIECE = 1 << 16
# Multiply-adds per weight that reading, squaring and adding up a formed gradient costs; measured on CPU.
_TOUCH = 24


@dataclass(frozen=True)
class InputGrams:
    """Inner products of input rows of each pair; the leading rows that both responses share are taken once.

    Attributes:
        chosen: chosen rows with each other.
        cross: chosen rows with rejected rows that are not shared.
        rejected: rejected rows that are not shared, with each other.
        shared: how many rows are shared.
    """

    chosen: Float[Tensor, "pair chosen_row chosen_row"]
    cross: Float[Tensor, "pair chosen_row own_row"]
    rejected: Float[Tensor, "pair own_row own_row"]
    shared: int


class InputGramCache:
    """Remembers the row Grams of the last input: query, key and value, or gate and up, read the same one."""

    def __init__(self) -> None:
        self._last: tuple[Tensor, Layout, InputGrams] | None = None

    def get(self, inputs: Tensor, layout: Layout) -> InputGrams:
        """Return the row Grams of an input.

        Args:
            inputs: [response, row, in].
            layout: of the pass.

        Returns:
            The Grams.
        """
        if not self.holds(inputs, layout):
            self._last = inputs, layout, input_grams(inputs, layout)
        assert self._last is not None
        return self._last[2]

    def holds(self, inputs: Tensor, layout: Layout) -> bool:
        """Tell whether an input is the last one: the same memory, which cannot be reused while it is held here."""
        if self._last is None or self._last[1] != layout:
            return False
        kept = self._last[0]
        return kept.data_ptr() == inputs.data_ptr() and kept.shape == inputs.shape and kept.stride() == inputs.stride()


def input_grams(inputs: Float[Tensor, "response row in"], layout: Layout) -> InputGrams:
    """Compute the row Grams of an input.

    Args:
        inputs: rows of a module.
        layout: of the pass.

    Returns:
        The Grams.
    """
    chosen, rejected = layout.sides(inputs)
    shared = layout.shared if layout.applies(inputs) else 0
    own = rejected[:, shared:]
    return InputGrams(row_gram(chosen, chosen), row_gram(chosen, own), row_gram(own, own), shared)


def outer_pairs(factor: OuterProductSum, layout: Layout, cache: InputGramCache) -> Products:
    """Compute the products of outer-product gradients.

    Args:
        factor: inputs and output gradients.
        layout: of the pass.
        cache: of input Grams.

    Returns:
        One column a pair.
    """
    x, d = layout.sides(factor.inputs), layout.sides(factor.grads)
    shared = layout.shared if layout.applies(factor.inputs) else 0
    if ghost_is_cheaper(x, d, shared=shared, cached=cache.holds(factor.inputs, layout)):
        layout = layout.narrowed(factor.grads)
        return ghost_pairs(cache.get(factor.inputs, layout), layout.sides(factor.grads), bias=factor.with_bias)
    if factor.inputs.shape[2] * factor.grads.shape[2] * layout.responses <= _BLOCK:
        return flat_pairs(Materialized(factor.dense()), layout)
    return formed_pairs(x, d, bias=factor.with_bias)


def lookup_pairs(factor: EmbeddingRows, layout: Layout) -> Products:
    """Compute the products of table gradients: two rows meet where they take the same entry.

    Args:
        factor: ids and output gradients.
        layout: of the pass.

    Returns:
        One column a pair.
    """
    chosen, rejected = layout.sides(factor.ids.unsqueeze(2))
    same = [(a == b.transpose(1, 2)).to(factor.grads.dtype) for a, b in _three(chosen, rejected)]
    return ghost_pairs(InputGrams(same[0], same[2], same[1], shared=0), layout.sides(factor.grads), bias=False)


def flat_pairs(factor: Materialized | OnDemand, layout: Layout) -> Products:
    """Compute the products of gradients that are there, or are computed a pair at a time.

    Args:
        factor: the gradients.
        layout: of the pass.

    Returns:
        One column a pair.
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
        inputs: rows that go in, of both responses.
        grads: gradients of what comes out.
        shared: leading input rows that both responses have in common.
        cached: whether the row Grams of the inputs are there already.

    Returns:
        Whether ghost products cost less.
    """
    t_w, t_l = (side.shape[1] for side in inputs)
    own, d_in, d_out = t_l - shared, inputs[0].shape[2], grads[0].shape[2]
    input_gram = 0 if cached else (t_w * (t_w + own) + own * own) * d_in
    ghost = input_gram + (t_w * t_w + t_l * t_l + t_w * t_l) * d_out
    return ghost < 1.1 * (t_w + t_l + _TOUCH) * d_in * d_out


def ghost_pairs(grams: InputGrams, grads: PairRows, *, bias: bool) -> Products:
    """Multiply row Grams of inputs and of output gradients, some pairs at a time.

    Args:
        grams: of the inputs.
        grads: of both responses.
        bias: whether a bias belongs to the gradient.

    Returns:
        One column a pair.
    """
    pairs, rows = len(grads[0]), max(grads[0].shape[1], grads[1].shape[1], 1)
    step = max(1, _GRAM // (rows * rows))
    pieces = (slice(start, start + step) for start in range(0, pairs, step))
    return torch.cat([_ghost_of(grams, here, grads[0][here], grads[1][here], bias=bias) for here in pieces], 1)


def formed_pairs(inputs: PairRows, grads: PairRows, *, bias: bool) -> Products:
    """Form the gradients of both responses, a block of outputs at a time.

    Args:
        inputs: rows that go in, of both responses.
        grads: gradients of what comes out.
        bias: whether a bias belongs to the gradient.

    Returns:
        One column a pair.
    """
    pairs, _, width = inputs[0].shape
    total = torch.zeros(3, pairs, dtype=torch.float64, device=inputs[0].device)
    if bias:
        total += _products(*(d.sum(1).double()[:, None] for d in grads))
    step = max(1, _BLOCK // (pairs * width))
    for start in range(0, grads[0].shape[2], step):
        here = slice(start, start + step)
        total += _products(*(torch.bmm(d[:, :, here].mT, x) for x, d in zip(inputs, grads, strict=True)))
    return total


def _ghost_of(grams: InputGrams, here: slice, d_w: Tensor, d_l: Tensor, *, bias: bool) -> Products:
    """The rows that the rejected response shares stand in the chosen rows' Gram."""
    k = grams.shared
    ww, wl, ll = (g[here] + 1 if bias else g[here] for g in (grams.chosen, grams.cross, grams.rejected))
    g_ww, g_wl, g_ll = row_gram(d_w, d_w), row_gram(d_w, d_l), row_gram(d_l, d_l)
    chosen = _total(ww, g_ww)
    cross = _total(wl, g_wl[:, :, k:])
    rejected = _total(ll, g_ll[:, k:, k:])
    if k:
        cross = cross + _total(ww[:, :, :k], g_wl[:, :, :k])
        rejected = rejected + _total(ww[:, :k, :k], g_ll[:, :k, :k]) + 2 * _total(wl[:, :k], g_ll[:, :k, k:])
    return torch.stack([chosen, rejected, cross])


def _products(chosen: Tensor, rejected: Tensor) -> Products:
    return torch.stack([_total(a, b) for a, b in _three(chosen, rejected)])


def _three(chosen: Tensor, rejected: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
    return (chosen, chosen), (rejected, rejected), (chosen, rejected)


def row_gram(a: Tensor, b: Tensor) -> Tensor:
    """Return the inner products of two sets of rows, batch by batch.

    Args:
        a: [batch, row, features].
        b: [batch, other row, features].

    Returns:
        [batch, row, other row].
    """
    return torch.bmm(a, b.mT)


def _total(a: Tensor, b: Tensor) -> Float64[Tensor, " pair"]:
    return (a * b).sum((1, 2)).double()  # torch adds up in a cascade, good to 1e-8 at this many terms
