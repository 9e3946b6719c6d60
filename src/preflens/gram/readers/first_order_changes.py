"""First-order changes of log-probs under updates that become known a few rows of a parameter at a time."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from preflens.gram.factors.factors import OnDemand, ParameterGroup
from preflens.gram.products.along_updates import RowSlice, inner_products_with_updates, partial_inner_products, parts_of
from preflens.gram.readers.stored_gradients import PerResponseGradients

# The updates of some rows of one parameter: one tensor per update.
UpdatesOf = Callable[[nn.Parameter, RowSlice], Sequence[Tensor]]


def changes_along_updates(
    gradients: Sequence[PerResponseGradients], updates_of: UpdatesOf, *, directions: int
) -> list[Float64[Tensor, "update response"]]:
    """Multiply the gradients of several passes with updates, some rows of one parameter at a time.

    Args:
        gradients: of passes over the same parameters.
        updates_of: computes the updates of some rows of a parameter, in their shape. It is called once for each, so
            the update of one large parameter never has to exist as a whole.
        directions: number of updates that it returns.

    Returns:
        For each pass ⟨∇a_i, update⟩, the first-order change of every log-prob, in nats per unit of the updates.
    """
    sums = [_ChangeSum(each, directions) for each in gradients]
    for group in groups_of_passes(gradients):
        if any(isinstance(factor, OnDemand) for each in gradients for factor in each.factors.get(group, [])):
            updates_of_group = [updates_of(parameter, ...) for parameter in group]
            for total in sums:
                total.add_whole(group, updates_of_group)
            continue
        offset = 0
        for parameter in group:
            for rows in parts_of(parameter):
                updates = updates_of(parameter, rows)
                for total in sums:
                    total.add_rows(group, parameter, rows, updates, offset=offset)
            offset += parameter.numel()
    return [total.result() for total in sums]


class _ChangeSum:
    """Accumulates the changes of one pass. Gradients of a head carry no coefficients, so they are added separately."""

    def __init__(self, gradients: PerResponseGradients, directions: int) -> None:
        self._gradients = gradients
        logps = gradients.logps
        self._below_head = torch.zeros(directions, len(logps), dtype=torch.float64, device=logps.device)
        self._head = torch.zeros_like(self._below_head)
        self._products = {group: self._below_head.new_zeros(3, len(logps) // 2) for group in gradients.pending}

    def add_whole(self, group: ParameterGroup, updates_of_group: Sequence[Sequence[Tensor]]) -> None:
        """Add whole parameters, where a gradient is computed only as a whole."""
        self._products.pop(group, None)
        for factor in self._gradients.factors.get(group, []):
            updates = list(zip(*updates_of_group, strict=True))
            self._below_head += inner_products_with_updates(factor, updates)
        for parameter, of_parameter in zip(group, updates_of_group, strict=True):
            for rows in parts_of(parameter):
                self._add_head(parameter, rows, [u[rows] for u in of_parameter])

    def add_rows(
        self,
        group: ParameterGroup,
        parameter: nn.Parameter,
        rows: RowSlice,
        updates: Sequence[Tensor],
        *,
        offset: int,
    ) -> None:
        """Add some rows of a parameter."""
        for factor in self._gradients.factors.get(group, []):
            assert not isinstance(factor, OnDemand)
            products = self._products.get(group)
            self._below_head += partial_inner_products(factor, rows, updates, offset=offset, products=products)
        self._add_head(parameter, rows, updates)

    def _add_head(self, parameter: nn.Parameter, rows: RowSlice, updates: Sequence[Tensor]) -> None:
        if any(parameter is p for p in self._gradients.head_parameters):
            self._head += self._gradients.head_inner_products(parameter, rows, updates)

    def result(self) -> Float64[Tensor, "update response"]:
        """Return the sum; pending within-pair products are computed in the same sweep."""
        for group, products in self._products.items():
            self._gradients.resolve_pending(group, products)
        return self._gradients.without_coefficients(self._below_head) + self._head


def groups_of_passes(gradients: Sequence[PerResponseGradients]) -> list[ParameterGroup]:
    """Return every parameter once: groups that are kept together, then heads that nothing else uses.

    Args:
        gradients: of passes over the same parameters.

    Returns:
        The groups.
    """
    groups = dict.fromkeys(group for each in gradients for group in each.factors)
    covered = {p for group in groups for p in group}
    heads = dict.fromkeys(p for each in gradients for p in each.head_parameters if p is not None and p not in covered)
    return [*groups, *((p,) for p in heads)]
