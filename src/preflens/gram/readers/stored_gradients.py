"""Per-response gradients of one pass, stored as factors so that updates that are known only later can use them.

An optimizer decides on its update after the backward pass. Until then the gradients are kept as factors, in a fraction
of the memory that the gradients themselves would take.
"""

from collections import Counter
from collections.abc import Sequence

from jaxtyping import Float, Float64
from torch import Tensor, nn

from preflens.gram.blocks import Breakdown
from preflens.gram.capture.forward import Forward, ForwardOutput
from preflens.gram.factors.factors import Factor, Materialized, OnDemand, OuterProductSum, ParameterGroup
from preflens.gram.factors.layout import Layout
from preflens.gram.factors.scored_rows import SCORES, pinned, score_once
from preflens.gram.factors.storage import bytes_of, compact
from preflens.gram.products.along_updates import RowSlice, formed_sliced_inner_products, sliced_inner_products
from preflens.gram.products.modes import PairMode
from preflens.gram.products.output_head import HeadPass
from preflens.gram.readers.owners import Owners
from preflens.gram.readers.placement import settled_pass
from preflens.gram.readers.single_pass import GramAccumulator
from preflens.gram.rules import LayerGradients
from preflens.types import HeadInput, PairGram


def per_response_gradients(
    module: nn.Module, forward: Forward, *, pin: bool = False, dropout: bool = False, check: bool = True
) -> "PerResponseGradients":
    """Run one forward and one activation-only backward pass and keep the per-response gradients.

    Args:
        module: its parameters with `requires_grad` are differentiated. It is left unchanged.
        forward: runs the module and returns one number per response, chosen responses first; or a `HeadInput`.
        pin: keep the gradients valid when parameters change: copy or form what would be recomputed from them.
        dropout: allow active dropout; the gradients are then those of one draw.
        check: audit the first result for this module and these parameters against autograd.

    Returns:
        The gradients at the present values of the parameters. Unless pinned, use them before these change.
    """

    def make(owners: Owners) -> PerResponseGradients:
        return PerResponseGradients(owners, equal_inputs=not dropout, pin=pin)

    return settled_pass(module, forward, make, lambda gradients: gradients.accumulator, dropout=dropout, check=check)


