"""The Gram of the responses of one pass: each module's products are added as soon as its gradients arrive."""

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from preflens.gram.capture.forward import ForwardOutput
from preflens.gram.factors.factors import GradientTerm, ParameterGroup
from preflens.gram.factors.layout import Layout
from preflens.gram.factors.scored_rows import SoftmaxRows
from preflens.gram.products.modes import Mode, PairMode, products_of
from preflens.gram.products.output_head import HeadPass, Scored, Visit, head_pass
from preflens.gram.readers.base import HeadParameters
from preflens.gram.readers.owners import Owners
from preflens.gram.rules import LayerGradients
from preflens.types import HeadInput


class GramAccumulator:
    """Accumulates inner products of per-response gradients over the modules of one pass.

    Args:
        owners: of the parameters.
        mode: which products: within pairs, or between all responses.
        equal_inputs: whether equal tokens give equal activations, which dropout prevents.

    Attributes:
        owners: of the parameters.
        products: one tensor per block of `owners.blocks`; None where no gradient arrived.
        logps: log-probs that were differentiated, nats.
        covered: parameters whose gradients are in the products.
        coefficients: factors that the arriving gradients carry, ∂L/∂a_i of a training step; None where they are 1.
        head_rows: scored rows of the head; None without a head, or where no parameter of it is trainable.
    """

    def __init__(self, owners: Owners, mode: type[Mode], *, equal_inputs: bool) -> None:
        self.owners, self._equal_inputs = owners, equal_inputs
        self._mode: Mode = mode(Layout(0))
        self._shared: dict[ParameterGroup, list[GradientTerm]] = {}
        self.products: list[Tensor | None] = [None] * len(owners.blocks)
        self.logps: Float64[Tensor, " response"] = torch.zeros(0, dtype=torch.float64)
        self.covered: set[nn.Parameter] = set()
        self.coefficients: Float64[Tensor, " response"] | None = None
        self.head_rows: SoftmaxRows | None = None

    def on_forward(self, output: ForwardOutput) -> None:
        """Derive the layout from the output; keep its log-probs, which a head computes later."""
        if output.head is None:
            self.logps = output.detached_logps()
        self._mode = type(self._mode)(output.layout(equal_inputs=self._equal_inputs))

    def score_head(self, head: HeadInput) -> HeadPass:
        """Score the head, and add the products of its gradients."""
        return self.score_head_with(head, lambda *_: None, weights=None)

    def score_head_with(
        self,
        head: HeadInput,
        also: Visit,
        *,
        weights: Float[Tensor, " response"] | None,
        scored: Scored | None = None,
        send_back: bool = True,
    ) -> HeadPass:
        """Score the head for a weighted sum of log-probs, with another visitor beside our own (see `head_pass`)."""
        parameters = HeadParameters(self.owners, head)
        weight, bias = parameters.weight, parameters.bias
        folded = weight is not None and bias is not None and {weight, bias} <= self.owners.single
        collector = self._mode.head(head, bias=folded)
        visitors = [also, *([] if weight is None else [collector.visit]), *([] if folded else [parameters.visit])]

        def visit(number: int, rows: SoftmaxRows, columns: slice, gradient: Tensor) -> None:
            for each in visitors:
                each(number, rows, columns, gradient)

        result = head_pass(head, visit, parts=collector.parts(), weights=weights, scored=scored, send_back=send_back)
        self.head_rows = result.rows if weight is not None or bias is not None else None
        if weight is not None:
            self._add((weight, bias) if folded and bias is not None else (weight,), collector.products)
            self._shared.setdefault((weight,), []).append(result.rows)
        if bias is not None and not folded:
            self._add((bias,), self._mode.own(parameters.bias_gradients()))
        self.logps = result.rows.logps()
        return result

    def on_module(self, module: nn.Module, gradients: list[LayerGradients]) -> None:
        """Add the products of parameters that are read off this module alone; keep the gradients of shared ones."""
        parameters = self.owners.parameters[module]
        by_group: dict[ParameterGroup, list[GradientTerm]] = {}
        for part in gradients:
            by_group.setdefault(tuple(parameters[name] for name in part.parameters), []).append(part.factor)
        for group, terms in by_group.items():
            if self.owners.single.issuperset(group):
                self.add(group, products_of(terms, self._mode))
            else:
                self._shared.setdefault(group, []).extend(self._without_coefficients(term) for term in terms)

    def add(self, group: ParameterGroup, products: Tensor) -> None:
        """Add products of gradients that carry the coefficients."""
        factors = self.coefficients
        self._add(group, products if factors is None else self._mode.unscaled(products, factors))

    def on_end(self) -> None:
        """Add the products of parameters that several modules share."""
        for group, terms in self._shared.items():
            if not all(isinstance(term, SoftmaxRows) for term in terms):
                self._add(group, products_of(terms, self._mode))
        self._shared.clear()

    def first_pair(self, block: int) -> Float64[Tensor, "2 2"]:
        """Return the Gram of the first pair in one block."""
        products = self.products[block]
        assert products is not None
        if isinstance(self._mode, PairMode):
            ww, ll, wl = products[:, 0]
            return torch.stack([ww, wl, wl, ll]).reshape(2, 2)
        rows = torch.tensor([0, len(products) // 2], device=products.device)
        return products[rows][:, rows]

    def _without_coefficients(self, term: GradientTerm) -> GradientTerm:
        """The same gradients, divided by the coefficients that they carry."""
        if self.coefficients is None or isinstance(term, SoftmaxRows):
            return term
        return term.scaled(self.coefficients.reciprocal())

    def _add(self, group: ParameterGroup, products: Tensor) -> None:
        self.covered.update(group)
        block = self.owners.block_of[group[0]]
        before = self.products[block]
        self.products[block] = products if before is None else before + products
