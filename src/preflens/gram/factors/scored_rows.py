"""Scored rows of an output head: log-probs, and gradients of the scores for any slice of the vocabulary.

The gradient of log softmax at its target is (one-hot − p). Scores are formed for scored rows only and, where there are
many, a slice of the vocabulary at a time, so the whole [token, vocab] matrix of a batch never exists.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from types import EllipsisType

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from preflens.gram.factors.head_scores import detached, row_bounds, scores_of, taken
from preflens.gram.factors.precision import widen
from preflens.types import HeadInput

# Scores held at a time: 256 MB of float32.
SCORES = 1 << 26
# Scores of a slice of the vocabulary that are used once: they stay in a cache, and their memory is used again.
_SLICE = 1 << 21
_NARROWEST = 1 << 12


@dataclass(frozen=True)
class SoftmaxRows:
    """Scored rows of a head, whose score gradients can be computed again at any time.

    The per-response gradient of the head's weight is Σ_t u_t ⊗ h_t, and of its bias Σ_t u_t, with u the gradient of a
    response's log-prob with respect to W h + b.

    Attributes:
        head: input of the head, detached from the graph.
        normalizer: log Σ_v exp z[v] of each row.
        target_score: z[y] of each row.
    """

    head: HeadInput
    normalizer: Float[Tensor, " scored_token"]
    target_score: Float[Tensor, " scored_token"]

    @cached_property
    def bounds(self) -> list[int]:
        """Index at which the rows of each response start, and the number of rows."""
        return row_bounds(self.head)

    @property
    def inputs(self) -> Float[Tensor, "scored_token in"]:
        """The hidden states h, in a type that sums can be formed in."""
        return widen(self.head.hidden)[0]

    def logps(self) -> Float64[Tensor, " response"]:
        """Return the log-prob of each response, nats."""
        logps = self.normalizer.new_zeros(self.head.responses, dtype=torch.float64)
        return logps.index_add(0, self.head.response_index, (self.target_score - self.normalizer).double())

    def take(self, rows: Int[Tensor, " selected"]) -> "SoftmaxRows":
        """Return some of the rows."""
        return SoftmaxRows(taken(self.head, rows), self.normalizer[rows], self.target_score[rows])

    def gradients(self) -> Iterator[tuple[slice, Float[Tensor, "scored_token some_vocab"]]]:
        """Yield slices of the vocabulary with u for all rows."""
        vocabulary, width = len(self.head.weight), max(1, SCORES // max(1, len(self.head.hidden)))
        for start in range(0, vocabulary, width):
            columns = slice(start, min(start + width, vocabulary))
            yield columns, self.gradient_at(columns)

    def gradient_at(self, columns: slice | EllipsisType) -> Float[Tensor, "scored_token some_vocab"]:
        """Return u for a slice of the vocabulary."""
        ids = torch.arange(len(self.head.weight), device=self.normalizer.device)[columns]
        return self._gradient(columns, ids)

    def dense(self) -> Float[Tensor, "response numel"]:
        """Return the gradients of the head's weight, flattened."""
        inputs, index = self.inputs, self.head.response_index
        weights = inputs.new_zeros(self.head.responses, *self.head.weight.shape)
        for columns, gradient in self.gradients():
            for response in range(self.head.responses):
                rows = index == response
                weights[response, columns] = gradient[rows].T @ inputs[rows]
        return weights.flatten(1)

    def formed(self, gradient: Float[Tensor, "scored_token some_vocab"]) -> Float[Tensor, "response numel"]:
        """Return the gradients of the head's weight at a slice of the vocabulary, flattened; u there is given."""
        inputs, bounds = self.inputs, list(pairwise(self.bounds))
        whole = inputs.new_empty(len(bounds), gradient.shape[1], inputs.shape[1])
        for (start, end), block in zip(bounds, whole, strict=True):
            torch.mm(gradient[start:end].T, inputs[start:end], out=block)
        return whole.flatten(1)

    def columns(self, ids: Int[Tensor, " column"]) -> Float[Tensor, "scored_token column"]:
        """Return u for single entries of the vocabulary."""
        return self._gradient(ids, ids)

    def _gradient(self, columns: slice | EllipsisType | Tensor, ids: Int[Tensor, " column"]) -> Tensor:
        scores, slope = scores_of(self.head, columns)
        return _score_gradient(scores, slope, self.normalizer, self.head.targets[:, None] == ids)


