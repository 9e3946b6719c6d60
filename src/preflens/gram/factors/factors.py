"""Factors of per-response gradients: each class is one kind of sum that a gradient can be.

A module gets rows: the positions of each response. The gradient of a weight is a sum over rows of products of an output
gradient with an input, and inner products of such sums can be computed without forming them.
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
        grads: d, gradient of the sum of log-probs with respect to the output.
        input_first: whether the parameter has the shape [in, out] instead of [out, in].
        with_bias: whether the gradient of the bias, Σ_t d_it, is part of it, as if every input had one more entry 1.

    Example:
        One response with two rows; d ⊗ x of the first row is [[1, 2], [0, 0]], of the second [[0, 0], [3, 3]]:

        >>> import torch
        >>> from preflens.gram import OuterProductSum
        >>> x, d = torch.tensor([[[1.0, 2.0], [1.0, 1.0]]]), torch.tensor([[[1.0, 0.0], [0.0, 3.0]]])
        >>> OuterProductSum(x, d, with_bias=True).dense().tolist()
        [[1.0, 2.0, 3.0, 3.0, 1.0, 3.0]]
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

    def scaled(self, factors: Float[Tensor, " response"]) -> "OuterProductSum":
        """Return the gradients, each times a number."""
        return replace(self, grads=self.grads * factors.to(self.grads.dtype)[:, None, None])


@dataclass(frozen=True)
class EmbeddingRows:
    """∇_i = Σ_t e_{ids_it} ⊗ d_it: the table of an embedding.

    Attributes:
        ids: entry that each row looks up.
        grads: d, gradient of the sum of log-probs with respect to the output; zero where the entry gets none (a padding
            index).
        entries: number of entries of the table.

    Example:
        One response that looks up entry 1 of three, twice:

        >>> import torch
        >>> from preflens.gram import EmbeddingRows
        >>> EmbeddingRows(torch.tensor([[1, 1]]), torch.tensor([[[2.0], [3.0]]]), entries=3).dense().tolist()
        [[0.0, 5.0, 0.0]]
    """

    ids: Int[Tensor, "response row"]
    grads: Float[Tensor, "response row out"]
    entries: int

    def dense(self) -> Float[Tensor, "response numel"]:
        """Return the gradients, flattened."""
        count, _, width = self.grads.shape
        table = self.grads.new_zeros(count, self.entries, width)
        return table.scatter_add_(1, self.ids.unsqueeze(2).expand_as(self.grads), self.grads).flatten(1)

    def scaled(self, factors: Float[Tensor, " response"]) -> "EmbeddingRows":
        """Return the gradients, each times a number."""
        return replace(self, grads=self.grads * factors.to(self.grads.dtype)[:, None, None])


@dataclass(frozen=True)
class Materialized:
    """Gradients that are formed: biases, gains of norms.

    Attributes:
        values: the gradients, flattened in the parameter's layout.

    Example:
        >>> import torch
        >>> from preflens.gram import Materialized
        >>> Materialized(torch.tensor([[1.0, 2.0], [3.0, 4.0]])).scaled(torch.tensor([1.0, 10.0])).dense().tolist()
        [[1.0, 2.0], [30.0, 40.0]]
    """

    values: Float[Tensor, "response numel"]

    def dense(self) -> Float[Tensor, "response numel"]:
        """Return the gradients."""
        return self.values

    def scaled(self, factors: Float[Tensor, " response"]) -> "Materialized":
        """Return the gradients, each times a number."""
        return Materialized(self.values * factors.to(self.values.dtype)[:, None])


@dataclass(frozen=True)
class OnDemand:
    """Gradients that are computed one response at a time, when they are needed.

    Attributes:
        responses: number of responses.
        gradient: returns the gradient of one response, flattened.

    Example:
        >>> import torch
        >>> from preflens.gram import OnDemand
        >>> OnDemand(2, lambda response: torch.full((3,), float(response))).dense().tolist()
        [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]
    """

    responses: int
    gradient: Callable[[int], Float[Tensor, " numel"]]

    def dense(self) -> Float[Tensor, "response numel"]:
        """Return the gradients of all responses at once."""
        return torch.stack([self.gradient(i) for i in range(self.responses)])

    def scaled(self, factors: Float[Tensor, " response"]) -> "OnDemand":
        """Return the gradients, each times a number."""
        return OnDemand(self.responses, lambda i: self.gradient(i) * factors[i].item())


Factor = OuterProductSum | EmbeddingRows | Materialized | OnDemand
# A term of a parameter's per-response gradient; a parameter that is used several times has several.
GradientTerm = Factor | SoftmaxRows
# Parameters whose gradients are kept together: one, or the weight and the bias of one module.
ParameterGroup = tuple[nn.Parameter, ...]
