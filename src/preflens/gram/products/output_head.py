"""The pass through an output head: log-probs, and the gradient that it sends back to the hidden rows."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from preflens.gram.factors.head_scores import detached, taken
from preflens.gram.factors.scored_rows import SCORES, SoftmaxRows, score_once, softmax_rows
from preflens.types import HeadInput

ScoredRowNumbers = Int[Tensor, " _"]  # indices of scored rows
Scored = tuple[SoftmaxRows, Tensor]  # rows, and u for the whole vocabulary (see `SoftmaxRows`)
# Receives the number of a part, its rows, a slice of the vocabulary, and u there.
Visit = Callable[[int, SoftmaxRows, slice, Tensor], None]


@dataclass(frozen=True)
class HeadPass:
    """The result of a pass through a head.

    Attributes:
        rows: scored rows.
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
    """Score rows part by part, give the score gradients to a visitor, and compute the gradient of the hidden rows.

    Args:
        head: input of the head.
        visit: receives the score gradients of each part, a slice of the vocabulary at a time.
        parts: indices of the rows that are scored together, every row in one part; None for a single part.
        weights: of the log-probs in the sum that is differentiated; None for 1. The visitor gets the score gradients
            without them.
        scored: the rows and u for the whole vocabulary, where they are known already.
        send_back: whether to compute the gradient of the hidden rows; else it is zero.

    Returns:
        The scored rows and the gradient of their hidden states.
    """
    cut = detached(head)
    everything = torch.arange(len(cut.hidden), device=cut.hidden.device)
    hidden_gradient = torch.zeros_like(cut.hidden)
    normalizer, target_score = torch.empty(2, len(cut.hidden), dtype=torch.float64, device=cut.hidden.device)
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
    if scored is not None and len(part) == len(cut.hidden):  # one part: all rows in their order
        return scored[0], iter([(everything, scored[1])])
    if scored is not None:
        return scored[0].take(part), iter([(everything, scored[1][part])])
    head = taken(cut, part)
    if len(part) * len(cut.weight) <= SCORES:
        rows, gradient = score_once(head)
        return rows, iter([(everything, gradient)])
    rows = softmax_rows(head)
    return rows, rows.gradients()
