"""Compact forms of gradient factors for storage, and their concatenation over passes."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from preflens.gram.factors.factors import EmbeddingRows, Factor, GradientTerm, Materialized, OnDemand, OuterProductSum
from preflens.gram.factors.layout import Layout
from preflens.gram.factors.scored_rows import SoftmaxRows


def compact(factor: Factor, layout: Layout) -> Factor:
    """Cut off rows that carry no gradient, and form gradients that are smaller than their factors.

    Args:
        factor: the gradients.
        layout: of their pass.

    Returns:
        The same gradients.
    """
    if isinstance(factor, OuterProductSum):
        layout = layout.narrowed(factor.grads)
        inputs, grads = layout.cut(factor.inputs), layout.cut(factor.grads)
        cut = OuterProductSum(inputs, grads, factor.input_first, factor.with_bias)
        d_in, d_out = inputs.shape[2], grads.shape[2]
        return Materialized(cut.dense()) if d_in * d_out < inputs.shape[1] * (d_in + d_out) else cut
    if isinstance(factor, EmbeddingRows):
        return EmbeddingRows(layout.cut(factor.ids), layout.cut(factor.grads), factor.entries)
    return factor


def tensors_of(term: GradientTerm) -> list[Tensor]:
    """Return the tensors of a gradient term that take memory; a head shares its weight with the model.

    Args:
        term: the term.

    Returns:
        Its tensors.
    """
    if isinstance(term, SoftmaxRows):
        return [term.head.hidden]
    return [v for v in vars(term).values() if isinstance(v, Tensor)]


def bytes_of(term: GradientTerm) -> int:
    """Return the memory that a gradient term takes.

    Args:
        term: the term.

    Returns:
        Bytes.
    """
    return sum(t.numel() * t.element_size() for t in tensors_of(term))


def join_responses(
    passes: Sequence[Sequence[GradientTerm]], responses: Sequence[int], *, numel: int
) -> list[GradientTerm]:
    """Concatenate the terms of a parameter's gradient over passes.

    Args:
        passes: the terms of each pass.
        responses: number of responses of each pass.
        numel: number of entries of the gradient of one response.

    Returns:
        Terms over all responses, in the order of the passes.
    """
    kinds = {tuple(_kind(term) for term in terms) for terms in passes}
    if len(kinds) == 1:
        return [_join([terms[k] for terms in passes], responses) for k in range(len(passes[0]))]
    like = next(term for terms in passes for term in terms)
    dense = [_dense(terms, count, numel, like=like) for terms, count in zip(passes, responses, strict=True)]
    return [Materialized(torch.cat(dense))]


def _kind(term: GradientTerm) -> object:
    return (OuterProductSum, term.input_first, term.with_bias) if isinstance(term, OuterProductSum) else type(term)


def _dense(terms: Sequence[GradientTerm], responses: int, numel: int, *, like: GradientTerm) -> Tensor:
    if terms:
        return torch.stack([term.dense() for term in terms]).sum(0)
    return like.dense().new_zeros(responses, numel)


def _join(terms: Sequence[GradientTerm], responses: Sequence[int]) -> GradientTerm:
    first = terms[0]
    if isinstance(first, OuterProductSum):
        inputs, grads = (_padded([getattr(u, name) for u in terms]) for name in ("inputs", "grads"))
        return OuterProductSum(inputs, grads, first.input_first, first.with_bias)
    if isinstance(first, EmbeddingRows):
        ids, grads = (_padded([getattr(u, name) for u in terms]) for name in ("ids", "grads"))
        return EmbeddingRows(ids, grads, first.entries)
    if isinstance(first, SoftmaxRows):
        return _join_rows([u for u in terms if isinstance(u, SoftmaxRows)], responses)
    if isinstance(first, OnDemand):
        owners = [(term, i) for term, count in zip(terms, responses, strict=True) for i in range(count)]
        return OnDemand(len(owners), lambda i: owners[i][0].gradient(owners[i][1]))  # type: ignore[union-attr]  # all of one kind
    return Materialized(torch.cat([u.dense() for u in terms]))


def _padded(parts: Sequence[Tensor]) -> Tensor:
    """One tensor after the other, filled up with rows of zeros; a zero gradient adds nothing."""
    rows = max(p.shape[1] for p in parts)
    return torch.cat([pad(p, (*(0, 0) * (p.ndim - 2), 0, rows - p.shape[1])) for p in parts])


def _join_rows(terms: Sequence[SoftmaxRows], responses: Sequence[int]) -> SoftmaxRows:
    starts = torch.tensor([0, *responses]).cumsum(0).tolist()
    head = replace(
        terms[0].head,
        hidden=torch.cat([u.head.hidden for u in terms]),
        targets=torch.cat([u.head.targets for u in terms]),
        response_index=torch.cat([u.head.response_index + start for u, start in zip(terms, starts, strict=False)]),
        responses=starts[-1],
        rows=None,
    )
    normalizer, target_score = (torch.cat([getattr(u, n) for u in terms]) for n in ("normalizer", "target_score"))
    return SoftmaxRows(head, normalizer, target_score)
