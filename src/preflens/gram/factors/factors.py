"""Per-response gradients of a parameter, kept as the factors they are made of.

A module sees rows: the positions of each response. What reaches a weight is a sum over rows of products of an output
gradient with an input, and inner products of such sums need not form them. Each class here is one kind of sum.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from preflens.gram.factors.scored_rows import SoftmaxRows


@dataclass(frozen=True)
class OuterProductSum:
    """∇_i = Σ_t d_it ⊗ x_it: the weight of a linear map.

    Attributes:
        inputs: x.
        grads: d, gradient of the differentiated number with respect to the output.
        input_first: the parameter has the shape [in, out], not [out, in].
        with_bias: the bias Σ_t d_it belongs to it: as if every input had one more entry, which is 1.
    """

    inputs: Float[Tensor, "response row in"]
    grads: Float[Tensor, "response row out"]
    input_first: bool = False
    with_bias: bool = False

    def dense(self) -> Float[Tensor, "response numel"]:
        """Return the gradients in the parameter's layout, flattened; the bias, if any, comes last."""
        left, right = (self.inputs, self.grads) if self.input_first else (self.grads, self.inputs)
        weight = torch.bmm(left.mT, right).flatten(1)
        return torch.cat([weight, self.grads.sum(1)], 1) if self.with_bias else weight

    def scaled(self, by: Float[Tensor, " response"]) -> "OuterProductSum":
        """Return the gradients, each times a number."""
        return replace(self, grads=self.grads * by.to(self.grads.dtype)[:, None, None])


@dataclass(frozen=True)
class EmbeddingRows:
    """∇_i = Σ_t e_{ids_it} ⊗ d_it: a table that rows are looked up in.

    Attributes:
        ids: which entry each row takes.
        grads: d; zero where the entry gets no gradient (a padding index).
        entries: how many there are.
    """

    ids: Int[Tensor, "response row"]
    grads: Float[Tensor, "response row out"]
    entries: int

    def dense(self) -> Float[Tensor, "response numel"]:
        """Return the gradients, flattened."""
        count, _, width = self.grads.shape
        table = self.grads.new_zeros(count, self.entries, width)
        return table.scatter_add_(1, self.ids.unsqueeze(2).expand_as(self.grads), self.grads).flatten(1)

    def scaled(self, by: Float[Tensor, " response"]) -> "EmbeddingRows":
        """Return the gradients, each times a number."""
        return replace(self, grads=self.grads * by.to(self.grads.dtype)[:, None, None])


@dataclass(frozen=True)
class Materialized:
    """Gradients that are there as they are: biases, gains of norms.

    Attributes:
        values: flattened in the parameter's layout.
    """

    values: Float[Tensor, "response numel"]

    def dense(self) -> Float[Tensor, "response numel"]:
        """Return the gradients."""
        return self.values

    def scaled(self, by: Float[Tensor, " response"]) -> "Materialized":
        """Return the gradients, each times a number."""
        return Materialized(self.values * by.to(self.values.dtype)[:, None])


@dataclass(frozen=True)
class OnDemand:
    """Gradients that are computed one response at a time, when they are wanted.

    Attributes:
        responses: how many.
        gradient: of one response, flattened over the parameters in question.
    """

    responses: int
    gradient: Callable[[int], Float[Tensor, " numel"]]

    def dense(self) -> Float[Tensor, "response numel"]:
        """Return the gradients of all responses at once."""
        return torch.stack([self.gradient(i) for i in range(self.responses)])

    def scaled(self, by: Float[Tensor, " response"]) -> "OnDemand":
        """Return the gradients, each times a number."""
        return OnDemand(self.responses, lambda i: self.gradient(i) * by[i].item())


Factor = OuterProductSum | EmbeddingRows | Materialized | OnDemand

# Anything that a parameter's per-response gradient may be a sum of.
GradientTerm = Factor | SoftmaxRows
# Parameters whose gradients are kept together: one, or the weight and the bias of one module.
ParameterGroup = tuple[nn.Parameter, ...]