class PerResponseGradients:
    """The gradients of the responses of one pass, as factors; a consumer of that pass.

    Args:
        owners: of the model's parameters.
        equal_inputs: whether equal tokens give equal activations, which dropout prevents.
        pin: whether the gradients stay valid when parameters change.
        later: postpone within-pair products of large gradients, which are cheaper together with an update.

    Attributes:
        owners: of the model's parameters.
        accumulator: within-pair products of all gradients that are not in `pending`.
        factors: for each parameter (or weight and bias together), the terms of its gradient without those of a head.
        head_parameters: weight and bias of the head where they are trainable.
        pending: gradients whose within-pair products are not computed yet.
        taken: bytes of the factors so far.
    """

    def __init__(self, owners: Owners, *, equal_inputs: bool, pin: bool, later: bool = False) -> None:
        self.owners, self._equal_inputs, self._pin, self._later = owners, equal_inputs, pin, later
        self._layout = Layout(0)
        # Not the head itself: its hidden states hold the graph, which holds the taps, which hold this object.
        self.head_parameters: tuple[nn.Parameter | None, nn.Parameter | None] = (None, None)
        self._scores: Float[Tensor, "scored_token vocab"] | None = None
        self.accumulator = GramAccumulator(owners, PairMode, equal_inputs=equal_inputs)
        self.factors: dict[ParameterGroup, list[Factor]] = {}
        self.pending: dict[ParameterGroup, OuterProductSum] = {}
        self.taken = 0.0

    @property
    def logps(self) -> Float64[Tensor, " response"]:
        """Log-probs that were differentiated, nats."""
        return self.accumulator.logps

    @property
    def bytes(self) -> int:
        """Memory of the stored factors."""
        rows = [] if self.accumulator.head_rows is None else [self.accumulator.head_rows]
        scores = 0 if self._scores is None else self._scores.numel() * self._scores.element_size()
        return scores + sum(map(bytes_of, [*rows, *(f for parts in self.factors.values() for f in parts)]))

    def on_forward(self, output: ForwardOutput) -> None:
        """Derive the layout."""
        self.accumulator.on_forward(output)
        self._layout = output.layout(equal_inputs=self._equal_inputs)

    def score_head(self, head: HeadInput) -> HeadPass:
        """Score the head; keep its score gradients where they are few, else compute them again later."""
        return self.score_head_with(head, send_back=True)

    def score_head_with(self, head: HeadInput, *, send_back: bool) -> HeadPass:
        """Score the head; compute the gradient of the hidden rows only if it is sent back."""
        self.head_parameters = (self.owners.trainable(head.weight), self.owners.trainable(head.bias))
        scored = score_once(head) if len(head.hidden) * len(head.weight) <= SCORES else None
        accumulator = self.accumulator
        result = accumulator.score_head_with(head, lambda *_: None, weights=None, scored=scored, send_back=send_back)
        self._scores = None if scored is None or accumulator.head_rows is None else scored[1]
        if self._pin and self._scores is None and accumulator.head_rows is not None:
            accumulator.head_rows = pinned(accumulator.head_rows)
        return result

    def on_module(self, module: nn.Module, gradients: list[LayerGradients]) -> None:
        """Store the gradients of a module, and accumulate their products or postpone them."""
        parameters, now = self.owners.parameters[module], []
        counts = Counter(part.parameters for part in gradients)
        for part in gradients:
            group = tuple(parameters[name] for name in part.parameters)
            factor = compact(part.factor, self._layout)
            formed = self._pin and isinstance(factor, OnDemand)
            stored = Materialized(factor.dense()) if formed else factor
            self.factors.setdefault(group, []).append(stored)
            self.taken += bytes_of(stored)
            alone = counts[part.parameters] == 1 and self.owners.single.issuperset(group)
            if self._later and alone and isinstance(factor, OuterProductSum):
                self.pending[group] = factor
            else:
                now.append(part)
        self.accumulator.on_module(module, now)

    def resolve_pending(self, group: ParameterGroup, products: Float64[Tensor, "three pair"]) -> None:
        """Add the within-pair products of a pending gradient, which may carry coefficients."""
        del self.pending[group]
        self.accumulator.add(group, products)

    def on_end(self) -> None:
        """Add the products of parameters that several modules share."""
        self.accumulator.on_end()

    def pair_gram(self, *, by: Breakdown | None = None) -> PairGram:
        """Return the 2×2 gradient Gram of each pair.

        Args:
            by: `layer` or `module` for a leading block axis.

        Returns:
            The Gram of each pair.
        """
        for group, factor in list(self.pending.items()):
            self.resolve_pending(group, PairMode(Layout(factor.grads.shape[0])).own(factor))
        products, names = self.owners.grouped(self.accumulator.products, by, shape=(3, len(self.logps) // 2))
        return PairGram.from_products(products, names)

    def head_inner_products(
        self, parameter: nn.Parameter, rows: RowSlice, updates: Sequence[Tensor]
    ) -> Float64[Tensor, "update response"]:
        """Multiply the head's gradients with updates of some rows of its weight or its bias."""
        scored = self.accumulator.head_rows
        assert scored is not None
        gradient = self.score_gradient(rows)
        is_weight = parameter is self.head_parameters[0]
        if is_weight and len(updates) > 1:
            return formed_sliced_inner_products(scored, gradient, updates)
        return sliced_inner_products(scored, gradient, [(u, None) if is_weight else (None, u) for u in updates])

    def score_gradient(self, rows: RowSlice) -> Float[Tensor, "scored_token some_vocab"]:
        """Return u, the gradient of the head's scores, at a slice of the vocabulary."""
        scored = self.accumulator.head_rows
        assert scored is not None
        return scored.gradient_at(rows) if self._scores is None else self._scores[:, rows]

    def without_coefficients(self, changes: Float64[Tensor, "update response"]) -> Float64[Tensor, "update response"]:
        """Divide changes by the coefficients that the gradients of a training step carry."""
        coefficients = self.accumulator.coefficients
        return changes if coefficients is None else changes / coefficients
