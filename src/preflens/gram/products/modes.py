"""What is asked of a pass: products within pairs, or of all responses with all."""

from collections.abc import Sequence

import torch
from jaxtyping import Float64
from torch import Tensor

from preflens.gram.factors.factors import EmbeddingRows, Factor, GradientTerm, Materialized, OuterProductSum
from preflens.gram.factors.layout import Layout
from preflens.gram.factors.scored_rows import SoftmaxRows
from preflens.gram.products.all_pairs import flat_table, lookup_table, outer_table
from preflens.gram.products.output_head import BatchHead, PairHead
from preflens.gram.products.tied_weights import cross_pairs, cross_table
from preflens.gram.products.within_pairs import InputGramCache, flat_pairs, lookup_pairs, outer_pairs
from preflens.types import HeadInput


class PairMode:
    """‖∇_w‖², ‖∇_l‖² and ⟨∇_w, ∇_l⟩ of each pair.

    Args:
        layout: of the pass.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._cache = InputGramCache()

    def own(self, factor: Factor) -> Float64[Tensor, "three pair"]:
        """Return the products of one part of a gradient with itself."""
        if isinstance(factor, OuterProductSum):
            return outer_pairs(factor, self.layout, self._cache)
        return (
            lookup_pairs(factor, self.layout) if isinstance(factor, EmbeddingRows) else flat_pairs(factor, self.layout)
        )

    def cross(self, lookup: EmbeddingRows, linear: OuterProductSum | SoftmaxRows) -> Float64[Tensor, "three pair"]:
        """Return the products of a look-up with a linear map that shares its weight, both ways."""
        return cross_pairs(lookup, linear, self.layout)

    def head(self, head: HeadInput, *, bias: bool) -> PairHead:
        """Return a collector for a head."""
        return PairHead(head, bias=bias)

    def unscaled(self, products: Tensor, by: Float64[Tensor, " response"]) -> Float64[Tensor, "three pair"]:
        """Return the products of gradients that came multiplied by numbers."""
        chosen, rejected = by.reshape(2, -1)
        return products / torch.stack([chosen.square(), rejected.square(), chosen * rejected])


class BatchMode:
    """The Gram of all responses.

    Args:
        layout: of the pass.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def own(self, factor: Factor) -> Float64[Tensor, "response response"]:
        """Return the products of one part of a gradient with itself."""
        if isinstance(factor, OuterProductSum):
            return outer_table(factor, self.layout)
        return lookup_table(factor, self.layout) if isinstance(factor, EmbeddingRows) else flat_table(factor)

    def cross(
        self, lookup: EmbeddingRows, linear: OuterProductSum | SoftmaxRows
    ) -> Float64[Tensor, "response response"]:
        """Return the products of a look-up with a linear map that shares its weight, both ways."""
        return cross_table(lookup, linear)

    def head(self, head: HeadInput, *, bias: bool) -> BatchHead:
        """Return a collector for a head."""
        return BatchHead(head, bias=bias)

    def unscaled(self, products: Tensor, by: Float64[Tensor, " response"]) -> Float64[Tensor, "response response"]:
        """Return the products of gradients that came multiplied by numbers."""
        return products / torch.outer(by, by)


Mode = PairMode | BatchMode


def products_of(uses: Sequence[GradientTerm], mode: Mode) -> Tensor:
    """Multiply the gradient of a parameter that is used several times, or in several modules, with itself.

    Its parts add up: parts of one kind are joined, and a look-up meets a linear map in cross terms. What a head's part
    gives with itself is left out; it is collected while the head's scores are there.

    Args:
        uses: all parts of the gradient.
        mode: what is asked.

    Returns:
        The products.
    """
    heads = [u for u in uses if isinstance(u, SoftmaxRows)]
    parts = _joined([u for u in uses if not isinstance(u, SoftmaxRows)])
    if len(parts) == 1 and not heads:
        return _own(parts[0], uses, mode)
    lookups = [p for p in parts if isinstance(p, EmbeddingRows)]
    linears: list[OuterProductSum | SoftmaxRows] = [
        *heads,
        *(p for p in parts if isinstance(p, OuterProductSum) and _table_first(p)),
    ]
    if len(lookups) == len(linears) == 1 and len(parts) + len(heads) == 2:
        return sum((_own(p, uses, mode) for p in parts), mode.cross(lookups[0], linears[0]))
    dense = [u.dense() for u in (*heads, *parts)]
    total = mode.own(Materialized(torch.stack(dense).sum(0)))
    return total - sum(mode.own(Materialized(d)) for d in dense[: len(heads)])


def _own(part: Factor, uses: Sequence[GradientTerm], mode: Mode) -> Tensor:
    """The products of a part with itself; the rows of a joined part are no positions that could be cut."""
    joined = not any(part is use for use in uses)
    return (type(mode)(Layout(mode.layout.responses)) if joined else mode).own(part)


def _table_first(factor: OuterProductSum) -> bool:
    """Whether the gradient has the shape of a table's: outputs first, and no bias beside it."""
    return not factor.input_first and not factor.with_bias


def _joined(factors: Sequence[Factor]) -> list[Factor]:
    """Put the rows of equal kinds one after the other; add up what is flat."""
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
