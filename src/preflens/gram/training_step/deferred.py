"""A training step whose weights of responses are known only after its backward pass.

The backward pass is over activations alone and brings the gradient of every response unweighted. What it meets is kept
as factors; their Gram decides on the weights, and one weighted product a parameter then gives the gradient of the step.
Nothing is run twice.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from preflens.gram.capture.forward import ForwardOutput, count_responses
from preflens.gram.capture.restoring import frozen
from preflens.gram.capture.taps import TapState, taps
from preflens.gram.factors.factors import GradientTerm, Materialized, ParameterGroup
from preflens.gram.factors.layout import Layout, layout_of
from preflens.gram.factors.scored_rows import SoftmaxRows, softmax_rows
from preflens.gram.factors.storage import compact
from preflens.gram.products.modes import PairMode
from preflens.gram.products.output_head import HeadBias, HeadPass, Scored, head_pass
from preflens.gram.readers.backward import Collector
from preflens.gram.readers.owners import Owners, drops, find_owners
from preflens.gram.readers.single_pass import GramAccumulator
from preflens.gram.rules import LayerGradients
from preflens.types import HeadInput, PairGram


@contextmanager
def defer_weighting(module: nn.Module, *, pairs: bool) -> "Iterator[DeferredGradients]":
    """Let one forward and one backward pass of a training step bring gradients of single responses.

    Inside, parameters are frozen, so the pass writes to no `param.grad`.

    Args:
        module: the model; its parameters with `requires_grad` are trained.
        pairs: whether products within pairs are wanted.

    Yields:
        The books; whoever scores the head writes in them with `begin` and `through_head`.
    """
    owners = find_owners(module, dropout=True)
    equal_inputs = not any(map(drops, module.modules()))
    with ExitStack() as stack:
        books = DeferredGradients(owners, equal_inputs=equal_inputs, pairs=pairs)
        collector = Collector(owners, books)
        stack.enter_context(frozen(owners.block_of))
        books.start(collector, stack.enter_context(taps(owners.recognizers(), collector.receive, force=True)))
        yield books
        books.close()


class DeferredGradients:
    """What a backward pass brought. A reader of that pass.

    Args:
        owners: of the model's parameters.
        equal_inputs: whether equal tokens give equal activations: not under dropout.
        pairs: whether products within pairs are wanted.

    Attributes:
        coefficients: ∂L/∂a_i as the loss sends it back, any factor for accumulation included; None where it sent
            nothing, or the tokens of a response differ in it.
        uses: of each parameter (or weight and bias together), the parts of its gradient.
        scores: u of a head's rows for the whole vocabulary, where they are few enough to be kept.
    """

    def __init__(self, owners: Owners, *, equal_inputs: bool, pairs: bool) -> None:
        self._owners, self._equal_inputs = owners, equal_inputs
        self._collector: Collector | None = None
        self._layout = Layout(0)
        self._products = GramAccumulator(owners, PairMode, equal_inputs=equal_inputs) if pairs else None
        self.coefficients: Float64[Tensor, " response"] | None = None
        self.uses: dict[ParameterGroup, list[GradientTerm]] = {}
        self.scores: Float[Tensor, "scored_token vocab"] | None = None

    def start(self, collector: Collector, state: TapState) -> None:
        """Hear that the taps are in."""
        self._collector, collector.state = collector, state

    def keep_frozen(self) -> None:
        """Freeze parameters that somebody has thawed meanwhile, as PEFT does when an adapter is switched on again."""
        for p in self._owners.block_of:
            p.requires_grad_(False)

    def begin(self, outcome: ForwardOutput) -> None:
        """Hear that the forward pass is over."""
        assert self._collector is not None
        responses = count_responses(outcome)
        self._collector.begin(responses)
        rows = outcome.rows if isinstance(outcome, HeadInput) else None
        self._layout = layout_of(responses, rows, equal_inputs=self._equal_inputs)
        if self._products is not None:
            self._products.begin(outcome)

    def through_head(
        self, head: HeadInput, coefficients: Float[Tensor, " response"], scored: Scored | None = None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Note what the loss sends back, and send 1 for each response in its place.

        Args:
            head: what the head got.
            coefficients: ∂L/∂a_i.
            scored: its rows and the gradients of their scores, where they are known already.

        Returns:
            Gradients with respect to the hidden rows; the head's weight and bias get theirs later.
        """
        self.coefficients = coefficients.detach().double()
        return self._scored(head, scored).hidden_gradient, None, None

    def head(self, head: HeadInput) -> tuple[Float64[Tensor, " response"], Float[Tensor, "scored_token in"]]:
        """Score a head for which no loss has sent anything."""
        found = self._scored(head, None)
        return found.rows.logps(), found.hidden_gradient

    def _scored(self, head: HeadInput, scored: Scored | None) -> HeadPass:
        weight, bias = (self._owners.own(p) for p in (head.weight, head.bias))
        alone = HeadBias(head) if bias is not None else None
        visit = (lambda *_: None) if alone is None else alone.visit
        if self._products is not None:
            _, hidden = self._products.head_with(head, visit, weights=None, scored=scored)
            found = HeadPass(self._products.head_rows or softmax_rows(head), hidden)
        else:
            everything = torch.arange(len(head.hidden), device=head.hidden.device)
            found = head_pass(head, [everything], visit, scored=scored)
        if weight is not None:
            self.uses[weight,] = [found.rows]
            self.scores = None if scored is None else scored[1]
        if bias is not None and alone is not None:
            self.uses[bias,] = [Materialized(alone.values)]
        return found

    def take(self, module: nn.Module, claims: list[LayerGradients]) -> None:
        """Keep the claims of a module, and reduce them if products within pairs are wanted."""
        own = self._owners.parameters[module]
        for claim in claims:
            key = tuple(own[name] for name in claim.parameters)
            self.uses.setdefault(key, []).append(compact(claim.factor, self._layout))
        if self._products is not None:
            self._products.take(module, claims)

    def close(self) -> None:
        """Add up what waits for calls that the backward pass did not reach."""
        assert self._collector is not None
        if self.coefficients is not None:
            with torch.no_grad():
                self._collector.finish()
                self.finish()
            self._collector.seen().check({p for key in self.uses for p in key}, self._owners, None)
        self._collector = None  # it holds us: without this, memory would wait for the collector of cycles

    def finish(self) -> None:
        """Reduce what several modules own."""
        if self._products is not None:
            self._products.finish()

    @property
    def responses(self) -> int:
        """Number of responses of the pass; the loss has to have sent its coefficients."""
        assert self.coefficients is not None
        return len(self.coefficients)

    def slices(self, rows: SoftmaxRows) -> Iterator[tuple[slice, Tensor]]:
        """Yield u of a head's rows; computed again where it is not kept."""
        return rows.gradients() if self.scores is None else iter([(slice(0, len(rows.head.weight)), self.scores)])

    def pair_gram(self) -> PairGram:
        """Return the 2×2 gradient Gram of each pair."""
        assert self._products is not None
        assert self.coefficients is not None
        shape = (3, len(self.coefficients) // 2)
        found, _ = self._owners.grouped(self._products.products, None, shape=shape)
        return PairGram.from_products(found)
