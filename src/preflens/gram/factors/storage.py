"""Factors made small enough to be kept."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from preflens.gram.factors.factors import EmbeddingRows, Factor, GradientTerm, Materialized, OnDemand, OuterProductSum
from preflens.gram.factors.layout import Layout
from preflens.gram.factors.scored_rows import SoftmaxRows


def compact(factor: Factor, layout: Layout) -> Factor:
    """Cut off rows that carry no gradient, and form gradients that are smaller than what they are made of.

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


def tensors_of(use: GradientTerm) -> list[Tensor]:
    """Return what a part of a gradient is kept as.

    Args:
        use: the part.

    Returns:
        Its tensors.
    """
    if isinstance(use, SoftmaxRows):
        return [use.head.hidden]
    return [v for v in vars(use).values() if isinstance(v, Tensor)]


def bytes_of(use: GradientTerm) -> int:
    """Return the memory that a part of a gradient takes.

    Args:
        use: the part.

    Returns:
        Bytes.
    """
    return sum(t.numel() * t.element_size() for t in tensors_of(use))


def join_responses(
    passes: Sequence[Sequence[GradientTerm]], responses: Sequence[int], *, numel: int
) -> list[GradientTerm]:
    """Join the parts of a parameter's gradient over passes.

    Args:
        passes: the parts each pass found.
        responses: how many responses each pass had.
        numel: numbers in the gradient of one response.

    Returns:
        Parts over all responses, in the order of the passes.
    """
    kinds = {tuple(_kind(use) for use in uses) for uses in passes}
    if len(kinds) == 1:
        return [_join([uses[k] for uses in passes], responses) for k in range(len(passes[0]))]
    like = next(use for uses in passes for use in uses)
    whole = [_dense(uses, count, numel, like=like) for uses, count in zip(passes, responses, strict=True)]
    return [Materialized(torch.cat(whole))]


def _kind(use: GradientTerm) -> object:
    return (OuterProductSum, use.input_first, use.with_bias) if isinstance(use, OuterProductSum) else type(use)


def _dense(uses: Sequence[GradientTerm], responses: int, numel: int, *, like: GradientTerm) -> Tensor:
    if uses:
        return torch.stack([use.dense() for use in uses]).sum(0)
    return like.dense().new_zeros(responses, numel)


def _join(uses: Sequence[GradientTerm], responses: Sequence[int]) -> GradientTerm:
    first = uses[0]
    if isinstance(first, OuterProductSum):
        inputs, grads = (_padded([getattr(u, name) for u in uses]) for name in ("inputs", "grads"))
        return OuterProductSum(inputs, grads, first.input_first, first.with_bias)
    if isinstance(first, EmbeddingRows):
        ids, grads = (_padded([getattr(u, name) for u in uses]) for name in ("ids", "grads"))
        return EmbeddingRows(ids, grads, first.entries)
    if isinstance(first, SoftmaxRows):
        return _join_rows([u for u in uses if isinstance(u, SoftmaxRows)], responses)
    if isinstance(first, OnDemand):
        owners = [(use, i) for use, count in zip(uses, responses, strict=True) for i in range(count)]
        return OnDemand(len(owners), lambda i: owners[i][0].gradient(owners[i][1]))  # type: ignore[union-attr]  # all of one kind
    return Materialized(torch.cat([u.dense() for u in uses]))


def _padded(parts: Sequence[Tensor]) -> Tensor:
    """One after the other, with rows of zeros where there are fewer; a zero gradient adds nothing."""
    rows = max(p.shape[1] for p in parts)
    return torch.cat([pad(p, (*(0, 0) * (p.ndim - 2), 0, rows - p.shape[1])) for p in parts])


def _join_rows(uses: Sequence[SoftmaxRows], responses: Sequence[int]) -> SoftmaxRows:
    starts = torch.tensor([0, *responses]).cumsum(0).tolist()
    head = replace(
        uses[0].head,
        hidden=torch.cat([u.head.hidden for u in uses]),
        targets=torch.cat([u.head.targets for u in uses]),
        response_index=torch.cat([u.head.response_index + start for u, start in zip(uses, starts, strict=False)]),
        responses=starts[-1],
        rows=None,
    )
    normalizer, target_score = (torch.cat([getattr(u, n) for u in uses]) for n in ("normalizer", "target_score"))
    return SoftmaxRows(head, normalizer, target_score)
