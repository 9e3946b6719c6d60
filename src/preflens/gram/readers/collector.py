"""Turn the tapped calls of a pass into per-response gradients, one module at a time."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import nn

from preflens.errors import UnsupportedModelError
from preflens.gram.capture.calls import ModuleCall
from preflens.gram.capture.forward import Forward
from preflens.gram.capture.taps import TapState
from preflens.gram.capture.unreached import check_reached
from preflens.gram.readers.base import GradientConsumer
from preflens.gram.readers.owners import Owners
from preflens.gram.rules import LayerGradients, RuleContext


class Collector:
    """Applies layer rules to tapped calls, and passes a module's gradients on when all of its calls have arrived.

    Args:
        owners: of the parameters.
        consumer: receives the gradients.

    Attributes:
        state: of the taps; set before the forward pass.
    """

    def __init__(self, owners: Owners, consumer: GradientConsumer) -> None:
        self._owners, self._consumer = owners, consumer
        self._waiting: dict[nn.Module, list[LayerGradients]] = {}
        self._arrived: Counter[nn.Module] = Counter()
        self._expected: Counter[nn.Module] = Counter()
        self._done: set[nn.Module] = set()
        self._responses = 0
        self.state: TapState | None = None

    def end_forward(self, responses: int) -> None:
        """Note how many calls each module had; recomputation in the backward pass does not count."""
        assert self.state is not None
        self._responses, self._expected = responses, Counter(self.state.recorded)
        self.state.forward_done = True

    def receive(self, call: ModuleCall) -> None:
        """Apply the rule of a module to one of its calls.

        Raises:
            UnsupportedModelError: the module is called in several segments of reentrant checkpointing.
        """
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
            self._waiting.setdefault(module, []).extend(call.reading.rule(call, self._context_of(module)))
            self._arrived[module] += 1
            if self._arrived[module] >= self._expected[module]:
                self._pass_on(module)

    def end_backward(self) -> None:
        """Pass on the gradients of modules with calls that the backward pass did not reach."""
        for module in list(self._waiting):
            self._pass_on(module)

    def report(self) -> "PassReport":
        """Return which modules were called, and which parameters no gradient reached."""
        assert self.state is not None
        ran = {m for counted in (self.state.recorded, self.state.skipped) for m, count in counted.items() if count}
        owned, arrived = self._owners.parameters, {m for m, count in self._arrived.items() if count}
        reached = {p for m in arrived for p in owned[m].values()}
        silent = {p for m in ran - arrived if m in owned for p in owned[m].values()}
        called = ran | {m for m, count in self.state.empty.items() if count}
        return PassReport(frozenset(called), frozenset(silent - reached))

    def _context_of(self, module: nn.Module) -> RuleContext:
        assert self.state is not None
        parameters = self._owners.parameters[module]
        private = frozenset(name for name, p in parameters.items() if p in self._owners.single)
        groups = self._owners.groups(module)
        return RuleContext(self._responses, tuple(parameters), private, groups, self.state.switched_off)

    def _pass_on(self, module: nn.Module) -> None:
        self._done.add(module)
        self._consumer.on_module(module, self._waiting.pop(module))


def _device_of(call: ModuleCall) -> str:
    return next(g.device.type for g in call.gradients if g is not None)


@dataclass(frozen=True)
class PassReport:
    """The modules that a pass called, and the parameters that its gradients did not reach.

    Attributes:
        called: modules of the owners that were called.
        unreached: parameters of modules that ran and to whose outputs no gradient came back.
    """

    called: frozenset[nn.Module]
    unreached: frozenset[nn.Parameter]

    def check(self, covered: Collection[nn.Parameter | None], owners: Owners, forward: Forward | None) -> None:
        """Refuse parameters that a gradient should have reached.

        Args:
            covered: parameters whose gradients were read off in another way.
            owners: of the parameters; they remember which ones have no influence.
            forward: the pass, run again to test that; None where it cannot be run again.
        """
        doubtful = {p for p in self.unreached if p not in covered and p not in owners.idle}
        check_reached(doubtful, owners.parameter_names, forward)
        owners.idle.update(doubtful)
