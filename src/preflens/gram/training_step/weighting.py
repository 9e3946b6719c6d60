"""The Gram of all responses of one or more passes, and the gradient of their weighted sum."""

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from jaxtyping import Float64
from torch import Tensor

from preflens.errors import AuditError
from preflens.gram.factors.factors import GradientTerm, ParameterGroup
from preflens.gram.factors.scored_rows import SoftmaxRows
from preflens.gram.factors.storage import join_responses
from preflens.gram.products.weighted_sums import weighted_head, weighted_sum
from preflens.gram.readers.multi_pass import gram_of_terms
from preflens.gram.training_step.deferred import DeferredGradients
from preflens.response_order import chosen_first
from preflens.types import BatchGram

ResponseWeights = Float64[Tensor, " response"]

# How far wᵀGw and the squared norm of the gradient may differ, as a share of (Σ |w_i| ‖g_i‖)²: rounding of sums in the
# type of the activations. A gradient that is computed wrongly is off by percents.
_SAME = {torch.float64: 1e-9, torch.float32: 1e-4}
_SAME_HALF = 2e-2


def parameter_groups(passes: Sequence[DeferredGradients]) -> list[ParameterGroup]:
    """Return the parameters that have a gradient in any of the passes.

    Args:
        passes: their gradients.

    Returns:
        Groups of parameters that are kept together, each once.
    """
    return list(dict.fromkeys(group for each in passes for group in each.terms))


def accumulated_gram(passes: Sequence[DeferredGradients]) -> BatchGram:
    """Compute the Gram of all responses of one or more passes.

    Args:
        passes: their gradients.

    Returns:
        The Gram; chosen responses of all passes first.
    """
    total = sum(parameter_gram(passes, group) for group in parameter_groups(passes))
    assert isinstance(total, Tensor)
    order = chosen_first([each.responses for each in passes]).to(total.device)
    return BatchGram(total[order][:, order].cpu(), torch.zeros(len(order), dtype=torch.float64))


def parameter_gram(passes: Sequence[DeferredGradients], group: ParameterGroup) -> Float64[Tensor, "response response"]:
    """Compute the Gram of the gradients of one parameter (or of weight and bias together).

    Args:
        passes: their gradients.
        group: the parameter.

    Returns:
        The Gram of all responses, in the order of the passes.
    """
    counts = [each.responses for each in passes]
    by_pass = [each.terms.get(group, []) for each in passes]
    terms = by_pass[0] if len(passes) == 1 else join_responses(by_pass, counts, numel=sum(p.numel() for p in group))
    return gram_of_terms(terms, sum(counts), partial(_slices, passes))


def weighted_gradients(
    passes: Sequence[DeferredGradients], weights: ResponseWeights
) -> Iterator[tuple[ParameterGroup, list[Tensor]]]:
    """Form the gradient of Σ_i w_i a_i, one parameter at a time.

    Args:
        passes: their gradients.
        weights: w of all responses, in the order of the passes.

    Yields:
        Parameters that are kept together, and the gradient of each.
    """
    by_pass = weights.split([each.responses for each in passes])
    for group in parameter_groups(passes):
        parts = [_weighted(each, term, part, group) for each, part in zip(passes, by_pass, strict=True)
                 for term in each.terms.get(group, [])]  # fmt: skip
        total = parts[0]
        for more in parts[1:]:
            for into, other in zip(total, more, strict=True):
                into += other
        yield group, total


def add_to_grad(parameters: ParameterGroup, gradients: Sequence[Tensor]) -> None:
    """Add gradients to `param.grad`.

    Args:
        parameters: to whose `.grad` they are added.
        gradients: one per parameter.
    """
    for p, gradient in zip(parameters, gradients, strict=True):
        if p.grad is None:
            p.grad = gradient.to(p.dtype)
        else:
            p.grad += gradient.to(p.dtype)


def squared_norm(tensors: Sequence[Tensor]) -> float:
    """Add up the squares of some tensors, row by row.

    In float32 the norm of a large tensor, computed at once, is off by half a percent on a CPU.

    Args:
        tensors: of any shape.

    Returns:
        The squared norm of all of them together.
    """
    rows = (torch.linalg.vector_norm(torch.atleast_1d(tensor), dim=-1) for tensor in tensors)
    return sum(float(norms.double().square().sum()) for norms in rows)


def check_norm(
    squared: float, gram: Float64[Tensor, "response response"], weights: ResponseWeights, dtype: torch.dtype
) -> None:
    """Compare the squared norm of a weighted gradient with wᵀGw.

    Args:
        squared: ‖Σ w_i g_i‖², computed from the gradient.
        gram: G.
        weights: w.
        dtype: of the activations.

    Raises:
        AuditError: they differ by more than rounding.
    """
    expected = float(weights @ gram @ weights)
    scale = float((weights.abs() * gram.diagonal().clamp(min=0).sqrt()).sum()) ** 2
    if not abs(squared - expected) <= _SAME.get(dtype, _SAME_HALF) * scale:
        raise AuditError(
            f"The gradient that was put together has a squared norm of {squared:.6g}, but the Gram gives "
            f"{expected:.6g}. A module does not compute what its class promises; train without a mitigation."
        )


def _weighted(
    gradients: DeferredGradients, term: GradientTerm, weights: ResponseWeights, group: ParameterGroup
) -> list[Tensor]:
    if isinstance(term, SoftmaxRows):
        return [weighted_head(term, gradients.slices(term), weights)]
    return weighted_sum(term, weights, group)


def _slices(passes: Sequence[DeferredGradients], rows: SoftmaxRows) -> Iterator[tuple[slice, Tensor]]:
    """Score gradients of the joined rows of all passes, where every pass has kept its own."""
    scores = [each.scores for each in passes if each.scores is not None]
    if len(scores) < len(passes):
        return rows.gradients()
    return iter([(slice(0, len(rows.head.weight)), scores[0] if len(scores) == 1 else torch.cat(scores))])
