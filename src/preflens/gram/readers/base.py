"""What every consumer of per-response gradients shares: its interface, and the parameters of an output head."""

from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from preflens.gram.capture.forward import ForwardOutput
from preflens.gram.factors.factors import GradientTerm, Materialized, ParameterGroup
from preflens.gram.factors.scored_rows import SoftmaxRows
from preflens.gram.products.head_collectors import HeadBias
from preflens.gram.products.output_head import HeadPass
from preflens.gram.readers.owners import Owners
from preflens.gram.rules import LayerGradients
from preflens.types import HeadInput


@runtime_checkable
class GradientConsumer(Protocol):
    """Receives the per-response gradients of a pass."""

    def on_forward(self, output: ForwardOutput) -> None:
        """Called once, after the forward pass, with its output."""

    def score_head(self, head: HeadInput) -> HeadPass:
        """Score the rows of a head, and return the gradient of the sum of log-probs at its hidden rows.

        Called before the backward pass, where the forward pass returned a `HeadInput`.
        """

    def on_module(self, module: nn.Module, gradients: list[LayerGradients]) -> None:
        """Called once per module that the backward pass reaches, with the gradients of all of its calls."""

    def on_end(self) -> None:
        """Called once, after the backward pass."""


class HeadParameters:
    """The trainable parameters of an output head, and their per-response gradients after a pass through it.

    Args:
        owners: of the model's parameters.
        head: input of the head.

    Attributes:
        weight: the weight if it is trainable, else None.
        bias: the bias if it is trainable, else None.
    """

    def __init__(self, owners: Owners, head: HeadInput) -> None:
        self.weight, self.bias = owners.trainable(head.weight), owners.trainable(head.bias)
        self._head = head
        self._bias_gradients: HeadBias | None = None

    def visit(self, number: int, rows: SoftmaxRows, columns: slice, gradient: Tensor) -> None:
        """Add a slice of the vocabulary to the gradients of the bias (see `head_pass`)."""
        if self.bias is None:
            return
        if self._bias_gradients is None:  # as large as responses × vocabulary: not before it is needed
            self._bias_gradients = HeadBias(self._head)
        self._bias_gradients.visit(number, rows, columns, gradient)

    def bias_gradients(self) -> Materialized:
        """Return the gradients of a trainable bias, after the pass."""
        assert self._bias_gradients is not None
        return Materialized(self._bias_gradients.values)

    def terms(self, rows: SoftmaxRows) -> dict[ParameterGroup, GradientTerm]:
        """Return the gradients of weight and bias, each where it is trainable.

        Args:
            rows: scored rows of the head.

        Returns:
            One term per trainable parameter.
        """
        terms: dict[ParameterGroup, GradientTerm] = {}
        if self.weight is not None:
            terms[self.weight,] = rows
        if self.bias is not None:
            terms[self.bias,] = self.bias_gradients()
        return terms
