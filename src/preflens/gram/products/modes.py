"""Which inner products to compute: within each pair, or between all responses."""

from collections.abc import Sequence

import torch
from jaxtyping import Float64
from torch import Tensor

from preflens.gram.factors.factors import EmbeddingRows, Factor, GradientTerm, Materialized, OuterProductSum
from preflens.gram.factors.layout import Layout
from preflens.gram.factors.scored_rows import SoftmaxRows
from preflens.gram.products.all_pairs import ResponseGram, flat_gram, lookup_gram, outer_gram
from preflens.gram.products.head_collectors import BatchHead, PairHead
from preflens.gram.products.input_grams import InputGramCache
from preflens.gram.products.tied_weights import LinearTerm, tied_cross_gram, tied_cross_pairs
from preflens.gram.products.within_pairs import PairProducts, flat_pairs, lookup_pairs, outer_pairs
from preflens.types import HeadInput


class PairMode:
    """Products within pairs: ‖∇_w‖², ‖∇_l‖² and ⟨∇_w, ∇_l⟩.

    Args:
        layout: of the pass.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._cache = InputGramCache()

    def own(self, factor: Factor) -> PairProducts:
        """Return the products of one term of a gradient with itself."""
        if isinstance(factor, OuterProductSum):
            return outer_pairs(factor, self.layout, self._cache)
        if isinstance(factor, EmbeddingRows):
            return lookup_pairs(factor, self.layout)
        return flat_pairs(factor, self.layout)

    def cross(self, lookup: EmbeddingRows, linear: LinearTerm) -> PairProducts:
        """Return the products of an embedding with a linear map that shares its weight, in both orders."""
        return tied_cross_pairs(lookup, linear, self.layout)

    def head(self, head: HeadInput, *, bias: bool) -> PairHead:
        """Return a collector for a head."""
        return PairHead(head, bias=bias)

    def unscaled(self, products: Tensor, factors: Float64[Tensor, " response"]) -> PairProducts:
        """Return the products of gradients without the factors that they carry."""
        chosen, rejected = factors.reshape(2, -1)
        return products / torch.stack([chosen.square(), rejected.square(), chosen * rejected])


class BatchMode:
    """Products between all responses.

    Args:
        layout: of the pass.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def own(self, factor: Factor) -> ResponseGram:
        """Return the products of one term of a gradient with itself."""
        if isinstance(factor, OuterProductSum):
            return outer_gram(factor, self.layout)
        return lookup_gram(factor, self.layout) if isinstance(factor, EmbeddingRows) else flat_gram(factor)

    def cross(self, lookup: EmbeddingRows, linear: LinearTerm) -> ResponseGram:
        """Return the products of an embedding with a linear map that shares its weight, in both orders."""
        return tied_cross_gram(lookup, linear)

    def head(self, head: HeadInput, *, bias: bool) -> BatchHead:
        """Return a collector for a head."""
        return BatchHead(head, bias=bias)

    def unscaled(self, products: Tensor, factors: Float64[Tensor, " response"]) -> ResponseGram:
        """Return the products of gradients without the factors that they carry."""
        return products / torch.outer(factors, factors)


Mode = PairMode | BatchMode


def products_of(terms: Sequence[GradientTerm], mode: Mode) -> Tensor:
    """Multiply the gradient of a parameter with itself, where it is used several times or in several modules.

    Its terms add up: terms of one kind are joined, and an embedding and a linear map have cross terms. The products of
    a head's term with itself are left out, because they are collected while the head's scores are in memory.

    Args:
        terms: all terms of the gradient.
        mode: which products.

    Returns:
        The products.
    """
    heads = [term for term in terms if isinstance(term, SoftmaxRows)]
    parts = _joined([term for term in terms if not isinstance(term, SoftmaxRows)])
    if len(parts) == 1 and not heads:
        return _own(parts[0], terms, mode)
    lookups = [p for p in parts if isinstance(p, EmbeddingRows)]
    linears: list[LinearTerm] = [*heads, *(p for p in parts if isinstance(p, OuterProductSum) and _like_table(p))]
    if len(lookups) == len(linears) == 1 and len(parts) + len(heads) == 2:
        return sum((_own(p, terms, mode) for p in parts), mode.cross(lookups[0], linears[0]))
    dense = [term.dense() for term in (*heads, *parts)]
    total = mode.own(Materialized(torch.stack(dense).sum(0)))
    return total - sum(mode.own(Materialized(d)) for d in dense[: len(heads)])


def _own(part: Factor, terms: Sequence[GradientTerm], mode: Mode) -> Tensor:
    """The products of a part with itself; the rows of a joined part are not positions that a layout could cut."""
    joined = not any(part is term for term in terms)
    return (type(mode)(Layout(mode.layout.responses)) if joined else mode).own(part)


def _like_table(factor: OuterProductSum) -> bool:
    """Whether the gradient has the shape of an embedding's: outputs first, and no bias."""
    return not factor.input_first and not factor.with_bias


def _joined(factors: Sequence[Factor]) -> list[Factor]:
    """Put the rows of equal kinds one after the other; add up formed gradients."""
    kinds: dict[object, list[Factor]] = {}
    for factor in factors:
        kind = (factor.input_first, factor.with_bias) if isinstance(factor, OuterProductSum) else type(factor)
        kinds.setdefault(kind, []).append(factor)
    return [_join(alike) for alike in kinds.values()]


def _join(alike: Sequence[Factor]) -> Factor:
    first = alike[0]
    if len(alike) == 1:
        return first
    if isinstance(first, OuterProductSum):
        inputs, grads = (torch.cat([getattr(f, name) for f in alike], 1) for name in ("inputs", "grads"))
        return OuterProductSum(inputs, grads, first.input_first, first.with_bias)
    if isinstance(first, EmbeddingRows):
        ids, grads = (torch.cat([getattr(f, name) for f in alike], 1) for name in ("ids", "grads"))
        return EmbeddingRows(ids, grads, first.entries)
    return Materialized(torch.stack([f.dense() for f in alike]).sum(0))
