"""The probe of one training run, a step at a time: capture, predict before the optimizer's step, measure after it."""

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
from preflens.training.probe.result import ProbeResult, change_of, join_passes
from preflens.types import LogpChange, PairCoefficients

LOGGER = logging.getLogger("preflens")

# Probed steps after which rounding is estimated again: it changes as slowly as the model does.
_ROUNDING_EVERY = 10
# Coefficients of held-out pairs from their log-probs before the step; None where the loss does not determine them.
HeldOutCoefficients = Callable[[Sequence[TokenizedPair], Tensor, Tensor], PairCoefficients | None]


@dataclass(kw_only=True)
class StepProbe:
    """Probes one run, a step at a time.

    Attributes:
        model: without wrappers for several devices.
        evaluator: evaluates pairs.
        held_out: the fixed pairs of this process.
        coefficients: of held-out pairs.
        mitigated: whether a mitigation changes the step, so that the loss does not determine its coefficients.
        capture: of the step in progress; None where it is not probed.
        trusts_capture: whether captured gradients agreed with those of a separate pass; None before they are compared.
    """

    model: nn.Module
    evaluator: PairEvaluator
    held_out: tuple[TokenizedPair, ...]
    coefficients: HeldOutCoefficients
    mitigated: bool = False
    capture: BatchCapture | None = field(default=None, init=False)
    trusts_capture: bool | None = field(default=None, init=False)
    _can_be_tapped: bool | None = field(default=None, init=False)
    _probed_steps: int = field(default=0, init=False)
    _rounding: float | None = field(default=None, init=False)
    _preview: OptimizerPreview | None = field(default=None, init=False)
    _results: dict[str, ProbeResult] = field(default_factory=dict, init=False)
    _gradients: list[PerResponseGradients] = field(default_factory=list, init=False)
    _old: dict[nn.Parameter, Tensor] = field(default_factory=dict, init=False)

    def begin(self, *, trained: bool) -> None:
        """Start to capture a step.

        Args:
            trained: whether the run has made steps before it.
        """
        self.discard()
        head = None if self.trusts_capture is False or self.mitigated else self.evaluator.scorer.head
        if head is not None and self._can_be_tapped is None:
            self._can_be_tapped = can_be_tapped(self.model, self.evaluator.autocast)
        if not self._can_be_tapped:
            head = None
        self.capture = BatchCapture(self.model, head, memory=self.evaluator.capture_bytes(trained=trained))

    def next_micro_batch(self) -> None:
        """End a micro-batch; another one of the same step follows."""
        if self.capture is not None:
            self.capture.next_micro_batch()

    def predict(self, optimizer: object, *, held_out: int) -> None:
        """Forecast the step, when its gradients are complete and clipped and the weights are still old.

        Args:
            optimizer: about to step.
            held_out: how many of the held-out pairs to use.

        Raises:
            UnsupportedModelError: no batch was captured, or other parameters need gradients than at the start.
        """
        assert self.capture is not None
        self.capture.close()
        self.evaluator.scorer.stepping.check()
        preview = self._preview = OptimizerPreview(optimizer)
        complete = [m for m in self.capture.micro_batches if m.complete]
        groups = [(m.pairs(), self._trusted_gradients(m)) for m in complete]
        count = sum(len(pairs) for pairs, _ in groups)
        accumulated = len(self.capture.micro_batches)
        coefficients = None if self.mitigated else step_coefficients(complete, accumulated)
        if not accumulated:
            raise UnsupportedModelError(
                "No batch of this step went through the model with TRL's fused head, so the probe has nothing to use."
            )
        self.capture.micro_batches.clear()
        fixed = self.held_out[:held_out]
        if not count and not fixed:
            return
        result, self._gradients = self.evaluator.predict([*groups, (fixed, None)], preview)
        sets = {"batch": slice(0, count), "probe": slice(count, None)}
        self._results = {name: result.part(indices) for name, indices in sets.items() if result.pairs[indices]}
        self._set_coefficients("batch", coefficients)
        if fixed and not self.mitigated:
            probed = self._results["probe"]
            self._set_coefficients("probe", self.coefficients(fixed, probed.chosen_logp, probed.rejected_logp))
        # Not earlier: the coefficients depend on log-probs as the run itself computes them.
        self._results = {name: self.evaluator.rescore(result) for name, result in self._results.items()}
        if not preview.supported:
            self._old = {p: p.detach().clone() for p in self.model.parameters() if p.requires_grad}

    def measure(self) -> dict[str, ProbeResult]:
        """Measure the changes after the optimizer's step.

        Returns:
            Complete results: `batch` and, where there are held-out pairs, `probe`.
        """
        assert self._preview is not None
        is_predicted = self._preview.supported and self._preview.matches_update()
        changes = self._changes_along_made_update()
        complete, start = {}, 0
        for name, result in self._results.items():
            end = start + len(result.pairs)
            along_update = None if changes is None else changes.part(slice(start, end))
            complete[name] = self.evaluator.measure(result, result.optimizer if is_predicted else along_update)
            start = end
        if complete and self._probed_steps % _ROUNDING_EVERY == 0:
            largest = max(complete.values(), key=lambda result: len(result.pairs))
            self._rounding = self.evaluator.estimate_rounding(largest)
        self._probed_steps += bool(complete)
        self.discard()
        return {name: result.with_floor(self._rounding) for name, result in complete.items()}

    def _changes_along_made_update(self) -> LogpChange | None:
        """Gradients times the update that was made, where they were kept because it could not be predicted."""
        if not self._gradients:
            return None
        changes = changes_along_updates(
            self._gradients, lambda p, rows: [p.detach()[rows] - self._old[p][rows]], directions=1
        )
        return change_of(join_passes(changes)[0])

    def _trusted_gradients(self, micro_batch: MicroBatch) -> PerResponseGradients | None:
        """Captured gradients; the first ones are compared with those of a separate pass."""
        if micro_batch.gradients is not None and self.trusts_capture is None:
            self.trusts_capture = self.evaluator.confirms_capture(micro_batch.pairs(), micro_batch.gradients)
            if not self.trusts_capture:
                LOGGER.warning(
                    "The gradients captured in training are not those of the log-probs alone: the loss has other "
                    "terms. The probe runs passes of its own, which cost more."
                )
        return micro_batch.gradients if self.trusts_capture else None

    def _set_coefficients(self, name: str, coefficients: PairCoefficients | None) -> None:
        if name in self._results:
            self._results[name] = replace(self._results[name], coefficients=coefficients)

    def discard(self) -> None:
        """Release everything of the step in progress."""
        capture, self.capture, self._preview = self.capture, None, None
        self._results, self._gradients, self._old = {}, [], {}
        if capture is not None:
            capture.abandon()


def step_coefficients(micro_batches: Sequence[MicroBatch], accumulated: int) -> PairCoefficients | None:
    """Concatenate the coefficients of the pairs of a step.

    Args:
        micro_batches: in order.
        accumulated: how many micro-batches share the step.

    Returns:
        d_w and d_l of each pair's own loss; None where the loss weights tokens of a response differently.
    """
    coefficients = [micro_batch.coefficients(accumulated) for micro_batch in micro_batches]
    known = [c for c in coefficients if c is not None]
    if len(known) < len(coefficients) or not known:
        return None
    return PairCoefficients(torch.cat([c.chosen for c in known]), torch.cat([c.rejected for c in known]))
