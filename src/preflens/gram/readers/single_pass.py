"""Products read off a single pass: every module's part is reduced as soon as it is there, then forgotten."""

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from preflens.gram.factors.factors import GradientTerm, Materialized, ParameterGroup
from preflens.gram.factors.layout import Layout, layout_of
from preflens.gram.factors.scored_rows import SoftmaxRows
from preflens.gram.products.modes import Mode, PairMode, products_of
from preflens.gram.products.output_head import HeadBias, Scored, Visit, head_pass
from preflens.gram.readers.owners import Owners
from preflens.gram.rules import LayerGradients
from preflens.types import HeadInput


class GramAccumulator:
    """Reads products off a pass.

    Args:
        owners: of the parameters.
        mode: what is asked.
        equal_inputs: whether equal tokens give equal activations: not under dropout.

    Attributes:
        owners: of the parameters.
        products: one tensor a block of `owners.blocks`, None where nothing was claimed.
        logps: what was differentiated.
        claimed: parameters whose gradients are in the products.
        coefficients: what the gradients come multiplied by; None in a pass of our own, where it is 1.
        head_rows: scored rows of a head; None where there was none, or it is not differentiated.
    """

    def __init__(self, owners: Owners, mode: type[Mode], *, equal_inputs: bool) -> None:
        self.owners, self._equal_inputs = owners, equal_inputs
        self._mode: Mode = mode(Layout(0))
        self._shared: dict[ParameterGroup, list[GradientTerm]] = {}
        self.products: list[Tensor | None] = [None] * len(owners.blocks)
        self.logps: Float64[Tensor, " response"] = torch.zeros(0, dtype=torch.float64)
        self.claimed: set[nn.Parameter] = set()
        self.coefficients: Float64[Tensor, " response"] | None = None
        self.head_rows: SoftmaxRows | None = None

    def begin(self, outcome: Float[Tensor, " response"] | HeadInput) -> None:
        """Settle the layout."""
        if isinstance(outcome, HeadInput):
            layout = layout_of(outcome.responses, outcome.rows, equal_inputs=self._equal_inputs)
        else:
            layout, self.logps = Layout(len(outcome)), outcome.detach().double()
        self._mode = type(self._mode)(layout)

    def head(self, head: HeadInput) -> tuple[Float64[Tensor, " response"], Float[Tensor, "scored_token in"]]:
        """Score the head; the products of its weight are collected meanwhile."""
        return self.head_with(head, lambda *_: None, weights=None)

    def head_with(
        self,
        head: HeadInput,
        also: Visit,
        *,
        weights: Float[Tensor, " response"] | None,
        scored: Scored | None = None,
        send_back: bool = True,
    ) -> tuple[Float64[Tensor, " response"], Float[Tensor, "scored_token in"]]:
        """Score the head while somebody else looks on, for a weighted sum of the log-probs."""
        weight, bias = (self.owners.own(p) for p in (head.weight, head.bias))
        folded = weight is not None and bias is not None and {weight, bias} <= self.owners.single
        collector = self._mode.head(head, bias=folded)
        alone = HeadBias(head) if bias is not None and not folded else None
        visitors = [also, *([collector.visit] if weight is not None else []), *([alone.visit] if alone else [])]

        def visit(number: int, rows: SoftmaxRows, here: slice, gradient: Tensor) -> None:
            for each in visitors:
                each(number, rows, here, gradient)

        found = head_pass(head, collector.parts(), visit, weights=weights, scored=scored, send_back=send_back)
        self.head_rows = found.rows if weight is not None or bias is not None else None
        if weight is not None:
            self._add((weight, bias) if folded and bias is not None else (weight,), collector.products)
            self._shared.setdefault((weight,), []).append(found.rows)
        if alone is not None and bias is not None:
            self._add((bias,), self._mode.own(Materialized(alone.values)))
        self.logps = found.rows.logps()
        return self.logps, found.hidden_gradient

    def take(self, module: nn.Module, claims: list[LayerGradients]) -> None:
        """Reduce what belongs to this module alone; keep what others own too."""
        own = self.owners.parameters[module]
        by_key: dict[ParameterGroup, list[GradientTerm]] = {}
        for claim in claims:
            by_key.setdefault(tuple(own[name] for name in claim.parameters), []).append(claim.factor)
        for key, uses in by_key.items():
            if not self.owners.single.issuperset(key):
                self._shared.setdefault(key, []).extend(self._as_gradients(use) for use in uses)
                continue
            self.add(key, products_of(uses, self._mode))

    def add(self, key: ParameterGroup, products: Tensor) -> None:
        """Add products of gradients as they came by."""
        by = self.coefficients
        self._add(key, products if by is None else self._mode.unscaled(products, by))

    def finish(self) -> None:
        """Reduce what several modules own."""
        for key, uses in self._shared.items():
            if not all(isinstance(u, SoftmaxRows) for u in uses):
                self._add(key, products_of(uses, self._mode))
        self._shared.clear()

    def first_pair(self, block: int) -> Float64[Tensor, "2 2"]:
        """Return the products of the first pair in one block."""
        products = self.products[block]
        assert products is not None
        if isinstance(self._mode, PairMode):
            ww, ll, wl = products[:, 0]
            return torch.stack([ww, wl, wl, ll]).reshape(2, 2)
        rows = torch.tensor([0, len(products) // 2], device=products.device)
        return products[rows][:, rows]

    def _as_gradients(self, use: GradientTerm) -> GradientTerm:
        """The same without the numbers that it came multiplied by."""
        if self.coefficients is None or isinstance(use, SoftmaxRows):
            return use
        return use.scaled(self.coefficients.reciprocal())

    def _add(self, key: ParameterGroup, products: Tensor) -> None:
        self.claimed.update(key)
        block = self.owners.block_of[key[0]]
        before = self.products[block]
        self.products[block] = products if before is None else before + products
