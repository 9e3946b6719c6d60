"""Replace TRL's fused head by one that scores only the rows that predict a response token.

Off the GPU, TRL scores every position of a batch, prompts and padding included. Here the same function of the same
hidden states is computed on response rows, in the forward and in the backward pass. Where the backward pass is
observed, the head's part of the Gram is read off in it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from preflens.errors import UnsupportedModelError
from preflens.gram.training_step.deferred import DeferredGradients
from preflens.gram.training_step.observer import BackwardObserver
from preflens.language_models.batch import PairBatch
from preflens.language_models.output_head import head_input_from_rows
from preflens.training.scored_head import ScoredHead
from preflens.training.trainer_protocol import head_function, replaced_head_function


@contextmanager
def response_rows_only(
    batch: PairBatch, observer: BackwardObserver | DeferredGradients | None = None
) -> Iterator[None]:
    """Let models with TRL's fused head score response rows only, inside a block.

    Args:
        batch: that goes through the model in the block.
        observer: reads the head's gradients off the backward pass, or None.

    Yields:
        Nothing.
    """
    with replaced_head_function(ResponseRowsFunction(head_function(), batch, observer)):
        yield


@dataclass(frozen=True)
class ResponseRowsFunction:
    """Called in place of TRL's autograd function.

    Attributes:
        original: that function.
        batch: the rows that go through the model.
        observer: reads the head's gradients off the backward pass, or None.
    """

    original: Any
    batch: PairBatch
    observer: BackwardObserver | DeferredGradients | None

    def apply(
        self,
        hidden: Float[Tensor, "row in"],
        weight: Float[Tensor, "vocab in"],
        bias: Float[Tensor, " vocab"] | None,
        targets: Tensor,
        temperature: float,
        chunk_size: int,
        soft_cap: float | None,
        scale: float,
        outputs: tuple[str, ...],
    ) -> tuple[Tensor | None, ...]:
        """Score response rows; the others get zeros, which TRL masks anyway."""
        _check_supported(temperature, outputs)
        predicts = self.batch.completion_mask[:, 1:]
        positions = predicts.flatten().nonzero()[:, 0]
        if len(positions) == 0:  # nothing to score, but the graph has to be kept
            rest = (temperature, chunk_size, soft_cap, scale, outputs)
            unscored: tuple[Tensor | None, ...] = self.original.apply(hidden, weight, bias, targets, *rest)
            return unscored
        is_compact = len(hidden) == len(positions) != predicts.numel()
        if not is_compact and len(hidden) != predicts.numel():
            raise UnsupportedModelError(
                f"The head got {len(hidden)} rows for {predicts.numel()} tokens, as with virtual tokens of prompt "
                "learning. Pass `replace_head=False`."
            )
        rows = hidden if is_compact else hidden[positions]
        head = head_input_from_rows(rows, weight, self.batch, bias=bias, scale=scale, soft_cap=soft_cap)
        observer = self.observer if torch.is_grad_enabled() else None
        if observer is not None:
            observer.on_forward(head)
        scored: tuple[Tensor, ...] = ScoredHead.apply(rows, weight, bias, head, observer)  # type: ignore[no-untyped-call]  # torch's
        if not is_compact:
            scored = tuple(v.new_zeros(len(hidden)).index_copy(0, positions, v) for v in scored)
        logps, entropy, mean, top = scored
        return logps, entropy, None, mean, top


def _check_supported(temperature: float, outputs: tuple[str, ...]) -> None:
    if temperature != 1:
        raise UnsupportedModelError(f"A temperature of {temperature:g} is not supported; TRL's DPOTrainer uses 1.")
    if "log_sum_sq_probs" in outputs:
        raise UnsupportedModelError("The weighting of WPO needs TRL's own head. Pass `replace_head=False`.")
