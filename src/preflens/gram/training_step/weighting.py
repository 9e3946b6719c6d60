"""Books of one or several passes, closed: the Gram of all of their responses, and the gradient of a weighted sum."""

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from preflens.errors import AuditError
from preflens.gram.factors.factors import GradientTerm, ParameterGroup
from preflens.gram.factors.scored_rows import SoftmaxRows
from preflens.gram.factors.storage import join_responses
from preflens.gram.products.weighted_sums import weighted_head, weighted_sum
from preflens.gram.readers.multi_pass import table_of
from preflens.gram.training_step.deferred import DeferredGradients
from preflens.types import BatchGram, chosen_first

Weights = Float64[Tensor, " response"]

# How far wᵀGw and the squared norm of the gradient may be apart, as a share of (Σ |w_i| ‖g_i‖)²: rounding of sums in
# the type of the activations. A gradient that is put together wrongly is off by percents.
_SAME = {torch.float64: 1e-9, torch.float32: 1e-4}
_SAME_HALF = 2e-2


def keys_of(books: Sequence[DeferredGradients]) -> list[ParameterGroup]:
    """Return the parameters that any of the passes brought gradients of.

    Args:
        books: of the passes.

    Returns:
        Groups of parameters that belong together, each once.
    """
    return list(dict.fromkeys(key for each in books for key in each.uses))


def accumulated_gram(books: Sequence[DeferredGradients]) -> BatchGram:
    """Multiply all responses of some passes with each other.

    Args:
        books: of the passes.

    Returns:
        The Gram; the chosen responses of all passes first, in their order.
    """
    total = sum(parameter_gram(books, key) for key in keys_of(books))
    assert isinstance(total, Tensor)
    order = chosen_first([each.responses for each in books]).to(total.device)
    return BatchGram(total[order][:, order].cpu(), torch.zeros(len(order), dtype=torch.float64))


def parameter_gram(books: Sequence[DeferredGradients], key: ParameterGroup) -> Float64[Tensor, "response response"]:
    """Multiply the gradients of one parameter (or of weight and bias together).

    Args:
        books: of the passes.
        key: the parameter.

    Returns:
        The Gram of all responses, pass by pass.
    """
    counts = [each.responses for each in books]
    passes = [each.uses.get(key, []) for each in books]
    uses = passes[0] if len(books) == 1 else join_responses(passes, counts, numel=sum(p.numel() for p in key))
    return table_of(uses, sum(counts), partial(_slices, books))


def gradients(books: Sequence[DeferredGradients], weights: Weights) -> Iterator[tuple[ParameterGroup, list[Tensor]]]:
    """Form the gradient of Σ_i w_i a_i, a parameter at a time.

    Args:
        books: of the passes.
        weights: w, of all responses pass by pass.

    Yields:
        Parameters that belong together, and the gradient of each.
    """
    parts = weights.split([each.responses for each in books])
    for key in keys_of(books):
        found = [_weighted(each, use, part, key) for each, part in zip(books, parts, strict=True)
                 for use in each.uses.get(key, [])]  # fmt: skip
        total = found[0]
        for more in found[1:]:
            for into, other in zip(total, more, strict=True):
                into += other
        yield key, total


def add_to(parameters: ParameterGroup, found: Sequence[Tensor]) -> None:
    """Add gradients to `param.grad`.

    Args:
        parameters: whose.
        found: one each.
    """
    for p, gradient in zip(parameters, found, strict=True):
        if p.grad is None:
            p.grad = gradient.to(p.dtype)
        else:
            p.grad += gradient.to(p.dtype)


def squared_norm(parts: Sequence[Tensor]) -> float:
    """Add up the squares of some tensors, row by row.

    In float32 the norm of all of a large tensor at once is off by half a percent on a CPU.

    Args:
        parts: of any shape.

    Returns:
        The squared norm of all of them together.
    """
    rows = (torch.linalg.vector_norm(torch.atleast_1d(part), dim=-1) for part in parts)
    return sum(float(norms.double().square().sum()) for norms in rows)


def check_norm(
    squared: float, gram: Float64[Tensor, "response response"], weights: Weights, dtype: torch.dtype
) -> None:
    """Compare the squared norm of a gradient with wᵀGw.

    Args:
        squared: ‖Σ w_i g_i‖², as the gradient was put together.
        gram: G.
        weights: w.
        dtype: of the activations.

    Raises:
        AuditError: they differ by more than rounding.
    """
    expected = float(weights @ gram @ weights)
    reach = float((weights.abs() * gram.diagonal().clamp(min=0).sqrt()).sum()) ** 2
    if not abs(squared - expected) <= _SAME.get(dtype, _SAME_HALF) * reach:
        raise AuditError(
            f"The gradient that was put together has a squared norm of {squared:.6g}, and the Gram says "
            f"{expected:.6g}. A module does not compute what its class promises; train without a mitigation."
        )


def _weighted(
    books: DeferredGradients, use: GradientTerm, weights: Weights, key: tuple[nn.Parameter, ...]
) -> list[Tensor]:
    if isinstance(use, SoftmaxRows):
        return [weighted_head(use, books.slices(use), weights)]
    return weighted_sum(use, weights, key)


def _slices(books: Sequence[DeferredGradients], rows: SoftmaxRows) -> Iterator[tuple[slice, Tensor]]:
    kept = [each.scores for each in books if each.scores is not None]
    if len(kept) < len(books):
        return rows.gradients()
    return iter([(slice(0, len(rows.head.weight)), kept[0] if len(kept) == 1 else torch.cat(kept))])
