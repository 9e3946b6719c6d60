"""Inner products of every response's gradient with parameter updates: the exact first-order change of its log-prob.

Whatever an update is made of (a plain gradient step, what AdamW is about to do, the difference of two checkpoints), the
log-prob of response i changes by ⟨∇a_i, update⟩ to first order. One activation-only backward pass, and one matrix
product a weight, give it for all responses without their gradients.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from preflens.errors import InputError
from preflens.gram.capture.forward import Forward
from preflens.gram.factors.factors import Factor, OuterProductSum
from preflens.gram.factors.layout import Layout, layout_of
from preflens.gram.factors.scored_rows import SoftmaxRows
from preflens.gram.products.along_updates import ParameterUpdate, inner_products_with_updates, sliced_inner_products
from preflens.gram.products.output_head import head_pass
from preflens.gram.readers.backward import run_pass
from preflens.gram.readers.owners import Owners
from preflens.gram.readers.placement import with_settled_owners
from preflens.gram.rules import LayerGradients
from preflens.types import HeadInput


def directional_derivatives(
    module: nn.Module,
    forward: Forward,
    updates: Sequence[ParameterUpdate],
    *,
    dropout: bool = False,
    check: bool = True,
) -> Float64[Tensor, "update response"]:
    """Compute ⟨∇a_i, update⟩ for every response and every update.

    Args:
        module: whose parameters with `requires_grad` the updates are for; left as it was found.
        forward: runs the module and returns one number per response, the chosen responses first; or a `HeadInput`.
        updates: one or more; each holds one tensor a trainable parameter, in the order of `module.parameters()`.
        dropout: allow active dropout, for one draw of it.
        check: audit the first answer for this module and these parameters against autograd.

    Returns:
        First-order change of each log-prob, nats for each unit that the updates are scaled in.

    Raises:
        InputError: an update does not fit the trainable parameters.

    Example:
        >>> import torch
        >>> linear = torch.nn.Linear(2, 1, bias=False)
        >>> x = torch.tensor([[1.0, 0.0], [3.0, 4.0]])
        >>> directional(linear, lambda: linear(x).squeeze(1), [[torch.tensor([[0.1, 1.0]])]]).round(decimals=4).tolist()
        [[0.1, 4.3]]
    """
    by_parameter = [_by_parameter(module, update) for update in updates]

    def run(owners: Owners) -> Float64[Tensor, "update response"]:
        reader = DirectionalDerivatives(owners, by_parameter, equal_inputs=not dropout)
        run_pass(owners, forward, reader)
        return reader.changes

    return with_settled_owners(module, [forward], run, dropout=dropout, check=check)


class DirectionalDerivatives:
    """Reads inner products with updates off a pass.

    Args:
        owners: of the parameters.
        updates: of each, the tensor for each parameter.
        equal_inputs: whether equal tokens give equal activations.

    Attributes:
        changes: one row an update.
    """

    def __init__(self, owners: Owners, updates: Sequence[dict[nn.Parameter, Tensor]], *, equal_inputs: bool) -> None:
        self._owners, self._updates, self._equal_inputs = owners, updates, equal_inputs
        self._layout = Layout(0)
        self.changes: Float64[Tensor, "update response"] = torch.zeros(len(updates), 0, dtype=torch.float64)

    def begin(self, outcome: Float[Tensor, " response"] | HeadInput) -> None:
        """Settle the layout."""
        if isinstance(outcome, HeadInput):
            self._layout = layout_of(outcome.responses, outcome.rows, equal_inputs=self._equal_inputs)
            device = outcome.hidden.device
        else:
            self._layout, device = Layout(len(outcome)), outcome.device
        self.changes = torch.zeros(len(self._updates), self._layout.responses, dtype=torch.float64, device=device)

    def head(self, head: HeadInput) -> tuple[Float64[Tensor, " response"], Float[Tensor, "scored_token in"]]:
        """Score the head and move its scores along the updates."""
        own = [self._owners.own(p) for p in (head.weight, head.bias)]
        updates = [[None if p is None else update[p] for p in own] for update in self._updates]

        def visit(number: int, rows: SoftmaxRows, here: slice, gradient: Tensor) -> None:  # noqa: ARG001  # one part
            there = [[None if u is None else u[here] for u in update] for update in updates]
            self.changes += sliced_inner_products(rows, gradient, there)

        everything = torch.arange(len(head.hidden), device=head.hidden.device)
        nothing = own[0] is None and own[1] is None
        found = head_pass(head, [everything], (lambda *_: None) if nothing else visit)
        return found.rows.logps(), found.hidden_gradient

    def take(self, module: nn.Module, claims: list[LayerGradients]) -> None:
        """Add the inner products of a module's gradients."""
        own = self._owners.parameters[module]
        for claim in claims:
            updates = [[update[own[name]] for name in claim.parameters] for update in self._updates]
            self.changes += inner_products_with_updates(_cut(claim.factor, self._layout), updates)

    def finish(self) -> None:
        """Everything is added up already."""


def _cut(factor: Factor, layout: Layout) -> Factor:
    if isinstance(factor, OuterProductSum):
        return OuterProductSum(
            layout.cut(factor.inputs), layout.cut(factor.grads), factor.input_first, factor.with_bias
        )
    return factor


def _by_parameter(module: nn.Module, update: ParameterUpdate) -> dict[nn.Parameter, Tensor]:
    parameters = [p for p in module.parameters() if p.requires_grad]
    shapes = [tuple(u.shape) for u in update]
    if shapes != [tuple(p.shape) for p in parameters]:
        raise InputError(
            f"An update should hold one tensor for each of the {len(parameters)} trainable parameters, of its shape, "
            f"in the order of `module.parameters()`. Found {len(shapes)} tensors."
        )
    return dict(zip(parameters, update, strict=True))
