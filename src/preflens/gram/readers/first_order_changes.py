"""First-order changes of log-probs under updates that become known a part of a parameter at a time."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from preflens.gram.factors.factors import OnDemand, ParameterGroup
from preflens.gram.products.along_updates import RowSlice, inner_products_with_updates, partial_inner_products, parts_of
from preflens.gram.readers.stored_gradients import PerResponseGradients

# What is to be multiplied with: for some rows of one parameter, one tensor a direction.
UpdatesOf = Callable[[nn.Parameter, RowSlice], Sequence[Tensor]]


def changes_along_updates(
    kept: Sequence[PerResponseGradients], updates_of: UpdatesOf, *, directions: int
) -> list[Float64[Tensor, "update response"]]:
    """Multiply the gradients of several passes with updates, some rows of one parameter at a time.

    Args:
        kept: gradients of passes over the same parameters.
        updates_of: makes the updates of some rows of a parameter, in their shape; asked once for each, so that not even
            the update of one large parameter has to exist.
        directions: how many updates it makes.

    Returns:
        For each pass ⟨∇a_i, update⟩, the first-order change of every log-prob; nats for each unit of the updates.
    """
    sums = [_Sum(each, directions) for each in kept]
    for key in _keys(kept):
        if any(isinstance(factor, OnDemand) for each in kept for factor in each.factors.get(key, [])):
            made = [updates_of(parameter, ...) for parameter in key]
            for total in sums:
                total.add_whole(key, made)
            continue
        offset = 0
        for parameter in key:
            for rows in parts_of(parameter):
                updates = updates_of(parameter, rows)
                for total in sums:
                    total.add_part(key, parameter, rows, updates, offset=offset)
            offset += parameter.numel()
    return [total.result() for total in sums]


class _Sum:
    """What the gradients of one pass add up to. Those of a head come without the coefficients of a training step."""

    def __init__(self, kept: PerResponseGradients, directions: int) -> None:
        self._kept = kept
        self._below = torch.zeros(directions, len(kept.logps), dtype=torch.float64, device=kept.logps.device)
        self._head = torch.zeros_like(self._below)
        pairs = len(kept.logps) // 2
        self._products = {key: self._below.new_zeros(3, pairs) for key in kept.open}

    def add_whole(self, key: ParameterGroup, made: Sequence[Sequence[Tensor]]) -> None:
        """Add whole parameters, where a gradient is computed only as a whole."""
        self._products.pop(key, None)
        for factor in self._kept.factors.get(key, []):
            self._below += inner_products_with_updates(factor, list(zip(*made, strict=True)))
        for parameter, updates in zip(key, made, strict=True):
            for rows in parts_of(parameter):
                self._add_head(parameter, rows, [u[rows] for u in updates])

    def add_part(
        self, key: ParameterGroup, parameter: nn.Parameter, rows: RowSlice, updates: Sequence[Tensor], *, offset: int
    ) -> None:
        """Add some rows of a parameter."""
        for factor in self._kept.factors.get(key, []):
            assert not isinstance(factor, OnDemand)
            products = self._products.get(key)
            self._below += partial_inner_products(factor, rows, updates, offset=offset, products=products)
        self._add_head(parameter, rows, updates)

    def _add_head(self, parameter: nn.Parameter, rows: RowSlice, updates: Sequence[Tensor]) -> None:
        if any(parameter is own for own in self._kept.head_parameters):
            self._head += self._kept.along_head(parameter, rows, updates)

    def result(self) -> Float64[Tensor, "update response"]:
        """Return the sum; products within pairs that were open are found by the way."""
        for key, products in self._products.items():
            self._kept.settle(key, products)
        return self._kept.unscaled(self._below) + self._head


def _keys(kept: Sequence[PerResponseGradients]) -> list[ParameterGroup]:
    """Every parameter once: those that are treated together, and heads that nothing else uses."""
    keys = dict.fromkeys(key for k in kept for key in k.factors)
    covered = {p for key in keys for p in key}
    heads = dict.fromkeys(p for k in kept for p in k.head_parameters if p is not None and p not in covered)
    return [*keys, *((p,) for p in heads)]
