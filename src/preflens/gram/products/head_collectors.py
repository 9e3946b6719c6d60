"""Visitors of a pass through an output head, which collect the products of its weight or the gradients of its bias."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from preflens.gram.factors.factors import OuterProductSum
from preflens.gram.factors.head_scores import row_bounds
from preflens.gram.factors.layout import Layout
from preflens.gram.factors.scored_rows import SCORES, SoftmaxRows
from preflens.gram.products.all_pairs import ResponseGram, outer_gram
from preflens.gram.products.input_grams import InputGrams, PairRows, row_gram
from preflens.gram.products.output_head import ScoredRowNumbers
from preflens.gram.products.within_pairs import PairProducts, formed_pairs, ghost_is_cheaper, ghost_pairs
from preflens.types import HeadInput


class PairHead:
    """Collects the within-pair products of a head's weight; a part has as many pairs as scores fit into memory.

    Args:
        head: input of the head.
        bias: whether the head's bias is treated as a part of the weight.
    """

    def __init__(self, head: HeadInput, *, bias: bool) -> None:
        bounds, pairs = row_bounds(head), head.responses // 2
        self._ranges = [(bounds[i], bounds[i + 1]) for i in range(head.responses)]
        self._groups = _grouped(self._ranges, pairs, rows=max(1, SCORES // (2 * len(head.weight))))
        self._ranges_in_part = _ranges_in_part(self._ranges, self._groups, pairs)
        self._bias = bias
        self._grams: dict[int, InputGrams] = {}
        self.products: PairProducts = torch.zeros(3, pairs, dtype=torch.float64, device=head.hidden.device)

    def parts(self) -> list[ScoredRowNumbers]:
        """Return the rows of each part: all in their order, or pair by pair, the chosen response first."""
        pairs, device = self.products.shape[1], self.products.device
        if len(self._groups) == 1:
            return [torch.arange(self._ranges[-1][1], device=device)]
        of_pair = [[self._ranges[k], self._ranges[pairs + k]] for k in range(pairs)]
        rows = [[torch.arange(*r) for k in group for r in of_pair[k]] for group in self._groups]
        return [torch.cat(part).to(device) for part in rows]

    def visit(self, number: int, rows: SoftmaxRows, columns: slice, gradient: Tensor) -> None:
        """Add a slice of the vocabulary for the pairs of a part."""
        pairs, inputs = self.products.shape[1], rows.inputs
        if columns.start == 0:
            self._grams.clear()
        for k in self._groups[number]:
            chosen, rejected = (slice(*self._ranges_in_part[i]) for i in (k, pairs + k))
            x, d = ((v[None, chosen], v[None, rejected]) for v in (inputs, gradient))
            self.products[:, k] += self._pair(k, x, d)[:, 0]

    def _pair(self, k: int, x: PairRows, d: PairRows) -> PairProducts:
        if not ghost_is_cheaper(x, d, shared=0, cached=k in self._grams):
            return formed_pairs(x, d, bias=self._bias)
        if k not in self._grams:
            self._grams[k] = InputGrams(row_gram(x[0], x[0]), row_gram(x[0], x[1]), row_gram(x[1], x[1]), shared=0)
        return ghost_pairs(self._grams[k], d, bias=self._bias)


def _grouped(ranges: Sequence[tuple[int, int]], pairs: int, *, rows: int) -> list[list[int]]:
    """Group pairs up to a number of rows; every group has one pair at least."""
    groups: list[list[int]] = []
    used = rows
    for k in range(pairs):
        length = sum(ranges[i][1] - ranges[i][0] for i in (k, pairs + k))
        if used + length > rows or not groups:
            groups.append([])
            used = 0
        groups[-1].append(k)
        used += length
    return groups


def _ranges_in_part(
    ranges: Sequence[tuple[int, int]], groups: Sequence[Sequence[int]], pairs: int
) -> list[tuple[int, int]]:
    """Start and end of the rows of each response within its part."""
    within = list(ranges)
    for group in groups if len(groups) > 1 else []:
        start = 0
        for response in (i for k in group for i in (k, pairs + k)):
            end = start + ranges[response][1] - ranges[response][0]
            within[response] = (start, end)
            start = end
    return within


class BatchHead:
    """Collects the Gram of a head's weight between all responses: all rows in one part.

    Args:
        head: input of the head.
        bias: whether the head's bias is treated as a part of the weight.
    """

    def __init__(self, head: HeadInput, *, bias: bool) -> None:
        self._index, self._responses, self._bias = head.response_index, head.responses, bias
        bounds = torch.tensor(row_bounds(head))
        self._longest = int(bounds.diff().max())
        self._position = torch.arange(len(self._index)) - bounds[self._index.cpu()]
        size = (head.responses, head.responses)
        self.products: ResponseGram = torch.zeros(size, dtype=torch.float64, device=head.hidden.device)

    def parts(self) -> list[ScoredRowNumbers]:
        """Return one part with all rows."""
        return [torch.arange(len(self._index), device=self.products.device)]

    def visit(self, number: int, rows: SoftmaxRows, columns: slice, gradient: Tensor) -> None:  # noqa: ARG002  # one part
        """Add a slice of the vocabulary."""
        factor = OuterProductSum(self._padded(rows.inputs), self._padded(gradient), with_bias=self._bias)
        self.products += outer_gram(factor, Layout(self._responses))

    def _padded(self, values: Tensor) -> Tensor:
        """Rows of each response, filled up with zeros."""
        if self._longest * self._responses == len(values):
            return values.reshape(self._responses, self._longest, -1)
        padded = values.new_zeros(self._responses, self._longest, values.shape[1])
        padded[self._index, self._position.to(self._index.device)] = values
        return padded


class HeadBias:
    """Collects the per-response gradients of a head's bias that cannot be treated as a part of the weight.

    Args:
        head: input of the head.

    Attributes:
        values: Σ_t u_t of each response.
    """

    def __init__(self, head: HeadInput) -> None:
        wide = torch.promote_types(head.hidden.dtype, torch.float32)
        self.values: Float[Tensor, "response vocab"] = torch.zeros(
            head.responses, len(head.weight), dtype=wide, device=head.hidden.device
        )

    def visit(self, number: int, rows: SoftmaxRows, columns: slice, gradient: Tensor) -> None:  # noqa: ARG002  # any part
        """Add a slice of the vocabulary."""
        self.values[:, columns] = self.values[:, columns].index_add(0, rows.head.response_index, gradient)
