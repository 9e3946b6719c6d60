"""The per-response gradients of a training step's own backward pass, kept, for those who only look on.

Nothing is added to what autograd writes: modules are tapped, the loss's log-probs are watched, and the head's part is
computed beside, because the step computes it without saying.
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
from preflens.gram.capture.forward import count_responses
from preflens.gram.capture.taps import ModuleCall, TapState, taps
from preflens.gram.readers.backward import Collector
from preflens.gram.readers.owners import find_owners
from preflens.gram.readers.stored_gradients import PerResponseGradients
from preflens.types import HeadInput

LOGGER = logging.getLogger("preflens")


@contextmanager
def observe_passively(module: nn.Module, *, memory: float = math.inf) -> "Iterator[PassiveObserver]":
    """Look on while somebody runs one forward and one backward pass of a module without dropout.

    Args:
        module: the model; its parameters with `requires_grad` are those the gradients are over.
        memory: bytes that their parts may take; the bystander looks away rather than take more from the pass.

    Yields:
        The bystander. Tell it of the rows, of what the head got, and of what the loss sends back.
    """
    owners = find_owners(module, dropout=True)  # whoever calls has seen to it that nothing drops
    kept = PerResponseGradients(owners, equal_inputs=True, pin=False, later=True)
    collector = Collector(owners, kept)
    bystander = PassiveObserver(kept, collector, memory=memory)
    with taps(owners.recognizers(), bystander.receive, force=False, mishap=bystander.give_up) as state:
        collector.state = bystander.state = state
        yield bystander
        bystander.close()


class PassiveObserver:
    """Looks on at one forward and backward pass.

    Args:
        kept: takes the gradients.
        collector: turns calls into claims.
        memory: bytes that kept parts may take.

    Attributes:
        kept: the gradients, to be used if `usable`.
        failed: whether something went wrong; the pass itself is never disturbed.
        state: of the taps.
    """

    def __init__(self, kept: PerResponseGradients, collector: Collector, *, memory: float) -> None:
        self.kept, self._collector, self._memory = kept, collector, memory
        self.failed = False
        self.state: TapState | None = None
        self._written = {p: grad_version(p) for p in kept.owners.block_of}

    @property
    def usable(self) -> bool:
        """Whether every response's gradient came by."""
        by = self.kept.streamed.coefficients
        return not self.failed and by is not None and not bool((by == 0).any())

    def expect(self, rows: int) -> None:
        """Hear how many rows the batch has, before the forward pass."""
        assert self.state is not None
        self.state.rows = rows

    def begin(self, head: HeadInput) -> None:
        """Hear that the forward pass is over, and what the head got; without its graph."""
        self._collector.begin(count_responses(head))
        self.kept.begin(head)
        self._head = head

    def arrive(self, coefficients: Float[Tensor, " response"] | None) -> None:
        """Hear what the loss sends back to each response, before anything arrives at a module; None if it is no use."""
        if coefficients is None:
            self.failed = True
            return
        # What others differentiate after this backward pass, checkpoints and all, is none of our business.
        torch.autograd.Variable._execution_engine.queue_callback(self._over)
        self.kept.streamed.coefficients = coefficients.detach().double()

    def receive(self, call: ModuleCall) -> None:
        """Take a call; what cannot be understood is no reason to stop somebody's training."""
        if self.failed:
            return
        try:
            self._collector.receive(call)
            if self.kept.taken > self._memory:
                raise MemoryError(f"what is kept takes more than {self._memory:.3g} bytes")
        except Exception as error:  # inside the backward pass of a run that must not notice
            self.give_up(error)

    def give_up(self, error: Exception) -> None:
        """Look away for the rest of the pass.

        Args:
            error: why.
        """
        self.failed = True
        self.kept.factors.clear()
        self.kept.open.clear()
        LOGGER.debug("not read off the backward pass: %s", error)

    def _over(self) -> None:
        assert self.state is not None
        self.state.disable()

    def close(self) -> None:
        """Compute the head's part, and add up what waits for calls that the backward pass did not reach.

        Weights are as they were until the optimizer steps, and the head of the training step needs much memory itself.
        """
        if self.usable:
            with torch.no_grad(), torch.autocast(self._head.hidden.device.type, enabled=False):
                self.kept.head_with(self._head, send_back=False)
                self._collector.finish()
                self.kept.finish()
            self._check_all_came_by()

    def _check_all_came_by(self) -> None:
        """Leave it to a pass of our own, where some gradient did not come by, to find out what that means."""
        came = {p for key in self.kept.factors for p in key} | set(self.kept.head_parameters)
        missed = [p for p in self._written if p not in came and grad_version(p) != self._written[p]]
        try:
            self._collector.seen().check(came, self.kept.owners, None)
        except UnsupportedModelError as error:
            LOGGER.debug("not read off the backward pass: %s", error)
            self.failed = True
        self.failed = self.failed or bool(missed)
