"""Capture one training step of TRL's: its batches, the coefficients of its loss, and per-response gradients."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any, Concatenate, ParamSpec

import torch
from torch import Tensor, nn

from preflens.errors import UnsupportedModelError
from preflens.gram.training_step.passive import PassiveObserver, observe_passively
from preflens.language_models.batch import PairBatch
from preflens.language_models.output_head import PlainHead, head_input_from_hidden
from preflens.training.probe.failsafe import ProbeFailure
from preflens.training.probe.micro_batch import MicroBatch
from preflens.types import HeadInput

_TEXT_INPUTS = {
    "input_ids", "attention_mask", "position_ids", "labels", "use_cache", "fused_lm_head", "output_router_logits",
}  # fmt: skip


P = ParamSpec("P")


def _contained(hook: Callable[Concatenate["BatchCapture", P], None]) -> Callable[Concatenate["BatchCapture", P], None]:
    """A hook whose exceptions do not reach the pass that calls it: they become the capture's failure."""

    def call(capture: "BatchCapture", /, *args: P.args, **kwargs: P.kwargs) -> None:
        if capture.failure:
            return
        try:
            hook(capture, *args, **kwargs)
        except Exception as error:  # as in `ProbeFailure.attempt`
            capture.fail(error)

    return call


class BatchCapture:
    """Captures the micro-batches of one step; nothing that the step computes is changed by a bit.

    Args:
        model: as the trainer calls it, without wrappers for several devices.
        head: of the model, where per-response gradients are to be captured, too; otherwise None.
        memory: bytes that gradients may take; later micro-batches then have none.

    Attributes:
        micro_batches: one per forward pass that needs gradients, in order; no reference passes, no evaluations.
        failure: the exception of a hook, if any.
    """

    def __init__(self, model: nn.Module, head: PlainHead | None, *, memory: float) -> None:
        self.micro_batches: list[MicroBatch] = []
        self._model, self._memory = model, memory
        self._head = head if head is not None and not _has_dropout(model) else None
        self.failure = ProbeFailure()
        self._hidden: Tensor | None = None
        self._observer: PassiveObserver | None = None
        self._hooks, self._pass = ExitStack(), ExitStack()
        with ExitStack() as stack:
            self._install(stack)
            self.next_micro_batch()
            self._hooks = stack.pop_all()

    def _install(self, stack: ExitStack) -> None:
        model = self._model
        stack.callback(model.register_forward_pre_hook(self._before_forward, with_kwargs=True).remove)
        stack.callback(model.register_forward_hook(self._after_forward, with_kwargs=True).remove)
        if self._head is not None:
            stack.callback(self._head.backbone.register_forward_hook(self._after_backbone).remove)

    def next_micro_batch(self) -> None:
        """End a micro-batch and prepare for the next one.

        Raises:
            Exception: of one of its hooks.
        """
        self._end_pass()
        self._raise_failure()
        used = sum(m.gradients.bytes for m in self.micro_batches if m.gradients is not None)
        if self._head is not None and used < self._memory:
            self._observer = self._pass.enter_context(observe_passively(self._model, memory=self._memory - used))

    def close(self) -> None:
        """End the capture.

        Raises:
            Exception: of one of the hooks.
        """
        try:
            self._end_pass()
            self._raise_failure()
        finally:
            self._hooks.close()

    def abandon(self) -> None:
        """End the capture of a step whose results are not used."""
        if self._observer is not None:
            self._observer.failed = True
        try:
            self._end_pass()
        finally:
            self._hooks.close()

    def fail(self, error: Exception) -> None:
        """Stop capturing in the middle of a pass.

        Hooked modules stay hooked until its end, because recomputed checkpoints have to meet the same hooks again.

        Args:
            error: why.
        """
        self.failure.note(error)
        self.micro_batches.clear()
        self._hidden = None
        if self._observer is not None:
            self._observer.failed = True

    def _raise_failure(self) -> None:
        if self.failure.error is not None:
            raise self.failure.error

    def _end_pass(self) -> None:
        observer, self._observer, self._hidden = self._observer, None, None
        self._pass.close()
        if observer is not None and observer.usable and self.micro_batches:
            self.micro_batches[-1].gradients = observer.gradients

    @_contained
    def _before_forward(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:  # noqa: ARG002  # a hook
        if self._observer is not None and _is_training_pass(kwargs):
            self._observer.expect(len(kwargs["input_ids"]))

    @_contained
    def _after_backbone(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:  # noqa: ANN401, ARG002  # a hook
        if torch.is_grad_enabled():
            self._hidden = output[0].detach()

    @_contained
    def _after_forward(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:  # noqa: ANN401, ARG002  # a hook
        if not _is_training_pass(kwargs):
            return
        _check_text_only(kwargs)
        batch = MicroBatch(kwargs["input_ids"].detach(), kwargs["attention_mask"].bool(), kwargs["labels"] != -100)
        self.micro_batches.append(batch)
        observer = self._observer
        if observer is not None and self._hidden is not None and not kwargs.get("output_router_logits"):
            observer.on_forward(self._head_input(batch, self._hidden))
        else:
            observer = None

        if output.log_probs.requires_grad:
            output.log_probs.register_hook(partial(self._receive_coefficients, batch, observer))

    @_contained
    def _receive_coefficients(self, batch: MicroBatch, observer: PassiveObserver | None, gradient: Tensor) -> None:
        batch.token_coefficients = gradient.detach().clone()
        if observer is not None:
            observer.on_coefficients(batch.response_coefficients())

    def _head_input(self, batch: MicroBatch, hidden: Tensor) -> HeadInput:
        assert self._head is not None
        pairs = PairBatch(batch.input_ids, batch.attention_mask, batch.completion_mask)
        return head_input_from_hidden(self._head, hidden, pairs)


def _is_training_pass(kwargs: dict[str, Any]) -> bool:
    return torch.is_grad_enabled() and bool(kwargs.get("fused_lm_head"))


def _has_dropout(model: nn.Module) -> bool:
    """Whether training draws random numbers, so that its gradients are not those of the model itself."""
    # Called before the first step, when the model may still be in evaluation mode.
    layers = (m for m in model.modules() if isinstance(m, nn.modules.dropout._DropoutNd))
    return any(layer.p > 0 for layer in layers) or any(getattr(m, "attention_dropout", 0.0) for m in model.modules())


def _check_text_only(kwargs: dict[str, Any]) -> None:
    others = sorted(name for name in kwargs if name not in _TEXT_INPUTS)
    if others:
        raise UnsupportedModelError(
            f"The probe supports text only, and this model is also called with {', '.join(f'`{n}`' for n in others)}."
        )
