"""Watching a step of TRL's: its batches as they pass through the model, and their gradients as they come back."""

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


def _unnoticed(hook: Callable[Concatenate["BatchCapture", P], None]) -> Callable[Concatenate["BatchCapture", P], None]:
    """A hook whose exceptions the pass that it hangs on does not notice: they are the watch's trouble."""

    def call(watch: "BatchCapture", /, *args: P.args, **kwargs: P.kwargs) -> None:
        if watch.trouble:
            return
        try:
            hook(watch, *args, **kwargs)
        except Exception as error:  # as in `ProbeFailure.attempt`
            watch.give_up(error)

    return call


class BatchCapture:
    """Notes the micro-batches of one step; nothing that the step computes is changed by a bit.

    Args:
        model: as the trainer calls it, without wrappers for several devices.
        head: of the model, where gradients are to be read off the step's own backward passes; else None.
        memory: bytes that these may take; later micro-batches then go without.

    Attributes:
        micro_batches: those of forward passes that need gradients, in order; no reference passes, no evaluations.
        trouble: whether something went wrong in a hook.
    """

    def __init__(self, model: nn.Module, head: PlainHead | None, *, memory: float) -> None:
        self.micro_batches: list[MicroBatch] = []
        self._model, self._memory = model, memory
        self._head = head if head is not None and not _drops_anything(model) else None
        self.trouble = ProbeFailure()
        self._hidden: Tensor | None = None
        self._bystander: PassiveObserver | None = None
        self._hooks, self._pass = ExitStack(), ExitStack()
        with ExitStack() as stack:
            self._install(stack)
            self.next()
            self._hooks = stack.pop_all()

    def _install(self, stack: ExitStack) -> None:
        model = self._model
        stack.callback(model.register_forward_pre_hook(self._before_forward, with_kwargs=True).remove)
        stack.callback(model.register_forward_hook(self._after_forward, with_kwargs=True).remove)
        if self._head is not None:
            stack.callback(self._head.backbone.register_forward_hook(self._after_backbone).remove)

    def next(self) -> None:
        """Hear that a micro-batch is over.

        Raises:
            Exception: what went wrong in its hooks.
        """
        self._end_pass()
        self._say_what_went_wrong()
        used = sum(m.kept.bytes for m in self.micro_batches if m.kept is not None)
        if self._head is not None and used < self._memory:
            self._bystander = self._pass.enter_context(observe_passively(self._model, memory=self._memory - used))

    def close(self) -> None:
        """Stop watching.

        Raises:
            Exception: what went wrong in the hooks.
        """
        try:
            self._end_pass()
            self._say_what_went_wrong()
        finally:
            self._hooks.close()

    def abandon(self) -> None:
        """Stop watching a step that nobody will ask about."""
        if self._bystander is not None:
            self._bystander.failed = True
        try:
            self._end_pass()
        finally:
            self._hooks.close()

    def give_up(self, error: Exception) -> None:
        """Look away, in the middle of a pass: what is tapped stays so, because checkpoints have to meet it again.

        Args:
            error: why.
        """
        self.trouble.note(error)
        self.micro_batches.clear()
        self._hidden = None
        if self._bystander is not None:
            self._bystander.failed = True

    def _say_what_went_wrong(self) -> None:
        if self.trouble.error is not None:
            raise self.trouble.error

    def _end_pass(self) -> None:
        found, self._bystander, self._hidden = self._bystander, None, None
        self._pass.close()
        if found is not None and found.usable and self.micro_batches:
            self.micro_batches[-1].kept = found.gradients

    @_unnoticed
    def _before_forward(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:  # noqa: ARG002  # a hook
        if self._bystander is not None and _trains(kwargs):
            self._bystander.expect(len(kwargs["input_ids"]))

    @_unnoticed
    def _after_backbone(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:  # noqa: ANN401, ARG002  # a hook
        if torch.is_grad_enabled():
            self._hidden = output[0].detach()

    @_unnoticed
    def _after_forward(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:  # noqa: ANN401, ARG002  # a hook
        if not _trains(kwargs):
            return
        _refuse_what_is_no_text(kwargs)
        seen = MicroBatch(kwargs["input_ids"].detach(), kwargs["attention_mask"].bool(), kwargs["labels"] != -100)
        self.micro_batches.append(seen)
        bystander = self._bystander
        if bystander is not None and self._hidden is not None and not kwargs.get("output_router_logits"):
            bystander.on_forward(self._head_input(seen, self._hidden))
        else:
            bystander = None

        if output.log_probs.requires_grad:
            output.log_probs.register_hook(partial(self._arrive, seen, bystander))

    @_unnoticed
    def _arrive(self, seen: MicroBatch, bystander: PassiveObserver | None, sent: Tensor) -> None:
        seen.token_coefficients = sent.detach().clone()
        if bystander is not None:
            bystander.on_coefficients(seen.response_coefficients())

    def _head_input(self, seen: MicroBatch, hidden: Tensor) -> HeadInput:
        assert self._head is not None
        batch = PairBatch(seen.input_ids, seen.attention_mask, seen.completion_mask)
        return head_input_from_hidden(self._head, hidden, batch)


def _trains(kwargs: dict[str, Any]) -> bool:
    return torch.is_grad_enabled() and bool(kwargs.get("fused_lm_head"))


def _drops_anything(model: nn.Module) -> bool:
    """Whether training draws random numbers, so that its gradients are not those of the model itself."""
    # Asked before the first step, when the model may still be in evaluation mode.
    layers = (m for m in model.modules() if isinstance(m, nn.modules.dropout._DropoutNd))
    return any(layer.p > 0 for layer in layers) or any(getattr(m, "attention_dropout", 0.0) for m in model.modules())


def _refuse_what_is_no_text(kwargs: dict[str, Any]) -> None:
    others = sorted(name for name in kwargs if name not in _TEXT_INPUTS)
    if others:
        raise UnsupportedModelError(
            f"The probe follows text only, and this model is also called with {', '.join(f'`{n}`' for n in others)}."
        )
