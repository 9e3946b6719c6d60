"""Inner products of the input rows of each pair, cached because several layers get the same input."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from preflens.gram.factors.layout import Layout

PairRows = tuple[Tensor, Tensor]  # rows of the chosen and of the rejected responses: [pair, row, features]


@dataclass(frozen=True)
class InputGrams:
    """Inner products of the input rows of each pair; leading rows that both responses share are multiplied once.

    Attributes:
        chosen: chosen rows with each other.
        cross: chosen rows with rejected rows that are not shared.
        rejected: rejected rows that are not shared, with each other.
        shared: number of shared rows.
    """

    chosen: Float[Tensor, "pair chosen_row chosen_row"]
    cross: Float[Tensor, "pair chosen_row unshared_row"]
    rejected: Float[Tensor, "pair unshared_row unshared_row"]
    shared: int


class InputGramCache:
    """Keeps the row Grams of the last input: query, key and value, or gate and up projections, get the same one."""

    def __init__(self) -> None:
        self._last: tuple[Tensor, Layout, InputGrams] | None = None

    def get(self, inputs: Tensor, layout: Layout) -> InputGrams:
        """Return the row Grams of an input.

        Args:
            inputs: [response, row, in].
            layout: of the pass.

        Returns:
            The Grams.
        """
        if not self.holds(inputs, layout):
            self._last = inputs, layout, input_grams(inputs, layout)
        assert self._last is not None
        return self._last[2]

    def holds(self, inputs: Tensor, layout: Layout) -> bool:
        """Return whether an input is the last one: the same memory, which cannot be reused while the cache holds it."""
        if self._last is None or self._last[1] != layout:
            return False
        last = self._last[0]
        return last.data_ptr() == inputs.data_ptr() and last.shape == inputs.shape and last.stride() == inputs.stride()


def input_grams(inputs: Float[Tensor, "response row in"], layout: Layout) -> InputGrams:
    """Compute the row Grams of an input.

    Args:
        inputs: input of a module.
        layout: of the pass.

    Returns:
        The Grams.
    """
    chosen, rejected = layout.sides(inputs)
    shared = layout.shared if layout.applies(inputs) else 0
    unshared = rejected[:, shared:]
    return InputGrams(row_gram(chosen, chosen), row_gram(chosen, unshared), row_gram(unshared, unshared), shared)


def row_gram(a: Tensor, b: Tensor) -> Tensor:
    """Return the inner products of two sets of rows, batch by batch.

    Args:
        a: [batch, row, features].
        b: [batch, other row, features].

    Returns:
        [batch, row, other row].
    """
    return torch.bmm(a, b.mT)
