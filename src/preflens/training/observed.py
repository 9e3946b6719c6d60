"""The pairs that a step trains on, seen as they pass through TRL's model, and what its loss sends back to each."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor, nn

from preflens.errors import UnsupportedModelError
from preflens.language_models.pairs import PreferencePair
from preflens.language_models.tokenizing import TokenizedPair
from preflens.types import PairCoefficients

_TEXT_INPUTS = {"input_ids", "attention_mask", "labels", "use_cache", "fused_lm_head", "output_router_logits"}
# How much ∂L/∂(token log-prob) may vary within a response and still be one number: float32 rounding.
_SAME = 1e-4


@dataclass
class MicroBatch:
    """One forward pass of a training step.

    Attributes:
        input_ids: chosen rows, then rejected rows.
        attention_mask: true on real tokens.
        completion_mask: true on the tokens of the response.
        token_coefficients: ∂L/∂(log-prob of a token), at the position before it; None before the backward pass.
    """

    input_ids: Int[Tensor, "response token"]
    attention_mask: Bool[Tensor, "response token"]
    completion_mask: Bool[Tensor, "response token"]
    token_coefficients: Float[Tensor, "response predicted_token"] | None = None

    def pairs(self) -> list[TokenizedPair]:
        """Return the pairs without padding; their ids tell equal pairs by their tokens."""
        half = len(self.input_ids) // 2
        rows = [(ids[real], scored[real]) for ids, real, scored in self._rows()]
        return [_pair(*chosen, *rejected) for chosen, rejected in zip(rows[:half], rows[half:], strict=True)]

    def coefficients(self) -> PairCoefficients | None:
        """Return d_w and d_l of each pair as its share of this step; None where a response's tokens differ in them."""
        if self.token_coefficients is None:
            return None
        scored = self.completion_mask[:, 1:].to(self.token_coefficients.device)
        sent = self.token_coefficients.double()
        mean: Float64[Tensor, " response"] = (sent * scored).sum(1) / scored.sum(1).clamp(min=1)
        uneven = ((sent - mean[:, None]).abs() * scored).amax(1) > _SAME * mean.abs()
        if bool(uneven.any()):
            return None
        chosen, rejected = mean.cpu().chunk(2)
        return PairCoefficients(-chosen, rejected)

    def _rows(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        parts = (self.input_ids.cpu(), self.attention_mask.cpu(), self.completion_mask.cpu())
        return zip(*parts, strict=True)


@dataclass
class Window:
    """What a step has seen so far.

    Attributes:
        micro_batches: one a forward pass, in order.
    """

    micro_batches: list[MicroBatch] = field(default_factory=list)


@contextmanager
def watching(model: nn.Module) -> Iterator[Window]:
    """Note the batches that go through a model that TRL has given a fused head; nothing is changed.

    Args:
        model: as the trainer calls it, without wrappers for several devices.

    Yields:
        The window; reference passes and evaluations, which need no gradients, are not in it.
    """
    window = Window()

    def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:  # noqa: ANN401, ARG001  # hooks
        if not torch.is_grad_enabled() or not kwargs.get("fused_lm_head"):
            return
        _refuse_what_is_no_text(kwargs)
        scored = kwargs["labels"] != -100
        seen = MicroBatch(kwargs["input_ids"].detach(), kwargs["attention_mask"].bool(), scored)
        window.micro_batches.append(seen)
        if output.log_probs.requires_grad:
            output.log_probs.register_hook(lambda sent: setattr(seen, "token_coefficients", sent.detach().clone()))

    handle = model.register_forward_hook(note, with_kwargs=True)
    try:
        yield window
    finally:
        handle.remove()


def pair_id(prompt_ids: tuple[int, ...], chosen_ids: tuple[int, ...], rejected_ids: tuple[int, ...]) -> str:
    """Name a pair by its tokens, so that it has the same name in every run.

    Args:
        prompt_ids: of the context.
        chosen_ids: of the chosen response.
        rejected_ids: of the rejected response.

    Returns:
        Sixteen hexadecimal digits.
    """
    return blake2b(repr((prompt_ids, chosen_ids, rejected_ids)).encode(), digest_size=8).hexdigest()


def _pair(chosen: Tensor, chosen_scored: Tensor, rejected: Tensor, rejected_scored: Tensor) -> TokenizedPair:
    start = int(chosen_scored.long().argmax()) if bool(chosen_scored.any()) else len(chosen)
    prompt, first = tuple(chosen[:start].tolist()), tuple(chosen[chosen_scored].tolist())
    second = tuple(rejected[rejected_scored].tolist())
    return TokenizedPair(PreferencePair(pair_id(prompt, first, second), "", "", ""), prompt, first, second)


def _refuse_what_is_no_text(kwargs: dict[str, Any]) -> None:
    others = sorted(name for name in kwargs if name not in _TEXT_INPUTS)
    if others:
        raise UnsupportedModelError(
            f"The probe follows text only, and this model is also called with {', '.join(f'`{n}`' for n in others)}."
        )
