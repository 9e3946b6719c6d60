"""Gradients of all responses, formed a part of a parameter at a time."""

from collections.abc import Iterator, Sequence
from types import EllipsisType

import torch
from jaxtyping import Float
from torch import Tensor, nn

from preflens.gram.factors.factors import EmbeddingRows, Materialized, OnDemand, OuterProductSum
from preflens.gram.products.along_updates import RowSlice, parts_of
from preflens.gram.readers.first_order_changes import groups_of_passes
from preflens.gram.readers.stored_gradients import PerResponseGradients

# Numbers of a part, over all responses: 128 MB of float32.
_NUMBERS = 1 << 25

Part = tuple[nn.Parameter, RowSlice, list[Float[Tensor, "response numel"]]]


def gradient_parts(kept: Sequence[PerResponseGradients], *, whole: bool = False) -> Iterator[Part]:
    """Form the gradients of all responses of several passes, some rows of one parameter at a time.

    Together the parts are every trainable parameter, each number once, so that linear maps of gradients (weighted
    sums, an optimizer's update entry by entry, inner products) can be computed without any whole gradient.

    Args:
        kept: gradients of passes over the same parameters, of passes of their own (not of a training step).
        whole: yield every parameter in one part.

    Yields:
        The parameter; which of its rows; for each pass the gradients there, flattened in the parameter's layout.
    """
    entries = _NUMBERS // max(1, sum(len(each.logps) for each in kept))
    for key in groups_of_passes(kept):
        factors = [factor for each in kept for factor in each.factors.get(key, [])]
        if any(isinstance(factor, OnDemand) for factor in factors):
            yield from _whole(kept, key)
            continue
        offset = 0
        for parameter in key:
            for rows in [...] if whole else parts_of(parameter, entries=entries):
                yield parameter, rows, [_formed(each, key, parameter, rows, offset) for each in kept]
            offset += parameter.numel()


def _whole(kept: Sequence[PerResponseGradients], key: tuple[nn.Parameter, ...]) -> Iterator[Part]:
    """Parameters some of whose gradients are computed only as a whole."""
    sizes = [p.numel() for p in key]
    found = [
        torch.stack([factor.dense() for factor in factors]).sum(0).split(sizes, dim=1)
        if (factors := each.factors.get(key, []))
        else [p.new_zeros(len(each.logps), p.numel()) for p in key]
        for each in kept
    ]
    for number, parameter in enumerate(key):
        parts = [of_pass[number] for of_pass in found]
        yield parameter, ..., [part + _head(each, parameter, ...) for part, each in zip(parts, kept, strict=True)]


def _formed(
    kept: PerResponseGradients, key: tuple[nn.Parameter, ...], parameter: nn.Parameter, rows: RowSlice, offset: int
) -> Float[Tensor, "response numel"]:
    factors = [factor for factor in kept.factors.get(key, []) if not isinstance(factor, OnDemand)]
    parts = [_of_factor(factor, parameter, rows, offset) for factor in factors]
    if not parts or _scores_with(kept, parameter):
        parts.append(_head(kept, parameter, rows))
    return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)


def _scores_with(kept: PerResponseGradients, parameter: nn.Parameter) -> bool:
    return kept.accumulator.head_rows is not None and any(parameter is own for own in kept.head_parameters)


def _of_factor(
    factor: OuterProductSum | EmbeddingRows | Materialized, parameter: nn.Parameter, rows: RowSlice, offset: int
) -> Float[Tensor, "response numel"]:
    if isinstance(factor, Materialized):
        start, count = _place(parameter, rows)
        return factor.values[:, offset + start : offset + start + count]
    if isinstance(factor, EmbeddingRows):
        return _looked_up(factor, rows)
    if offset:
        return factor.grads.sum(1)[:, rows]
    one, other = (factor.inputs, factor.grads) if factor.input_first else (factor.grads, factor.inputs)
    return torch.bmm(one[:, :, rows].mT, other).flatten(1)


def _place(parameter: nn.Parameter, rows: RowSlice) -> tuple[int, int]:
    """Where some rows of a flattened parameter begin, and how many numbers they have."""
    if isinstance(rows, EllipsisType):
        return 0, parameter.numel()
    width = parameter[0].numel()
    return rows.start * width, (rows.stop - rows.start) * width


def _looked_up(factor: EmbeddingRows, rows: RowSlice) -> Float[Tensor, "response numel"]:
    start, stop = (0, factor.entries) if isinstance(rows, EllipsisType) else (rows.start, rows.stop)
    responses, places = ((factor.ids >= start) & (factor.ids < stop)).nonzero(as_tuple=True)
    ids, grads = factor.ids[responses, places] - start, factor.grads[responses, places]
    table = factor.grads.new_zeros(len(factor.ids), stop - start, factor.grads.shape[2])
    return table.index_put_((responses, ids), grads, accumulate=True).flatten(1)


def _head(kept: PerResponseGradients, parameter: nn.Parameter, rows: RowSlice) -> Float[Tensor, "response numel"]:
    """The gradients of a head's weight or bias; zero for a parameter of no head."""
    scored = kept.accumulator.head_rows
    if scored is None or not _scores_with(kept, parameter):
        _, count = _place(parameter, rows)
        return torch.zeros(len(kept.logps), count, dtype=parameter.dtype, device=parameter.device)
    gradient = kept.score_gradient(rows)
    if parameter is not kept.head_parameters[0]:
        total = gradient.new_zeros(len(kept.logps), gradient.shape[1])
        return total.index_add_(0, scored.head.response_index, gradient)
    return scored.formed(gradient)
