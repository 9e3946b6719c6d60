"""Per-response gradients of a pass, kept as their factors: multiplied with updates that are known only later.

An optimizer decides on its update after the backward pass, when all gradients are there. What a pass saw is kept until
then, in a fraction of the memory that the gradients themselves would take.
"""

from collections import Counter
from collections.abc import Sequence

from jaxtyping import Float, Float64
from torch import Tensor, nn

from preflens.gram.blocks import Breakdown
from preflens.gram.capture.forward import Forward
from preflens.gram.factors.factors import Factor, Materialized, OnDemand, OuterProductSum, ParameterGroup
from preflens.gram.factors.layout import Layout, layout_of
from preflens.gram.factors.scored_rows import SCORES, pinned, score_once
from preflens.gram.factors.storage import bytes_of, compact
from preflens.gram.products.along_updates import RowSlice, formed_sliced_inner_products, sliced_inner_products
from preflens.gram.products.modes import PairMode
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
        module: whose parameters with `requires_grad` are differentiated; left as it was found.
        forward: runs the module and returns one number per response, the chosen responses first; or a `HeadInput`.
        pin: make them outlast a change of the parameters: what would be computed again from them is copied or formed.
        dropout: allow active dropout, for the gradients of one draw of it.
        check: audit the first answer for this module and these parameters against autograd.

    Returns:
        The gradients at the parameters' present values; unless pinned, to be used before these change.
    """

    def make(owners: Owners) -> PerResponseGradients:
        return PerResponseGradients(owners, equal_inputs=not dropout, pin=pin)

    return settled_pass(module, forward, make, lambda kept: kept.streamed, dropout=dropout, check=check)


class PerResponseGradients:
    """The gradients of the responses of one pass. A reader of that pass first.

    Args:
        owners: of the model's parameters.
        equal_inputs: whether equal tokens give equal activations: not under dropout.
        pin: whether the gradients are to outlast a change of the parameters.
        later: leave products of large gradients open: they come cheaper when these meet an update.

    Attributes:
        owners: of the model's parameters.
        streamed: the products within pairs, reduced in the pass but for those that are `open`.
        factors: of each parameter (or weight and bias together), the parts of its gradient; a head's apart.
        head_parameters: weight and bias of the head where they are differentiated.
        open: gradients whose products within pairs are still to be found.
        taken: bytes of the factors, as they come.
    """

    def __init__(self, owners: Owners, *, equal_inputs: bool, pin: bool, later: bool = False) -> None:
        self._later = later
        self.open: dict[ParameterGroup, OuterProductSum] = {}
        self.owners, self._equal_inputs, self._pin = owners, equal_inputs, pin
        self._layout = Layout(0)
        # Not the head itself: its hidden states hold the graph, which holds the taps, which hold this object.
        self.head_parameters: tuple[nn.Parameter | None, nn.Parameter | None] = (None, None)
        self._scores: Float[Tensor, "scored_token vocab"] | None = None
        self.streamed = GramAccumulator(owners, PairMode, equal_inputs=equal_inputs)
        self.factors: dict[ParameterGroup, list[Factor]] = {}
        self.taken = 0.0

    @property
    def logps(self) -> Float64[Tensor, " response"]:
        """What was differentiated, nats."""
        return self.streamed.logps

    @property
    def bytes(self) -> int:
        """How much memory the kept parts take."""
        rows = [] if self.streamed.head_rows is None else [self.streamed.head_rows]
        scores = 0 if self._scores is None else self._scores.numel() * self._scores.element_size()
        return scores + sum(map(bytes_of, [*rows, *(f for parts in self.factors.values() for f in parts)]))

    def begin(self, outcome: Float[Tensor, " response"] | HeadInput) -> None:
        """Settle the layout."""
        self.streamed.begin(outcome)
        if isinstance(outcome, HeadInput):
            self._layout = layout_of(outcome.responses, outcome.rows, equal_inputs=self._equal_inputs)
        else:
            self._layout = Layout(len(outcome))

    def head(self, head: HeadInput) -> tuple[Float64[Tensor, " response"], Float[Tensor, "scored_token in"]]:
        """Score the head; the gradients of its scores are kept where they are few, else computed again when wanted."""
        return self.head_with(head, send_back=True)

    def head_with(
        self, head: HeadInput, *, send_back: bool
    ) -> tuple[Float64[Tensor, " response"], Float[Tensor, "scored_token in"]]:
        """Score the head; the gradient of the hidden rows is computed only if it is to be sent back."""
        self.head_parameters = (self.owners.own(head.weight), self.owners.own(head.bias))
        scored = score_once(head) if len(head.hidden) * len(head.weight) <= SCORES else None
        result = self.streamed.head_with(head, lambda *_: None, weights=None, scored=scored, send_back=send_back)
        self._scores = None if scored is None or self.streamed.head_rows is None else scored[1]
        if self._pin and self._scores is None and self.streamed.head_rows is not None:
            self.streamed.head_rows = pinned(self.streamed.head_rows)
        return result

    def take(self, module: nn.Module, claims: list[LayerGradients]) -> None:
        """Reduce and keep the claims of a module."""
        own, now = self.owners.parameters[module], []
        uses = Counter(claim.parameters for claim in claims)
        for claim in claims:
            key = tuple(own[name] for name in claim.parameters)
            factor = compact(claim.factor, self._layout)
            formed = self._pin and isinstance(factor, OnDemand)
            kept = Materialized(factor.dense()) if formed else factor
            self.factors.setdefault(key, []).append(kept)
            self.taken += bytes_of(kept)
            alone = uses[claim.parameters] == 1 and self.owners.single.issuperset(key)
            if self._later and alone and isinstance(factor, OuterProductSum):
                self.open[key] = factor
            else:
                now.append(claim)
        self.streamed.take(module, now)

    def settle(self, key: ParameterGroup, products: Float64[Tensor, "three pair"]) -> None:
        """Take products within pairs that were open, of the gradients as they came by."""
        del self.open[key]
        self.streamed.add(key, products)

    def finish(self) -> None:
        """Reduce what several modules own."""
        self.streamed.finish()

    def pair_gram(self, *, by: Breakdown | None = None) -> PairGram:
        """Return the 2×2 gradient Gram of each pair.

        Args:
            by: `layer` or `module` for a leading block axis.

        Returns:
            The geometry of each pair.
        """
        for key, factor in list(self.open.items()):
            self.settle(key, PairMode(Layout(factor.grads.shape[0])).own(factor))
        shape = (3, len(self.logps) // 2)
        found, names = self.owners.grouped(self.streamed.products, by, shape=shape)
        return PairGram.from_products(found, names)

    def along_head(
        self, parameter: nn.Parameter, here: RowSlice, updates: Sequence[Tensor]
    ) -> Float64[Tensor, "update response"]:
        """Multiply the head's gradients with updates of some rows of its weight or its bias."""
        rows = self.streamed.head_rows
        assert rows is not None
        gradient = rows.gradient_at(here) if self._scores is None else self._scores[:, here]
        weight = parameter is self.head_parameters[0]
        if weight and len(updates) > 1:
            return formed_sliced_inner_products(rows, gradient, updates)
        return sliced_inner_products(rows, gradient, [(u, None) if weight else (None, u) for u in updates])

    def unscaled(self, changes: Float64[Tensor, "update response"]) -> Float64[Tensor, "update response"]:
        """Take off what the gradients came multiplied by, where they are those of a training step."""
        by = self.streamed.coefficients
        return changes if by is None else changes / by
