"""One forward and one backward pass over activations, with taps that read per-response gradients off it.

Autograd never forms a weight gradient here: parameters are frozen for the pass, and what reaches a tapped output is
handed to the layer rules together with the inputs.
"""

from collections import Counter
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from preflens.errors import UnsupportedModelError
from preflens.gram.capture.autograd import is_reentrant
from preflens.gram.capture.forward import Forward, check_finite, count_responses
from preflens.gram.capture.restoring import frozen, same_random_state
from preflens.gram.capture.taps import ModuleCall, TapState, taps
from preflens.gram.capture.unreached import check_reached
from preflens.gram.readers.owners import Owners
from preflens.gram.rules import LayerGradients, RuleContext
from preflens.types import HeadInput


@runtime_checkable
class GradientConsumer(Protocol):
    """Whoever wants to know the per-response gradients of a pass."""

    def begin(self, outcome: Float[Tensor, " response"] | HeadInput) -> None:
        """Hear what the forward pass returned."""

    def head(self, head: HeadInput) -> tuple[Float64[Tensor, " response"], Float[Tensor, "scored_token in"]]:
        """Score a head; return the log-probs and the gradient of their sum with respect to the hidden rows."""

    def take(self, module: nn.Module, claims: list[LayerGradients]) -> None:
        """Take the claims of a module, of all its calls together."""

    def finish(self) -> None:
        """Hear that the backward pass is over."""


class Collector:
    """Turns tapped calls into claims and hands them over when a module has seen all of its calls.

    Args:
        owners: of the parameters.
        reader: takes the claims.

    Attributes:
        state: of the taps; set before the forward pass.
    """

    def __init__(self, owners: Owners, reader: GradientConsumer) -> None:
        self._owners, self._reader = owners, reader
        self._waiting: dict[nn.Module, list[LayerGradients]] = {}
        self._arrived: Counter[nn.Module] = Counter()
        self._expected: Counter[nn.Module] = Counter()
        self._done: set[nn.Module] = set()
        self._responses = 0
        self.state: TapState | None = None

    def begin(self, responses: int) -> None:
        """Note how many calls each module had; recomputation in the backward pass does not count."""
        assert self.state is not None
        self._responses, self._expected, self.state.forward_done = responses, Counter(self.state.recorded), True

    def receive(self, call: ModuleCall) -> None:
        """Apply the rule of a module to one of its calls."""
        module, state = call.module, self.state
        assert state is not None
        if self._responses == 0:
            return  # a backward pass that is not ours
        if module in self._done:
            raise UnsupportedModelError(
                f"`{self._owners.names[module]}` is called in several segments of reentrant gradient checkpointing. "
                "Use `use_reentrant=False`, or switch checkpointing off."
            )
        assert call.reading is not None
        with torch.autocast(_device_of(call), enabled=False):
            self._waiting.setdefault(module, []).extend(call.reading.rule(call, self._request_for(module)))
            self._arrived[module] += 1
            if self._arrived[module] >= self._expected[module]:
                self._hand_over(module)

    def _request_for(self, module: nn.Module) -> RuleContext:
        assert self.state is not None
        own = self._owners.parameters[module]
        private = frozenset(name for name, p in own.items() if p in self._owners.single)
        return RuleContext(self._responses, tuple(own), private, self._owners.groups(module), self.state.switched_off)

    def finish(self) -> None:
        """Hand over what waits for calls that the backward pass did not reach."""
        for module in list(self._waiting):
            self._hand_over(module)

    def seen(self) -> "PassReport":
        """Return what was called, and what was reached."""
        assert self.state is not None
        ran = {m for counted in (self.state.recorded, self.state.skipped) for m, count in counted.items() if count}
        owned, arrived = self._owners.parameters, {m for m, count in self._arrived.items() if count}
        reached = {p for m in arrived for p in owned[m].values()}
        silent = {p for m in ran - arrived if m in owned for p in owned[m].values()}
        return PassReport(
            frozenset(ran | {m for m, count in self.state.empty.items() if count}), frozenset(silent - reached)
        )

    def _hand_over(self, module: nn.Module) -> None:
        self._done.add(module)
        self._reader.take(module, self._waiting.pop(module))


def _device_of(call: ModuleCall) -> str:
    return next(g.device.type for g in call.gradients if g is not None)


@dataclass(frozen=True)
class PassReport:
    """What a pass saw beside gradients.

    Attributes:
        called: modules of the owners that were called.
        unreached: parameters of modules that ran without any gradient arriving at what they returned.
    """

    called: frozenset[nn.Module]
    unreached: frozenset[nn.Parameter]

    def check(self, claimed: Collection[nn.Parameter | None], owners: Owners, forward: Forward | None) -> None:
        """Refuse parameters that should have been reached.

        Args:
            claimed: parameters whose gradients were found in another way.
            owners: know names, and what does no harm.
            forward: the pass, to find that out; None where it cannot be run again.
        """
        doubtful = {p for p in self.unreached if p not in claimed and p not in owners.idle}
        check_reached(doubtful, owners.parameter_names, forward)
        owners.idle.update(doubtful)


def run_pass(owners: Owners, forward: Forward, reader: GradientConsumer, *, strict: bool = True) -> PassReport:
    """Run forward and backward once and let a reader see the per-response gradients.

    Parameters, `param.grad`, hooks and random state are as before afterwards, also after an error.

    Args:
        owners: of the parameters that are differentiated.
        forward: runs the model; returns log-probs or the input of its head.
        reader: hears of everything.
        strict: refuse parameters that no gradient reached though their module ran and the log-probs depend on them.

    Returns:
        What was called, and what was reached.

    Raises:
        InputError: `forward` does not return chosen and rejected rows.
        NonFiniteLogpError: a log-prob is not finite.
    """
    collector = Collector(owners, reader)
    with ExitStack() as stack:
        stack.enter_context(frozen(owners.block_of))
        stack.enter_context(same_random_state())
        collector.state = stack.enter_context(taps(owners.recognizers(), collector.receive, force=True))
        stack.enter_context(torch.enable_grad())
        outcome = forward()
        collector.begin(count_responses(outcome))
        reader.begin(outcome)
        head: set[nn.Parameter | None] = set()
        if isinstance(outcome, HeadInput):
            head = {owners.own(outcome.weight), owners.own(outcome.bias)}
            with torch.no_grad(), torch.autocast(outcome.hidden.device.type, enabled=False):
                logps, gradient = reader.head(outcome)
            check_finite(logps)
            _backward(outcome.hidden, gradient, collector.state)
        else:
            check_finite(outcome.detach())
            _backward(outcome, torch.ones_like(outcome), collector.state)
        device = (outcome.hidden if isinstance(outcome, HeadInput) else outcome).device
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            collector.finish()
            reader.finish()
    seen = collector.seen()
    if strict:
        seen.check(head, owners, forward)
    return seen


def _backward(root: Tensor, gradient: Tensor, state: TapState) -> None:
    """Walk backwards to the taps; nothing is written to any `.grad`.

    Reentrant checkpointing works with `backward` only. There every parameter of ours is frozen, and whatever else
    might collect a gradient lies outside of the model.
    """
    if not root.requires_grad:
        return
    if state.skipped and is_reentrant(root):
        torch.autograd.backward(root, gradient)
    else:
        assert state.anchor is not None
        torch.autograd.grad(root, [state.anchor], gradient, allow_unused=True)
