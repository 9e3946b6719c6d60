"""The Gram read off a training step's own backward pass.

A pairwise loss sends c_i = ∂L/∂a_i back to the log-prob of response i, so every gradient that arrives below is
c_i ∇a_i, and ⟨∇a_i, ∇a_j⟩ is what is found there over c_i c_j. Nothing is run twice, and whatever autograd writes to
`param.grad` it writes as without us.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from preflens.errors import InputError, UnsupportedModelError
from preflens.gram.blocks import Breakdown
from preflens.gram.capture.autograd import grad_version
from preflens.gram.capture.forward import Forward, ForwardOutput, count_responses
from preflens.gram.capture.taps import TapState, taps
from preflens.gram.engine import batch_gram, pair_gram
from preflens.gram.factors.scored_rows import SoftmaxRows, softmax_rows
from preflens.gram.products.modes import BatchMode, Mode, PairMode
from preflens.gram.products.output_head import Scored
from preflens.gram.readers.backward import Collector
from preflens.gram.readers.owners import drops, find_owners
from preflens.gram.readers.single_pass import GramAccumulator
from preflens.types import BatchGram, HeadInput, PairGram

_MODES: dict[str, type[Mode]] = {"pairs": PairMode, "batch": BatchMode}


@contextmanager
def observe_backward(
    module: nn.Module, *, products: Literal["pairs", "batch"] = "pairs"
) -> "Iterator[BackwardObserver]":
    """Watch one forward and backward pass of a training step.

    Args:
        module: the model; its parameters with `requires_grad` are those the Gram is over.
        products: what is wanted: within pairs, or of all responses.

    Yields:
        The ride: pass what the forward pass returned through `BackwardObserver.logps`, build the loss on that, and call
        `backward()` inside the context. Then ask for the Gram.

    Example:
        >>> import torch
        >>> linear, x = torch.nn.Linear(2, 1, bias=False), torch.tensor([[1.0, 0.0], [3.0, 4.0]])
        >>> with riding(linear) as ride:
        ...     logps = ride.logps(linear(x).squeeze(1))
        ...     (-0.5 * logps[0] + 0.25 * logps[1]).backward()
        >>> ride.pair_gram().rejected_sq_norm.item(), ride.coefficients.tolist()
        (25.0, [-0.5, 0.25])
    """
    owners = find_owners(module, dropout=True)
    reader = GramAccumulator(owners, _MODES[products], equal_inputs=not any(map(drops, module.modules())))
    collector = Collector(owners, reader)
    with taps(owners.recognizers(), collector.receive, force=False) as state:
        collector.state = state
        ride = BackwardObserver(module, reader, collector, state)
        yield ride
        ride.close()


class BackwardObserver:
    """One forward and backward pass of a training step, watched.

    Args:
        module: the model.
        reader: collects the products.
        collector: turns calls into claims.
        state: of the taps.
    """

    def __init__(self, module: nn.Module, reader: GramAccumulator, collector: Collector, state: TapState) -> None:
        self._module, self._reader, self._collector, self._state = module, reader, collector, state
        self._written = {p: grad_version(p) for p in reader.owners.block_of}

    @property
    def coefficients(self) -> Float64[Tensor, " response"]:
        """∂L/∂a_i, as the backward pass brought it, any factor for accumulation included.

        Raises:
            InputError: there was no backward pass.
        """
        if self._reader.coefficients is None:
            raise InputError(
                "The ride saw no backward pass: build the loss on `ride.logps(...)` and call `backward()`."
            )
        return self._reader.coefficients

    @property
    def observed(self) -> bool:
        """Whether a backward pass came by."""
        return self._reader.coefficients is not None

    def logps(self, outcome: ForwardOutput) -> Float[Tensor, " response"]:
        """Take what the forward pass returned and give back the log-probs to build the loss on.

        Args:
            outcome: one number per response, chosen ones first, or a `HeadInput`, whose log-probs are then computed
                from scored rows only, in the forward and in the backward pass.

        Returns:
            The log-probs, nats.
        """
        self.begin(outcome)
        if isinstance(outcome, HeadInput):
            given = outcome.hidden, outcome.weight, outcome.bias
            values: Tensor = _HeadLogps.apply(self, outcome, *given)  # type: ignore[no-untyped-call]  # of torch's
        else:
            values = _Watched.apply(self, outcome)  # type: ignore[no-untyped-call]  # of torch's
        return values

    def begin(self, outcome: ForwardOutput) -> None:
        """Hear that the forward pass is over; for those who send the coefficients back by themselves.

        Args:
            outcome: what it came to.
        """
        self._collector.begin(count_responses(outcome))
        self._reader.begin(outcome)

    def arrive(self, coefficients: Float[Tensor, " response"]) -> None:
        """Hear what the loss sends back; called before anything arrives at a module."""
        self._reader.coefficients = coefficients.detach().double()

    def through_head(
        self, head: HeadInput, coefficients: Float[Tensor, " response"], scored: Scored | None = None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Send coefficients through a head.

        Args:
            head: what the head got.
            coefficients: of the log-probs.
            scored: its rows and the gradients of their scores, where they are known already.

        Returns:
            Gradients with respect to hidden rows, weight and bias; None for what needs none.
        """
        self.arrive(coefficients)
        wide = torch.promote_types(head.hidden.dtype, torch.float32)
        weights = coefficients.to(wide)
        weight = torch.zeros_like(head.weight, dtype=wide) if head.weight.requires_grad else None
        bias = torch.zeros_like(head.bias, dtype=wide) if head.bias is not None and head.bias.requires_grad else None

        def add(number: int, rows: SoftmaxRows, here: slice, gradient: Tensor) -> None:  # noqa: ARG001  # any part
            weighted = gradient * weights[rows.head.response_index, None]
            if weight is not None:
                weight[here] += weighted.T @ rows.inputs
            if bias is not None:
                bias[here] += weighted.sum(0)

        _, hidden = self._reader.head_with(head, add, weights=weights, scored=scored)
        narrow = [None if g is None else g.to(head.weight.dtype) for g in (weight, bias)]
        return hidden, narrow[0], narrow[1]

    def close(self) -> None:
        """Add up what waits for calls that the backward pass did not reach."""
        if self._reader.coefficients is not None:
            with torch.no_grad():
                self._collector.finish()
                self._reader.finish()

    def pair_gram(self, *, by: Breakdown | None = None, fallback: Forward | None = None) -> PairGram:
        """Return the 2×2 gradient Gram of each pair.

        Args:
            by: `layer` or `module` for a leading block axis.
            fallback: the forward pass, for a pass of its own where a coefficient is exactly zero.

        Returns:
            The geometry of each pair.
        """
        if self._lost(fallback) and fallback is not None:
            return pair_gram(self._module, fallback, by=by, dropout=True, check=False)
        self._check_all_accounted_for()
        pairs = len(self.coefficients) // 2
        found, names = self._reader.owners.grouped(self._reader.products, by, shape=(3, pairs))
        return PairGram.from_products(found, names)

    def batch_gram(self, *, by: Breakdown | None = None, fallback: Forward | None = None) -> BatchGram:
        """Return the Gram of all responses; the ride must have been started with `products="batch"`.

        Args:
            by: `layer` or `module` for a leading block axis.
            fallback: the forward pass, for a pass of its own where a coefficient is exactly zero.

        Returns:
            The Gram.
        """
        if self._lost(fallback) and fallback is not None:
            return batch_gram(self._module, fallback, by=by, dropout=True, check=False)
        self._check_all_accounted_for()
        size = len(self.coefficients)
        found, names = self._reader.owners.grouped(self._reader.products, by, shape=(size, size))
        return BatchGram(found, self._reader.logps.cpu(), names)

    def _check_all_accounted_for(self) -> None:
        """Refuse parameters that got a gradient in this step of which no call told, and those that should have got one.

        Raises:
            UnsupportedModelError: there are some.
        """
        owners, claimed = self._reader.owners, self._reader.claimed
        for p in owners.block_of:
            if p not in claimed and grad_version(p) != self._written[p]:
                raise UnsupportedModelError(
                    f"Parameter `{owners.parameter_names[p]}` gets a gradient in this step, but not through a call of "
                    "the module that owns it, so its gradient did not come by. Ask `pair_gram` once before the ride, "
                    "which finds out where it can be read off; or freeze it."
                )
        self._collector.seen().check(claimed, owners, None)

    def _lost(self, fallback: Forward | None) -> bool:
        """Whether a coefficient is zero, so that nothing of a response's gradient came down.

        Returns:
            True where the fallback is to be used.

        Raises:
            InputError: it is, and there is nothing to fall back to.
        """
        lost = bool((self.coefficients == 0).any())
        if lost and fallback is None:
            row = int((self.coefficients == 0).nonzero()[0])
            raise InputError(
                f"The loss sends nothing back to response {row} (its coefficient is zero, as with an inactive hinge), "
                "so its gradient did not come by. Pass `fallback=forward` for a pass of its own."
            )
        return lost


class _Watched(torch.autograd.Function):
    """Identity on log-probs that notes what the loss sends back."""

    @staticmethod
    def forward(ctx: Any, ride: BackwardObserver, values: Tensor) -> Tensor:  # noqa: ANN401  # torch's
        ctx.ride = ride
        return values.detach()

    @staticmethod
    def backward(ctx: Any, coefficients: Tensor) -> tuple[None, Tensor]:  # noqa: ANN401
        ctx.ride.arrive(coefficients)
        return None, coefficients


class _HeadLogps(torch.autograd.Function):
    """Log-probs of a head; its backward pass scores the rows again, and collects the head's products."""

    @staticmethod
    def forward(ctx: Any, ride: BackwardObserver, head: HeadInput, *_: Tensor | None) -> Tensor:  # noqa: ANN401
        ctx.ride, ctx.head = ride, head
        return softmax_rows(head).logps().to(torch.promote_types(head.hidden.dtype, torch.float32))

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401  # torch gives it no public type
        coefficients: Tensor,
    ) -> tuple[None, None, Tensor, Tensor | None, Tensor | None]:
        return None, None, *ctx.ride.through_head(ctx.head, coefficients)
