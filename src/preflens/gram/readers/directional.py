"""Inner products of every response's gradient with parameter updates: the exact first-order change of its log-prob.

For any update (a gradient step, the next step of AdamW, the difference of two checkpoints) the log-prob of response i
changes by ⟨∇a_i, update⟩ to first order. One activation-only backward pass, and one matrix product per weight, give
this number for all responses without forming their gradients.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from preflens.errors import InputError
from preflens.gram.capture.forward import Forward, ForwardOutput
from preflens.gram.factors.factors import Factor, OuterProductSum
from preflens.gram.factors.layout import Layout
from preflens.gram.factors.scored_rows import SoftmaxRows
from preflens.gram.products.along_updates import ParameterUpdate, inner_products_with_updates, sliced_inner_products
from preflens.gram.products.output_head import HeadPass, head_pass
from preflens.gram.readers.backward import run_pass
from preflens.gram.readers.base import HeadParameters
from preflens.gram.readers.owners import Owners
from preflens.gram.readers.placement import with_settled_owners
from preflens.gram.rules import LayerGradients, LayerRules
from preflens.types import HeadInput


def directional_derivatives(
    module: nn.Module,
    forward: Forward,
    updates: Sequence[ParameterUpdate],
    *,
    dropout: bool = False,
    check: bool = True,
    rules: LayerRules | None = None,
) -> Float64[Tensor, "update response"]:
    """Compute ⟨∇a_i, update⟩ for every response and every update.

    Args:
        module: its parameters with `requires_grad` are those that the updates are for. It is left unchanged.
        forward: runs the module and returns one number per response, chosen responses first; or a `HeadInput`.
        updates: one or more. Each holds one tensor per trainable parameter, in the order of `module.parameters()`.
        dropout: allow active dropout; the result is then that of one draw.
        check: audit the first result for this module and these parameters against autograd.
        rules: layer rules of your own, as for `pair_gram`.

    Returns:
        First-order change of each log-prob, in nats per unit of the updates.

    Raises:
        InputError: an update does not fit the trainable parameters.

    Example:
        The gradients of the two responses are their inputs, (1, 0) and (3, 4):

        >>> import torch
        >>> from preflens.gram import directional_derivatives
        >>> linear = torch.nn.Linear(2, 1, bias=False)
        >>> x = torch.tensor([[1.0, 0.0], [3.0, 4.0]])
        >>> update = [torch.tensor([[0.1, 1.0]])]
        >>> directional_derivatives(linear, lambda: linear(x).squeeze(1), [update]).round(decimals=4).tolist()
        [[0.1, 4.3]]
    """
    by_parameter = [_by_parameter(module, update) for update in updates]

    def run(owners: Owners) -> Float64[Tensor, "update response"]:
        consumer = DirectionalDerivatives(owners, by_parameter, equal_inputs=not dropout)
        run_pass(owners, forward, consumer)
        return consumer.changes

    return with_settled_owners(module, [forward], run, dropout=dropout, check=check, rules=rules)


class DirectionalDerivatives:
    """Accumulates inner products of per-response gradients with updates over the modules of one pass.

    Args:
        owners: of the parameters.
        updates: for each update, its tensor for each parameter.
        equal_inputs: whether equal tokens give equal activations, which dropout prevents.

    Attributes:
        changes: ⟨∇a_i, update⟩, one row per update.
    """

    def __init__(self, owners: Owners, updates: Sequence[dict[nn.Parameter, Tensor]], *, equal_inputs: bool) -> None:
        self._owners, self._updates, self._equal_inputs = owners, updates, equal_inputs
        self._layout = Layout(0)
        self.changes: Float64[Tensor, "update response"] = torch.zeros(len(updates), 0, dtype=torch.float64)

    def on_forward(self, output: ForwardOutput) -> None:
        """Derive the layout, and start from zero."""
        self._layout = output.layout(equal_inputs=self._equal_inputs)
        size = len(self._updates), output.responses
        self.changes = torch.zeros(*size, dtype=torch.float64, device=output.device)

    def score_head(self, head: HeadInput) -> HeadPass:
        """Score the head, and add the inner products of its gradients."""
        parameters = HeadParameters(self._owners, head)
        trained = (parameters.weight, parameters.bias)
        if trained == (None, None):
            return head_pass(head, lambda *_: None)
        updates = [[None if p is None else update[p] for p in trained] for update in self._updates]

        def visit(number: int, rows: SoftmaxRows, columns: slice, gradient: Tensor) -> None:  # noqa: ARG001  # one part
            sliced = [[None if u is None else u[columns] for u in update] for update in updates]
            self.changes += sliced_inner_products(rows, gradient, sliced)

        return head_pass(head, visit)

    def on_module(self, module: nn.Module, gradients: list[LayerGradients]) -> None:
        """Add the inner products of a module's gradients."""
        parameters = self._owners.parameters[module]
        for part in gradients:
            updates = [[update[parameters[name]] for name in part.parameters] for update in self._updates]
            self.changes += inner_products_with_updates(_cut(part.factor, self._layout), updates)

    def on_end(self) -> None:
        """Do nothing; every product is added as it arrives."""


def _cut(factor: Factor, layout: Layout) -> Factor:
    """The same gradients without rows that carry none."""
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
