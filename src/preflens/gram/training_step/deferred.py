"""Compute per-response gradients first and choose their weights afterwards, in one forward and one backward pass.

The backward pass runs over activations alone and gives the gradient of every response with weight 1. The gradients are
stored as factors. Their Gram decides on the weights, and one weighted product per parameter then gives the gradient of
the step.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from preflens.gram.capture.forward import ForwardOutput, ForwardResult
from preflens.gram.capture.restoring import frozen
from preflens.gram.capture.taps import TapState, taps
from preflens.gram.factors.factors import GradientTerm, ParameterGroup
from preflens.gram.factors.layout import Layout
from preflens.gram.factors.scored_rows import SoftmaxRows, softmax_rows
from preflens.gram.factors.storage import compact
from preflens.gram.products.modes import PairMode
from preflens.gram.products.output_head import HeadPass, Scored, head_pass
from preflens.gram.readers.base import HeadParameters
from preflens.gram.readers.collector import Collector
from preflens.gram.readers.owner_search import find_owners, is_active_dropout
from preflens.gram.readers.owners import Owners
from preflens.gram.readers.single_pass import GramAccumulator
from preflens.gram.rules import LayerGradients
from preflens.types import HeadInput, PairGram


@contextmanager
def defer_weighting(module: nn.Module, *, pairs: bool) -> "Iterator[DeferredGradients]":
    """Capture the gradients of single responses in one forward and one backward pass of a training step.

    Inside the context parameters are frozen, so the pass writes to no `param.grad`.

    Args:
        module: the model; its parameters with `requires_grad` are trained.
        pairs: whether to compute within-pair products during the pass.

    Yields:
        The gradients. The code that scores the head calls `on_forward` and `through_head`.
    """
    owners = find_owners(module, dropout=True)
    equal_inputs = not any(map(is_active_dropout, module.modules()))
    with ExitStack() as stack:
        gradients = DeferredGradients(owners, equal_inputs=equal_inputs, pairs=pairs)
        collector = Collector(owners, gradients)
        stack.enter_context(frozen(owners.block_of))
        gradients.start(collector, stack.enter_context(taps(owners.recognizers(), collector.receive, force=True)))
        yield gradients
        gradients.close()


class DeferredGradients:
    """Per-response gradients of a training step, stored until their weights are chosen; a consumer of that pass.

    Args:
        owners: of the model's parameters.
        equal_inputs: whether equal tokens give equal activations, which dropout prevents.
        pairs: whether to compute within-pair products.

    Attributes:
        coefficients: ∂L/∂a_i that the loss sends back, with any factor for accumulation. None before the backward
            pass, and where the tokens of a response have different coefficients.
        terms: for each parameter (or weight and bias together), the terms of its gradient.
        scores: u of a head's rows for the whole vocabulary, where they are few enough to be kept.
    """

    def __init__(self, owners: Owners, *, equal_inputs: bool, pairs: bool) -> None:
        self._owners, self._equal_inputs = owners, equal_inputs
        self._collector: Collector | None = None
        self._layout = Layout(0)
        self._products = GramAccumulator(owners, PairMode, equal_inputs=equal_inputs) if pairs else None
        self.coefficients: Float64[Tensor, " response"] | None = None
        self.terms: dict[ParameterGroup, list[GradientTerm]] = {}
        self.scores: Float[Tensor, "scored_token vocab"] | None = None

    def start(self, collector: Collector, state: TapState) -> None:
        """Called when the hooks are installed."""
        self._collector, collector.state = collector, state

    def keep_frozen(self) -> None:
        """Re-freeze parameters that were unfrozen inside the step; PEFT does so when it enables an adapter again."""
        for p in self._owners.block_of:
            p.requires_grad_(False)

    def on_forward(self, result: ForwardOutput | ForwardResult) -> None:
        """Called once, after the forward pass, with its output."""
        assert self._collector is not None
        output = result if isinstance(result, ForwardOutput) else ForwardOutput(result)
        self._collector.end_forward(output.responses)
        self._layout = output.layout(equal_inputs=self._equal_inputs)
        if self._products is not None:
            self._products.on_forward(output)

    def through_head(
        self, head: HeadInput, coefficients: Float[Tensor, " response"], scored: Scored | None = None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Record the coefficients of the loss, and send 1 per response through the head in their place.

        Args:
            head: input of the head.
            coefficients: ∂L/∂a_i.
            scored: scored rows and the gradients of their scores, where they are known already.

        Returns:
            The gradient of the hidden rows, and None for the head's weight and bias, which get theirs later.
        """
        self.coefficients = coefficients.detach().double()
        return self._score(head, scored).hidden_gradient, None, None

    def score_head(self, head: HeadInput) -> HeadPass:
        """Score a head without a loss."""
        return self._score(head, None)

    def _score(self, head: HeadInput, scored: Scored | None) -> HeadPass:
        parameters = HeadParameters(self._owners, head)
        if self._products is not None:
            result = self._products.score_head_with(head, parameters.visit, weights=None, scored=scored)
            result = HeadPass(self._products.head_rows or softmax_rows(head), result.hidden_gradient)
        else:
            result = head_pass(head, parameters.visit, scored=scored)
        self.terms.update({group: [term] for group, term in parameters.terms(result.rows).items()})
        if parameters.weight is not None:
            self.scores = None if scored is None else scored[1]
        return result

    def on_module(self, module: nn.Module, gradients: list[LayerGradients]) -> None:
        """Store the gradients of a module, and accumulate within-pair products if asked to."""
        parameters = self._owners.parameters[module]
        for part in gradients:
            group = tuple(parameters[name] for name in part.parameters)
            self.terms.setdefault(group, []).append(compact(part.factor, self._layout))
        if self._products is not None:
            self._products.on_module(module, gradients)

    def close(self) -> None:
        """Add what waits for calls that the backward pass did not reach."""
        assert self._collector is not None
        if self.coefficients is not None:
            with torch.no_grad():
                self._collector.end_backward()
                self.on_end()
            self._collector.report().check({p for group in self.terms for p in group}, self._owners, None)
        self._collector = None  # it refers to us: without this, memory would wait for the collector of cycles

    def on_end(self) -> None:
        """Add the products of parameters that several modules share."""
        if self._products is not None:
            self._products.on_end()

    @property
    def responses(self) -> int:
        """Number of responses of the pass; known after the backward pass."""
        assert self.coefficients is not None
        return len(self.coefficients)

    def slices(self, rows: SoftmaxRows) -> Iterator[tuple[slice, Tensor]]:
        """Yield u of a head's rows for slices of the vocabulary; computed again where it is not kept."""
        return rows.gradients() if self.scores is None else iter([(slice(0, len(rows.head.weight)), self.scores)])

    def pair_gram(self) -> PairGram:
        """Return the 2×2 gradient Gram of each pair; the pass must have been started with `pairs=True`."""
        assert self._products is not None
        products, _ = self._owners.grouped(self._products.products, None, shape=(3, self.responses // 2))
        return PairGram.from_products(products)
