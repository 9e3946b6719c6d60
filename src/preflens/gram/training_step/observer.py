"""Read the Gram off a training step's own backward pass.

A pairwise loss sends c_i = ∂L/∂a_i back to the log-prob of response i. Every gradient below is therefore c_i ∇a_i, and
⟨∇a_i, ∇a_j⟩ is the product of the captured gradients over c_i c_j. Nothing is run twice, and autograd writes the same
numbers to `param.grad` as without an observer.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from preflens.errors import InputError, UnsupportedModelError
from preflens.gram.blocks import Breakdown
from preflens.gram.capture.autograd import grad_version
from preflens.gram.capture.forward import Forward, ForwardOutput, ForwardResult
from preflens.gram.capture.taps import TapState, taps
from preflens.gram.engine import batch_gram, pair_gram
from preflens.gram.products.modes import BatchMode, Mode, PairMode
from preflens.gram.products.output_head import Scored
from preflens.gram.readers.collector import Collector
from preflens.gram.readers.owner_search import find_owners, is_active_dropout
from preflens.gram.readers.single_pass import GramAccumulator
from preflens.gram.rules import LayerRules
from preflens.gram.training_step.observed_logps import HeadGradients, ObservedHeadLogps, ObservedLogps, head_backward
from preflens.types import BatchGram, HeadInput, PairGram

_MODES: dict[str, type[Mode]] = {"pairs": PairMode, "batch": BatchMode}


@contextmanager
def observe_backward(
    module: nn.Module, *, products: Literal["pairs", "batch"] = "pairs", rules: LayerRules | None = None
) -> "Iterator[BackwardObserver]":
    """Observe one forward and one backward pass of a training step.

    Args:
        module: the model; its parameters with `requires_grad` are those of the Gram.
        products: `pairs` for products within pairs, `batch` for products between all responses.
        rules: layer rules of your own, as for `pair_gram`.

    Yields:
        The observer. Pass the output of the forward pass through its `logps`, build the loss on the result, and call
        `backward()` inside the context. The Gram is available after the context.

    Example:
        The loss sends −0.5 to the chosen and 0.25 to the rejected response, whose gradients are their inputs:

        >>> import torch
        >>> from preflens.gram import observe_backward
        >>> linear, x = torch.nn.Linear(2, 1, bias=False), torch.tensor([[1.0, 0.0], [3.0, 4.0]])
        >>> with observe_backward(linear) as observer:
        ...     logps = observer.logps(linear(x).squeeze(1))
        ...     (-0.5 * logps[0] + 0.25 * logps[1]).backward()
        >>> observer.pair_gram().rejected_sq_norm.item(), observer.coefficients.tolist()
        (25.0, [-0.5, 0.25])
    """
    owners = find_owners(module, dropout=True, rules=rules)
    accumulator = GramAccumulator(
        owners, _MODES[products], equal_inputs=not any(map(is_active_dropout, module.modules()))
    )
    collector = Collector(owners, accumulator)
    with taps(owners.recognizers(), collector.receive, force=False) as state:
        collector.state = state
        observer = BackwardObserver(module, accumulator, collector, state)
        yield observer
        observer.close()


class BackwardObserver:
    """Observes one forward and one backward pass of a training step (see `observe_backward`).

    Args:
        module: the model.
        accumulator: accumulates the products.
        collector: turns tapped calls into gradients.
        state: of the taps.

    Example:
        >>> import torch
        >>> from preflens.gram import observe_backward
        >>> linear, x = torch.nn.Linear(2, 1, bias=False), torch.tensor([[1.0, 0.0], [3.0, 4.0]])
        >>> with observe_backward(linear, products="batch") as observer:
        ...     observer.logps(linear(x).squeeze(1)).sum().backward()
        >>> observer.observed, observer.batch_gram().matrix.tolist()
        (True, [[1.0, 3.0], [3.0, 25.0]])
    """

    def __init__(self, module: nn.Module, accumulator: GramAccumulator, collector: Collector, state: TapState) -> None:
        self._module, self._accumulator, self._collector, self._state = module, accumulator, collector, state
        self._written = {p: grad_version(p) for p in accumulator.owners.block_of}

    @property
    def coefficients(self) -> Float64[Tensor, " response"]:
        """∂L/∂a_i of the backward pass, with any factor for accumulation.

        Raises:
            InputError: there was no backward pass.
        """
        if self._accumulator.coefficients is None:
            raise InputError(
                "The observer saw no backward pass. Build the loss on `observer.logps(...)` and call `backward()`."
            )
        return self._accumulator.coefficients

    @property
    def observed(self) -> bool:
        """Whether there was a backward pass."""
        return self._accumulator.coefficients is not None

    def logps(self, result: ForwardResult) -> Float[Tensor, " response"]:
        """Return the log-probs to build the loss on.

        Args:
            result: output of the forward pass: one number per response, chosen responses first; or a `HeadInput`, whose
                log-probs are computed from scored rows only, in the forward and in the backward pass.

        Returns:
            The log-probs, nats.
        """
        self.on_forward(result)
        if isinstance(result, HeadInput):
            tensors = result.hidden, result.weight, result.bias
            values: Tensor = ObservedHeadLogps.apply(self, result, *tensors)  # type: ignore[no-untyped-call]  # of torch's
        else:
            values = ObservedLogps.apply(self, result)  # type: ignore[no-untyped-call]  # of torch's
        return values

    def on_forward(self, result: ForwardResult) -> None:
        """Called once, after the forward pass; for callers that send the coefficients back themselves.

        Args:
            result: output of the forward pass.
        """
        output = ForwardOutput(result)
        self._collector.end_forward(output.responses)
        self._accumulator.on_forward(output)

    def on_coefficients(self, coefficients: Float[Tensor, " response"]) -> None:
        """Called with ∂L/∂a_i, before any gradient arrives at a module."""
        self._accumulator.coefficients = coefficients.detach().double()

    def through_head(
        self, head: HeadInput, coefficients: Float[Tensor, " response"], scored: Scored | None = None
    ) -> HeadGradients:
        """Run the backward pass of a head.

        Args:
            head: input of the head.
            coefficients: ∂L/∂a_i.
            scored: scored rows and the gradients of their scores, where they are known already.

        Returns:
            Gradients of hidden rows, weight and bias; None for those that need none.
        """
        self.on_coefficients(coefficients)
        return head_backward(self._accumulator, head, coefficients, scored)

    def close(self) -> None:
        """Add what waits for calls that the backward pass did not reach."""
        if self.observed:
            with torch.no_grad():
                self._collector.end_backward()
                self._accumulator.on_end()

    def pair_gram(self, *, by: Breakdown | None = None, fallback: Forward | None = None) -> PairGram:
        """Return the 2×2 gradient Gram of each pair.

        Args:
            by: `layer` or `module` for a leading block axis.
            fallback: the forward pass; run in a separate pass where a coefficient is exactly zero.

        Returns:
            The Gram of each pair.
        """
        if self._needs_fallback(fallback) and fallback is not None:
            rules = self._accumulator.owners.rules
            return pair_gram(self._module, fallback, by=by, dropout=True, check=False, rules=rules)
        self._check_all_covered()
        pairs = len(self.coefficients) // 2
        products, names = self._accumulator.owners.grouped(self._accumulator.products, by, shape=(3, pairs))
        return PairGram.from_products(products, names)

    def batch_gram(self, *, by: Breakdown | None = None, fallback: Forward | None = None) -> BatchGram:
        """Return the Gram of all responses; the observer must have been started with `products="batch"`.

        Args:
            by: `layer` or `module` for a leading block axis.
            fallback: the forward pass; run in a separate pass where a coefficient is exactly zero.

        Returns:
            The Gram.
        """
        if self._needs_fallback(fallback) and fallback is not None:
            rules = self._accumulator.owners.rules
            return batch_gram(self._module, fallback, by=by, dropout=True, check=False, rules=rules)
        self._check_all_covered()
        size = len(self.coefficients)
        matrix, names = self._accumulator.owners.grouped(self._accumulator.products, by, shape=(size, size))
        return BatchGram(matrix, self._accumulator.logps.cpu(), names)

    def _check_all_covered(self) -> None:
        """Refuse parameters whose gradient in this step was not captured, and those that should have got one.

        Raises:
            UnsupportedModelError: there is such a parameter.
        """
        owners, covered = self._accumulator.owners, self._accumulator.covered
        for p in owners.block_of:
            if p not in covered and grad_version(p) != self._written[p]:
                raise UnsupportedModelError(
                    f"Parameter `{owners.parameter_names[p]}` gets a gradient in this step, but not through a call of "
                    "the module that owns it, so its gradient was not captured. Call `pair_gram` once before, which "
                    "finds out where to read it off; or freeze it."
                )
        self._collector.report().check(covered, owners, None)

    def _needs_fallback(self, fallback: Forward | None) -> bool:
        """Whether a coefficient is zero, so that a response's gradient did not arrive.

        Returns:
            True where the fallback has to be used.

        Raises:
            InputError: a coefficient is zero, and there is no fallback.
        """
        lost = bool((self.coefficients == 0).any())
        if lost and fallback is None:
            row = int((self.coefficients == 0).nonzero()[0])
            raise InputError(
                f"The loss sends nothing back to response {row} (its coefficient is zero, as with an inactive hinge), "
                "so its gradient was not captured. Pass `fallback=forward` for a separate pass."
            )
        return lost
