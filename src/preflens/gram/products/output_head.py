"""The pass through an output head: log-probs, the gradient it sends back, and what its own weight adds to the Gram."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from preflens.gram.factors.factors import OuterProductSum
from preflens.gram.factors.layout import Layout
from preflens.gram.factors.scored_rows import SCORES, SoftmaxRows, detached, row_bounds, score_once, softmax_rows, taken
from preflens.gram.products.all_pairs import Table, outer_table
from preflens.gram.products.within_pairs import (
    InputGrams,
    PairRows,
    Products,
    formed_pairs,
    ghost_is_cheaper,
    ghost_pairs,
    row_gram,
)
from preflens.types import HeadInput

ScoredRowNumbers = Int[Tensor, " _"]  # numbers of scored rows
# Told of each part's number, its rows, a slice of the vocabulary, and u there (see `SoftmaxRows`).
Scored = tuple[SoftmaxRows, Tensor]  # rows, and u for the whole vocabulary
Visit = Callable[[int, SoftmaxRows, slice, Tensor], None]


@dataclass(frozen=True)
class HeadPass:
    """What came out of a head.

    Attributes:
        rows: scored rows, for whatever else is to be asked of them.
        hidden_gradient: gradient of the (weighted) sum of log-probs with respect to the hidden rows.
    """

    rows: SoftmaxRows
    hidden_gradient: Float[Tensor, "scored_token in"]


def head_pass(
    head: HeadInput,
    visit: Visit,
    *,
    parts: Sequence[ScoredRowNumbers] | None = None,
    weights: Float[Tensor, " response"] | None = None,
    scored: Scored | None = None,
    send_back: bool = True,
) -> HeadPass:
    """Score rows part by part, show the score gradients to a visitor, and send them on to the hidden rows.

    Args:
        head: what the head got.
        visit: receives the score gradients of each part.
        parts: numbers of the rows that are scored together, every row in one part; None for a single part.
        weights: of the log-probs in the sum that is differentiated; 1 where there are none. The visitor sees the score
            gradients without them.
        scored: the rows and u for the whole vocabulary, where somebody has them already.
        send_back: whether the gradient of the hidden rows is wanted; else it is zero.

    Returns:
        Rows and the gradient of their hidden states.
    """
    cut = detached(head)
    hidden_gradient = torch.zeros_like(cut.hidden)
    normalizer, target_score = torch.empty(2, len(cut.hidden), dtype=torch.float64, device=cut.hidden.device)
    everything = torch.arange(len(cut.hidden), device=cut.hidden.device)
    for number, part in enumerate([everything] if parts is None else parts):
        rows, slices = _score(cut, part, scored)
        back = torch.zeros_like(rows.inputs)
        for columns, gradient in slices:
            if send_back:
                back += gradient.to(cut.weight.dtype) @ cut.weight[columns]
            visit(number, rows, columns, gradient)
        if weights is not None:
            back *= weights[rows.head.response_index, None]
        hidden_gradient[part] = back.to(hidden_gradient.dtype)
        normalizer[part], target_score[part] = rows.normalizer.double(), rows.target_score.double()
    wide = torch.promote_types(cut.hidden.dtype, torch.float32)
    return HeadPass(SoftmaxRows(cut, normalizer.to(wide), target_score.to(wide)), hidden_gradient)


def _score(
    cut: HeadInput, part: ScoredRowNumbers, scored: Scored | None
) -> tuple[SoftmaxRows, Iterator[tuple[slice, Tensor]]]:
    """The rows of a part, and u for slices of the vocabulary."""
    everything = slice(0, len(cut.weight))
    if scored is not None and len(part) == len(cut.hidden):  # one part: all rows as they come
        return scored[0], iter([(everything, scored[1])])
    if scored is not None:
        return scored[0].take(part), iter([(everything, scored[1][part])])
    here = taken(cut, part)
    if len(part) * len(cut.weight) <= SCORES:
        rows, whole = score_once(here)
        return rows, iter([(everything, whole)])
    rows = softmax_rows(here)
    return rows, rows.gradients()


class PairHead:
    """Collects the products within pairs of a head's weight; as many pairs in a part as scores may be held for.

    Args:
        head: what the head got.
        bias: whether the head's bias is differentiated too.
    """

    def __init__(self, head: HeadInput, *, bias: bool) -> None:
        bounds, pairs = row_bounds(head), head.responses // 2
        self._ranges = [(bounds[i], bounds[i + 1]) for i in range(head.responses)]
        self._groups = _grouped(self._ranges, pairs, rows=max(1, SCORES // (2 * len(head.weight))))
        self._places = _places(self._ranges, self._groups, pairs)
        self._bias = bias
        self._grams: dict[int, InputGrams] = {}
        self.products: Products = torch.zeros(3, pairs, dtype=torch.float64, device=head.hidden.device)

    def parts(self) -> list[ScoredRowNumbers]:
        """Return the rows of each part: all as they come, or pair by pair, the chosen ones first."""
        pairs, device = self.products.shape[1], self.products.device
        if len(self._groups) == 1:
            return [torch.arange(self._ranges[-1][1], device=device)]
        both = [[self._ranges[k], self._ranges[pairs + k]] for k in range(pairs)]
        rows = [[torch.arange(*r) for k in group for r in both[k]] for group in self._groups]
        return [torch.cat(part).to(device) for part in rows]

    def visit(self, number: int, rows: SoftmaxRows, columns: slice, gradient: Tensor) -> None:
        """Add a slice of the vocabulary of some pairs."""
        pairs, inputs = self.products.shape[1], rows.inputs
        if columns.start == 0:
            self._grams.clear()
        for k in self._groups[number]:
            both = [slice(*self._places[i]) for i in (k, pairs + k)]
            x, d = ((v[None, both[0]], v[None, both[1]]) for v in (inputs, gradient))
            self.products[:, k] += self._pair(k, x, d)[:, 0]

    def _pair(self, k: int, x: PairRows, d: PairRows) -> Products:
        if not ghost_is_cheaper(x, d, shared=0, cached=k in self._grams):
            return formed_pairs(x, d, bias=self._bias)
        if k not in self._grams:
            self._grams[k] = InputGrams(row_gram(x[0], x[0]), row_gram(x[0], x[1]), row_gram(x[1], x[1]), shared=0)
        return ghost_pairs(self._grams[k], d, bias=self._bias)


def _grouped(ranges: Sequence[tuple[int, int]], pairs: int, *, rows: int) -> list[list[int]]:
    """Put pairs together while their rows are not more than so many; every group has one at least."""
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


def _places(ranges: Sequence[tuple[int, int]], groups: Sequence[Sequence[int]], pairs: int) -> list[tuple[int, int]]:
    """Where the rows of each response lie in their part."""
    places = list(ranges)
    for group in groups if len(groups) > 1 else []:
        start = 0
        for response in (i for k in group for i in (k, pairs + k)):
            end = start + ranges[response][1] - ranges[response][0]
            places[response] = (start, end)
            start = end
    return places


class BatchHead:
    """Collects the Gram of a head's weight: all rows in one part.

    Args:
        head: what the head got.
        bias: whether the head's bias is differentiated too.
    """

    def __init__(self, head: HeadInput, *, bias: bool) -> None:
        self._index, self._responses, self._bias = head.response_index, head.responses, bias
        bounds = torch.tensor(row_bounds(head))
        self._longest = int(bounds.diff().max())
        self._place = torch.arange(len(self._index)) - bounds[self._index.cpu()]
        self.products: Table = torch.zeros(2 * (head.responses,), dtype=torch.float64, device=head.hidden.device)

    def parts(self) -> list[ScoredRowNumbers]:
        """Return all rows."""
        return [torch.arange(len(self._index), device=self.products.device)]

    def visit(self, number: int, rows: SoftmaxRows, columns: slice, gradient: Tensor) -> None:  # noqa: ARG002  # one part
        """Add a slice of the vocabulary."""
        factor = OuterProductSum(self._padded(rows.inputs), self._padded(gradient), with_bias=self._bias)
        self.products += outer_table(factor, Layout(self._responses))

    def _padded(self, values: Tensor) -> Tensor:
        """Rows of each response, filled up with zeros."""
        if self._longest * self._responses == len(values):
            return values.reshape(self._responses, self._longest, -1)
        padded = values.new_zeros(self._responses, self._longest, values.shape[1])
        padded[self._index, self._place.to(self._index.device)] = values
        return padded


class HeadBias:
    """Collects the per-response gradients of a head's bias, where it cannot be treated as one with the weight.

    Args:
        head: what the head got.

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
