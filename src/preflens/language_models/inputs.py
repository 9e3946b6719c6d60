"""What a language model is called with."""

from inspect import signature

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from preflens.language_models.batch import PairBatch


def model_inputs(model: nn.Module, batch: PairBatch) -> dict[str, Tensor]:
    """Return what a model is called with: ids, mask, and positions of every row where the model takes them.

    Left to itself a model may look up one row of positions for the whole batch, and the gradients of responses could
    not be told apart in its position table.

    Args:
        model: a causal language model or its backbone.
        batch: rows in TRL's layout.

    Returns:
        Keyword arguments.
    """
    inputs: dict[str, Tensor] = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask.long()}
    if "position_ids" in signature(type(model).forward).parameters:
        inputs["position_ids"] = positions(batch.attention_mask)
    return inputs


def positions(attention_mask: Bool[Tensor, "response token"]) -> Int[Tensor, "response token"]:
    """Count the real tokens before each token; padding on the right goes on counting.

    Args:
        attention_mask: true on real tokens.

    Returns:
        Positions.
    """
    steps = torch.arange(attention_mask.shape[1], device=attention_mask.device)
    padding_before = attention_mask.long().argmax(dim=1, keepdim=True)
    return (steps - padding_before).clamp(min=0)
