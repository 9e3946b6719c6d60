"""Watching a step of TRL's: its batches as they pass through the model, and their gradients as they come back."""

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from preflens.errors import UnsupportedModelError
from preflens.gram.bystander import Bystander, looking_on
from preflens.language_models.batch import PairBatch
from preflens.language_models.heads import PlainHead, token_rows
from preflens.training.observed import MicroBatch
from preflens.types import HeadInput

_TEXT_INPUTS = {
    "input_ids", "attention_mask", "position_ids", "labels", "use_cache", "fused_lm_head", "output_router_logits",
}  # fmt: skip


class Watch:
    """Notes the micro-batches of one step; nothing that the step computes is changed by a bit.

    Args:
        model: as the trainer calls it, without wrappers for several devices.
        head: of the model, where gradients are to be read off the step's own backward passes; else None.
        memory: bytes that these may take; later micro-batches then go without.

    Attributes:
        micro_batches: those of forward passes that need gradients, in order; no reference passes, no evaluations.
    """

    def __init__(self, model: nn.Module, head: PlainHead | None, *, memory: float) -> None:
        self.micro_batches: list[MicroBatch] = []
        self._model, self._memory = model, memory
        self._head = head if head is not None and not _drops_anything(model) else None
        self._hidden: Tensor | None = None
        self._bystander: Bystander | None = None
        self._hooks, self._pass = ExitStack(), ExitStack()
        handles = [
            model.register_forward_pre_hook(self._before_forward, with_kwargs=True),
            model.register_forward_hook(self._after_forward, with_kwargs=True),
        ]
        if self._head is not None:
            handles.append(self._head.backbone.register_forward_hook(self._after_backbone))
        for handle in handles:
            self._hooks.callback(handle.remove)
        self.next()

    def next(self) -> None:
        """Hear that a micro-batch is over."""
        self._end_pass()
        used = sum(m.kept.bytes for m in self.micro_batches if m.kept is not None)
        if self._head is not None and used < self._memory:
            self._bystander = self._pass.enter_context(looking_on(self._model))

    def close(self) -> None:
        """Stop watching."""
        self._end_pass()
        self._hooks.close()

    def abandon(self) -> None:
        """Stop watching a step that nobody will ask about."""
        if self._bystander is not None:
            self._bystander.failed = True
        self.close()

    def _end_pass(self) -> None:
        self._pass.close()
        found, self._bystander, self._hidden = self._bystander, None, None
        if found is not None and found.usable and self.micro_batches:
            self.micro_batches[-1].kept = found.kept

    def _before_forward(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:  # noqa: ARG002  # a hook
        if self._bystander is not None and _trains(kwargs):
            self._bystander.expect(len(kwargs["input_ids"]))

    def _after_backbone(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:  # noqa: ANN401, ARG002  # a hook
        if torch.is_grad_enabled():
            self._hidden = output[0].detach()

    def _after_forward(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:  # noqa: ANN401, ARG002  # a hook
        if not _trains(kwargs):
            return
        _refuse_what_is_no_text(kwargs)
        seen = MicroBatch(kwargs["input_ids"].detach(), kwargs["attention_mask"].bool(), kwargs["labels"] != -100)
        self.micro_batches.append(seen)
        bystander = self._bystander
        if bystander is not None and self._hidden is not None and not kwargs.get("output_router_logits"):
            bystander.begin(self._head_input(seen, self._hidden))
        else:
            bystander = None

        def arrive(sent: Tensor) -> None:
            seen.token_coefficients = sent.detach().clone()
            if bystander is not None:
                bystander.arrive(seen.response_coefficients())

        if output.log_probs.requires_grad:
            output.log_probs.register_hook(arrive)

    def _head_input(self, seen: MicroBatch, hidden: Tensor) -> HeadInput:
        assert self._head is not None
        predicts = seen.completion_mask[:, 1:]
        batch = PairBatch(seen.input_ids, seen.attention_mask, seen.completion_mask)
        return HeadInput(
            hidden[:, :-1][predicts], self._head.linear.weight, seen.input_ids[:, 1:][predicts],
            predicts.nonzero()[:, 0], len(predicts), bias=self._head.linear.bias, scale=self._head.scale,
            soft_cap=self._head.soft_cap, rows=token_rows(batch),
        )  # fmt: skip


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
