"""Weighted sums of per-response gradients, computed from their factors with one product per parameter."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from preflens.gram.factors.factors import EmbeddingRows, Factor, Materialized, OuterProductSum, ParameterGroup
from preflens.gram.factors.scored_rows import SoftmaxRows


def weighted_sum(factor: Factor, weights: Float[Tensor, " response"], group: ParameterGroup) -> list[Tensor]:
    """Form Σ_i w_i ∇_i.

    Args:
        factor: the gradients.
        weights: w.
        group: the parameters of these gradients.

    Returns:
        One tensor per parameter, in its shape.
    """
    if isinstance(factor, OuterProductSum):
        return _outer(factor, weights)
    if isinstance(factor, EmbeddingRows):
        grads = factor.scaled(weights).grads
        table = grads.new_zeros(factor.entries, grads.shape[2])
        return [table.index_add_(0, factor.ids.flatten(), grads.flatten(0, 1))]
    if isinstance(factor, Materialized):
        flat = weights.to(factor.values) @ factor.values
    else:
        flat = torch.stack([w * factor.gradient(i) for i, w in enumerate(weights.tolist()) if w]).sum(0)
    parts = flat.split([p.numel() for p in group])
    return [part.reshape(p.shape) for part, p in zip(parts, group, strict=True)]


def weighted_head(
    rows: SoftmaxRows, slices: Iterable[tuple[slice, Tensor]], weights: Float[Tensor, " response"]
) -> Float[Tensor, "vocab in"]:
    """Form Σ_i w_i ∇_i of a head's weight: Σ_t w_{i(t)} u_t ⊗ h_t.

    Args:
        rows: scored rows.
        slices: slices of the vocabulary, each with u there.
        weights: w.

    Returns:
        The gradient of the weight.
    """
    inputs = rows.inputs * weights.to(rows.inputs)[rows.head.response_index, None]
    total = inputs.new_empty(rows.head.weight.shape)
    for columns, gradient in slices:
        torch.mm(gradient.T, inputs, out=total[columns])
    return total


def _outer(factor: OuterProductSum, weights: Float[Tensor, " response"]) -> list[Tensor]:
    """Scale the narrower factor; with a bias, always the output gradients, of which the bias is a sum."""
    inputs, grads, by = factor.inputs, factor.grads, weights.to(factor.grads)[:, None, None]
    if factor.with_bias or grads.shape[2] <= inputs.shape[2]:
        grads = grads * by
    else:
        inputs = inputs * by
    x, d = inputs.flatten(0, 1), grads.flatten(0, 1)
    weight = x.T @ d if factor.input_first else d.T @ x
    return [weight, d.sum(0)] if factor.with_bias else [weight]
