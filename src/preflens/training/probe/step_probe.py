"""One training run under the probe: what is watched, and what was found at the step in progress."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from preflens.errors import UnsupportedModelError
from preflens.gram.readers.first_order_changes import changes_along_updates
from preflens.gram.readers.stored_gradients import PerResponseGradients
from preflens.language_models.tokenizing import TokenizedPair
from preflens.training.probe.capture import BatchCapture
from preflens.training.probe.evaluator import PairEvaluator
from preflens.training.probe.micro_batch import MicroBatch
from preflens.training.probe.optimizer_preview import OptimizerPreview
from preflens.training.probe.rehearsal import can_be_tapped
from preflens.training.probe.result import ProbeResult, change_of, joined
from preflens.types import LogpChange, PairCoefficients

LOGGER = logging.getLogger("preflens")

# Probed steps after which rounding is estimated anew: it changes as slowly as the model does.
_ROUNDING_EVERY = 10
# Of held-out pairs, from their log-probs before the step; None where the loss cannot tell.
HeldOutCoefficients = Callable[[Sequence[TokenizedPair], Tensor, Tensor], PairCoefficients | None]


@dataclass
class StepProbe:
    """Watches one run, a step at a time.

    Attributes:
        model: without wrappers for several devices.
        evaluator: looks at pairs.
        held_out: the part of the fixed pairs that this process looks at.
        coefficients: of held-out pairs.
        mitigated: whether the step is another one than the loss asks for, so that what the loss sends back to a
            response says nothing about it.
    """

    model: nn.Module
    evaluator: PairEvaluator
    held_out: tuple[TokenizedPair, ...]
    coefficients: HeldOutCoefficients
    mitigated: bool = False
    _watch: BatchCapture | None = field(default=None, init=False)
    _tappable: bool | None = field(default=None, init=False)
    _trusted: bool | None = field(default=None, init=False)
    _looked: int = field(default=0, init=False)
    _rounding: float | None = field(default=None, init=False)
    _step: OptimizerPreview | None = field(default=None, init=False)
    _looks: dict[str, ProbeResult] = field(default_factory=dict, init=False)
    _kept: list[PerResponseGradients] = field(default_factory=list, init=False)
    _old: dict[nn.Parameter, Tensor] = field(default_factory=dict, init=False)

    def watch(self, *, trained: bool) -> None:
        """Begin to note the batches of a step.

        Args:
            trained: whether the run has made steps before it.
        """
        self.forget()
        head = None if self._trusted is False or self.mitigated else self.evaluator.scorer.head
        if head is not None and self._tappable is None:
            self._tappable = can_be_tapped(self.model, self.evaluator.autocast)
        if not self._tappable:
            head = None
        self._watch = BatchCapture(self.model, head, memory=self.evaluator.beside_training(trained=trained))

    def next_micro_batch(self) -> None:
        """Hear that a micro-batch is over and another one of the same step begins."""
        if self._watch is not None:
            self._watch.next()

    @property
    def watching(self) -> bool:
        """Whether the step in progress is watched."""
        return self._watch is not None

    def before(self, optimizer: object, *, held_out: int) -> None:
        """Look at everything, now that gradients are complete and clipped and the weights still old.

        Args:
            optimizer: that is about to step.
            held_out: how many of the held-out pairs to look at.

        Raises:
            UnsupportedModelError: no batch was seen, or other parameters need gradients than when the run began.
        """
        assert self._watch is not None
        self._watch.close()
        self.evaluator.scorer.stepping.check()
        step = self._step = OptimizerPreview(optimizer)
        seen = [m for m in self._watch.micro_batches if m.complete]
        parts = [(m.pairs(), self._if_trusted(m)) for m in seen]
        pairs = [pair for part, _ in parts for pair in part]
        coefficients = None if self.mitigated else step_coefficients(seen, len(self._watch.micro_batches))
        if not self._watch.micro_batches:
            raise UnsupportedModelError(
                "No batch of this step went through the model where the probe looks: TRL's fused head was not used."
            )
        self._watch.micro_batches.clear()
        fixed = self.held_out[:held_out]
        if not pairs and not fixed:
            return
        whole, self._kept = self.evaluator.before([*parts, (fixed, None)], step)
        here = {"batch": slice(0, len(pairs)), "probe": slice(len(pairs), None)}
        self._looks = {name: whole.part(part) for name, part in here.items() if whole.pairs[part]}
        self._know("batch", coefficients)
        if fixed and not self.mitigated:
            result = self._looks["probe"]
            self._know("probe", self.coefficients(fixed, result.chosen_logp, result.rejected_logp))
        # Not earlier: what the loss sends depends on log-probs as the run itself computes them.
        self._looks = {name: self.evaluator.sharpened(result) for name, result in self._looks.items()}
        if not step.foretold:
            self._old = {p: p.detach().clone() for p in self.model.parameters() if p.requires_grad}

    def after(self) -> dict[str, ProbeResult]:
        """Look again after the optimizer's step.

        Returns:
            Complete looks: `batch` and, where there are held-out pairs, `probe`.
        """
        assert self._step is not None
        made = self._step.foretold and self._step.matches_update()
        changes: LogpChange | None = None
        if self._kept:
            found = changes_along_updates(
                self._kept, lambda p, rows: [p.detach()[rows] - self._old[p][rows]], directions=1
            )
            changes = change_of(joined(found)[0])
        complete, start = {}, 0
        for name, result in self._looks.items():
            end = start + len(result.pairs)
            followed = None if changes is None else changes.part(slice(start, end))
            complete[name] = self.evaluator.after(result, result.optimizer if made else followed)
            start = end
        if complete and self._looked % _ROUNDING_EVERY == 0:
            self._rounding = self.evaluator.rounding(max(complete.values(), key=lambda result: len(result.pairs)))
        self._looked += bool(complete)
        self.forget()
        return {name: result.above(self._rounding) for name, result in complete.items()}

    def _if_trusted(self, micro_batch: MicroBatch) -> PerResponseGradients | None:
        """What was read off the backward pass; the first time it is compared with a pass of our own."""
        if micro_batch.kept is not None and self._trusted is None:
            self._trusted = self.evaluator.confirms(micro_batch.pairs(), micro_batch.kept)
            if not self._trusted:
                LOGGER.warning(
                    "The gradients that came by in training are not those of the log-probs alone: the loss has other "
                    "terms. The probe uses passes of its own, which cost more."
                )
        return micro_batch.kept if self._trusted else None

    def _know(self, name: str, coefficients: PairCoefficients | None) -> None:
        if name in self._looks:
            self._looks[name] = replace(self._looks[name], coefficients=coefficients)

    def forget(self) -> None:
        """Let go of the step in progress."""
        watch, self._watch, self._step = self._watch, None, None
        self._looks, self._kept, self._old = {}, [], {}
        if watch is not None:
            watch.abandon()


def step_coefficients(micro_batches: Sequence[MicroBatch], accumulated: int) -> PairCoefficients | None:
    """Put together what the loss of a step sends to its pairs.

    Args:
        micro_batches: in order.
        accumulated: how many micro-batches share the step.

    Returns:
        d_w and d_l of each pair's own loss; None where the loss does not treat the tokens of a response alike.
    """
    found = [micro_batch.coefficients(accumulated) for micro_batch in micro_batches]
    known = [c for c in found if c is not None]
    if len(known) < len(found) or not known:
        return None
    return PairCoefficients(torch.cat([c.chosen for c in known]), torch.cat([c.rejected for c in known]))
