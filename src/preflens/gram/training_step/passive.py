"""Capture per-response gradients during a training step's own backward pass without changing it.

Nothing is added to what autograd computes. Modules are tapped, the coefficients are read off the log-probs of the loss,
and the part of the head is computed separately, because the training step does not expose it.
"""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from preflens.errors import UnsupportedModelError
from preflens.gram.capture.autograd import grad_version
from preflens.gram.capture.calls import ModuleCall
from preflens.gram.capture.forward import ForwardOutput
from preflens.gram.capture.taps import TapState, taps
from preflens.gram.readers.collector import Collector
from preflens.gram.readers.owner_search import find_owners
from preflens.gram.readers.stored_gradients import PerResponseGradients
from preflens.types import HeadInput

LOGGER = logging.getLogger("preflens")


@contextmanager
def observe_passively(module: nn.Module, *, memory: float = math.inf) -> "Iterator[PassiveObserver]":
    """Observe one forward and one backward pass (run by the caller) of a module without dropout.

    Args:
        module: the model; its parameters with `requires_grad` are those of the gradients.
        memory: bytes that the stored gradients may take; beyond that, the observer stops for the rest of the pass.

    Yields:
        The observer. Call its `expect`, `on_forward` and `on_coefficients` in the course of the step.
    """
    owners = find_owners(module, dropout=True)  # the caller has made sure that nothing drops
    gradients = PerResponseGradients(owners, equal_inputs=True, pin=False, later=True)
    collector = Collector(owners, gradients)
    observer = PassiveObserver(gradients, collector, memory=memory)
    with taps(owners.recognizers(), observer.receive, force=False, on_error=observer.give_up) as state:
        collector.state = observer.state = state
        yield observer
        observer.close()


class PassiveObserver:
    """Observes one forward and one backward pass, and never disturbs it.

    Args:
        gradients: store the gradients.
        collector: turns tapped calls into gradients.
        memory: bytes that the stored gradients may take.

    Attributes:
        gradients: the gradients; valid if `usable`.
        failed: whether something went wrong. The pass itself goes on.
        state: of the taps.
    """

    def __init__(self, gradients: PerResponseGradients, collector: Collector, *, memory: float) -> None:
        self.gradients, self._collector, self._memory = gradients, collector, memory
        self.failed = False
        self.state: TapState | None = None
        self._written = {p: grad_version(p) for p in gradients.owners.block_of}

    @property
    def usable(self) -> bool:
        """Whether every response's gradient was captured."""
        coefficients = self.gradients.accumulator.coefficients
        return not self.failed and coefficients is not None and not bool((coefficients == 0).any())

    def expect(self, rows: int) -> None:
        """Called before the forward pass, with the number of rows of the batch."""
        assert self.state is not None
        self.state.rows = rows

    def on_forward(self, head: HeadInput) -> None:
        """Called once, after the forward pass, with the input of the head, detached from its graph."""
        output = ForwardOutput(head)
        self._collector.end_forward(output.responses)
        self.gradients.on_forward(output)
        self._head = head

    def on_coefficients(self, coefficients: Float[Tensor, " response"] | None) -> None:
        """Called with ∂L/∂a_i before any gradient arrives at a module; None where tokens differ in them."""
        if coefficients is None:
            self.failed = True
            return
        # Later backward passes, which may recompute checkpoints, belong to other code.
        torch.autograd.Variable._execution_engine.queue_callback(self._disable)
        self.gradients.accumulator.coefficients = coefficients.detach().double()

    def receive(self, call: ModuleCall) -> None:
        """Take a tapped call. A call that cannot be understood does not stop the training run."""
        if self.failed:
            return
        try:
            self._collector.receive(call)
            if self.gradients.taken > self._memory:
                raise MemoryError(f"the stored gradients take more than {self._memory:.3g} bytes")
        except Exception as error:  # inside the backward pass of a run that must not notice
            self.give_up(error)

    def give_up(self, error: Exception) -> None:
        """Stop observing for the rest of the pass.

        Args:
            error: the reason.
        """
        self.failed = True
        self.gradients.factors.clear()
        self.gradients.pending.clear()
        LOGGER.debug("not read off the backward pass: %s", error)

    def _disable(self) -> None:
        assert self.state is not None
        self.state.disable()

    def close(self) -> None:
        """Compute the part of the head, and add what waits for calls that the backward pass did not reach.

        This comes after the backward pass because the head of the training step itself needs much memory; the weights
        are unchanged until the optimizer steps.
        """
        if self.usable:
            with torch.no_grad(), torch.autocast(self._head.hidden.device.type, enabled=False):
                self.gradients.score_head_with(self._head, send_back=False)
                self._collector.end_backward()
                self.gradients.on_end()
            self._check_all_covered()

    def _check_all_covered(self) -> None:
        """Give up where a gradient was not captured; a separate pass then finds out why."""
        covered = {p for group in self.gradients.factors for p in group} | set(self.gradients.head_parameters)
        missed = [p for p in self._written if p not in covered and grad_version(p) != self._written[p]]
        try:
            self._collector.report().check(covered, self.gradients.owners, None)
        except UnsupportedModelError as error:
            LOGGER.debug("not read off the backward pass: %s", error)
            self.failed = True
        self.failed = self.failed or bool(missed)