def softmax_rows(head: HeadInput) -> SoftmaxRows:
    """Score rows and normalize them, a slice of the vocabulary at a time.

    Args:
        head: input of the head.

    Returns:
        The scored rows.
    """
    cut, vocabulary = detached(head), len(head.weight)
    width = min(vocabulary, max(_NARROWEST, _SLICE // max(1, len(head.hidden))))
    normalizers, targets = [], []
    for start in range(0, len(head.hidden), max(1, SCORES // width)):
        part = taken(cut, slice(start, start + max(1, SCORES // width)))
        slices = [_scored_slice(part, slice(k, min(k + width, vocabulary))) for k in range(0, vocabulary, width)]
        normalizers.append(torch.stack([normalizer for normalizer, _ in slices]).logsumexp(0))
        targets.append(torch.stack([target for _, target in slices]).sum(0))
    return SoftmaxRows(cut, torch.cat(normalizers), torch.cat(targets))


def _scored_slice(head: HeadInput, columns: slice) -> tuple[Tensor, Tensor]:
    """Log Σ exp z over a slice of the vocabulary, and z of the targets in it, 0 for the other targets."""
    scores, _ = scores_of(head, columns)
    position = head.targets - columns.start
    inside = (position >= 0) & (position < scores.shape[1])
    target = scores.gather(1, position.clamp(0, scores.shape[1] - 1)[:, None]).squeeze(1)
    # A slice may be ruled out as a whole: scores of -inf, of which none is a peak to subtract.
    peak = scores.amax(1, keepdim=True).clamp_(min=torch.finfo(scores.dtype).min)
    total = scores.sub_(peak).exp_().sum(1, keepdim=True)  # in place: another matrix as large costs more than sums
    return (peak + total.log()).squeeze(1), target.where(inside, 0)


def score_once(head: HeadInput) -> tuple[SoftmaxRows, Float[Tensor, "scored_token vocab"]]:
    """Score rows and differentiate the scores, with the whole vocabulary in memory.

    Args:
        head: input of the head; few enough rows to hold their scores.

    Returns:
        The scored rows, and u for the whole vocabulary.
    """
    cut = detached(head)
    scores, slope = scores_of(cut, slice(None))
    targets = head.targets[:, None]
    target_score = scores.gather(1, targets)
    # In place, where a softmax would write another matrix as large.
    peak = scores.amax(1, keepdim=True)
    gradient = scores.sub_(peak).exp_()
    total = gradient.sum(1, keepdim=True)
    rows = SoftmaxRows(cut, (peak + total.log()).squeeze(1), target_score.squeeze(1))
    gradient.div_(total.neg_())
    gradient.scatter_add_(1, targets, gradient.new_ones(targets.shape))
    return rows, gradient if slope is None else gradient.mul_(slope)


def head_logps(head: HeadInput) -> Float[Tensor, " response"]:
    """Compute log-probs with a graph, all scores at once.

    Args:
        head: input of the head.

    Returns:
        The log-prob of each response, nats.
    """
    (scores,) = widen(torch.nn.functional.linear(head.hidden, head.weight, head.bias))
    scores = head.scale * scores
    if head.soft_cap is not None:
        scores = head.soft_cap * torch.tanh(scores / head.soft_cap)
    token_logps = scores.gather(1, head.targets[:, None]).squeeze(1) - scores.logsumexp(1)
    logps: Tensor = token_logps.new_zeros(head.responses).index_add(0, head.response_index, token_logps)
    return logps


def pinned(rows: SoftmaxRows) -> SoftmaxRows:
    """Copy the head's parameters, so that the rows stay valid when these change.

    Args:
        rows: scored rows.

    Returns:
        The same with copies.
    """
    bias = None if rows.head.bias is None else rows.head.bias.clone()
    return replace(rows, head=replace(rows.head, weight=rows.head.weight.clone(), bias=bias))


def _score_gradient(scores: Tensor, slope: Tensor | None, normalizer: Tensor, hit: Bool[Tensor, "row col"]) -> Tensor:
    gradient = scores.sub_(normalizer[:, None]).exp_().neg_().add_(hit)
    return gradient if slope is None else gradient.mul_(slope)
