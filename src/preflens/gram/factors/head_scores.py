"""The input of an output head: selections of its scored rows, and the scores of parts of the vocabulary."""

from dataclasses import replace
from types import EllipsisType

import torch
from jaxtyping import Float, Int
from torch import Tensor

from preflens.gram.factors.precision import widen
from preflens.types import HeadInput


def taken(head: HeadInput, rows: slice | Int[Tensor, " selected"]) -> HeadInput:
    """Select some of the scored rows.

    Args:
        head: input of the head.
        rows: slice or indices.

    Returns:
        The input with those rows only.
    """
    return replace(head, hidden=head.hidden[rows], targets=head.targets[rows], response_index=head.response_index[rows])


def row_bounds(head: HeadInput) -> list[int]:
    """Return the index at which the rows of each response start, and the number of rows.

    Args:
        head: input of the head.

    Returns:
        One number more than there are responses.
    """
    ends: list[int] = torch.bincount(head.response_index, minlength=head.responses).cumsum(0).tolist()
    return [0, *ends]


def detached(head: HeadInput) -> HeadInput:
    """Detach the input of a head from its graph.

    Args:
        head: with a graph.

    Returns:
        The same without.
    """
    bias = None if head.bias is None else head.bias.detach()
    return replace(head, hidden=head.hidden.detach(), weight=head.weight.detach(), bias=bias)


def scores_of(
    head: HeadInput, columns: slice | EllipsisType | Tensor
) -> tuple[Float[Tensor, "row some_vocab"], Tensor | None]:
    """Score a part of the vocabulary.

    Args:
        head: input of the head.
        columns: the part.

    Returns:
        z, and the slope ∂z/∂(W h + b) where it is not 1.
    """
    bias = None if head.bias is None else head.bias[columns]
    (scores,) = widen(torch.nn.functional.linear(head.hidden.to(head.weight.dtype), head.weight[columns], bias))
    if head.scale != 1:
        scores = scores.mul_(head.scale)
    if head.soft_cap is None:
        return scores, (None if head.scale == 1 else scores.new_full((), head.scale))
    squashed = scores.div_(head.soft_cap).tanh_()
    return squashed * head.soft_cap, head.scale * (1 - squashed.square())
