"""Weighted sums of the gradients of responses, from the factors they are kept as: one product a parameter."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from preflens.gram.factors.factors import EmbeddingRows, Factor, Materialized, OuterProductSum
from preflens.gram.factors.scored_rows import SoftmaxRows


def weighted_sum(factor: Factor, weights: Float[Tensor, " response"], key: tuple[nn.Parameter, ...]) -> list[Tensor]:
    """Form Σ_i w_i ∇_i.

    Args:
        factor: the gradients.
        weights: w.
        key: the parameters they are over.

    Returns:
        One tensor a parameter, in its shape.
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
    parts = flat.split([p.numel() for p in key])
    return [part.reshape(p.shape) for part, p in zip(parts, key, strict=True)]


def weighted_head(
    rows: SoftmaxRows, slices: Iterable[tuple[slice, Tensor]], weights: Float[Tensor, " response"]
) -> Float[Tensor, "vocab in"]:
    """Form Σ_i w_i ∇_i of a head's weight: Σ_t w_{i(t)} u_t ⊗ h_t.

    Args:
        rows: scored.
        slices: of the vocabulary, with u there.
        weights: w.

    Returns:
        The gradient of the weight.
    """
    inputs = rows.inputs * weights.to(rows.inputs)[rows.head.response_index, None]
    total = inputs.new_empty(rows.head.weight.shape)
    for here, gradient in slices:
        torch.mm(gradient.T, inputs, out=total[here])
    return total


def _outer(factor: OuterProductSum, weights: Float[Tensor, " response"]) -> list[Tensor]:
    """Weights go to whichever is narrower, unless the bias is wanted too, which is made of output gradients."""
    inputs, grads, by = factor.inputs, factor.grads, weights.to(factor.grads)[:, None, None]
    if factor.with_bias or grads.shape[2] <= inputs.shape[2]:
        grads = grads * by
    else:
        inputs = inputs * by
    x, d = inputs.flatten(0, 1), grads.flatten(0, 1)
    weight = x.T @ d if factor.input_first else d.T @ x
    return [weight, d.sum(0)] if factor.with_bias else [weight]
