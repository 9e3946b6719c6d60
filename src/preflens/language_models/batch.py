"""Batches of tokenized pairs in TRL's layout: chosen rows, then rejected rows, padded on the right."""

from collections.abc import Sequence
from dataclasses import dataclass
from inspect import signature

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from preflens.language_models.tokenizing import TokenizedPair


@dataclass(frozen=True)
class PairBatch:
    """A batch of pairs, as inputs of a model.

    Attributes:
        input_ids: token ids, padded on the right.
        attention_mask: true on real tokens.
        completion_mask: true on the tokens of the response.
    """

    input_ids: Int[Tensor, "response token"]
    attention_mask: Bool[Tensor, "response token"]
    completion_mask: Bool[Tensor, "response token"]

    @property
    def tokens(self) -> Int[Tensor, " response"]:
        """Number of scored tokens of each response. The first token of a sequence has no log-prob."""
        return self.completion_mask[:, 1:].sum(dim=1)


def collate(pairs: Sequence[TokenizedPair], *, pad_token_id: int, device: torch.device | str = "cpu") -> PairBatch:
    """Build a batch from pairs.

    Args:
        pairs: at least one.
        pad_token_id: the token that pads rows on the right; masked everywhere, so it changes no result.
        device: the device of the batch.

    Returns:
        The batch: the chosen response of every pair, then the rejected ones.
    """
    rows = [(p.prompt_ids, p.chosen_ids) for p in pairs] + [(p.prompt_ids, p.rejected_ids) for p in pairs]
    width = max(len(prompt) + len(response) for prompt, response in rows)
    ids = torch.full((len(rows), width), pad_token_id)
    attention, completion = torch.zeros(2, len(rows), width, dtype=torch.bool)
    for i, (prompt, response) in enumerate(rows):
        end = len(prompt) + len(response)
        ids[i, :end] = torch.tensor((*prompt, *response))
        attention[i, :end] = True
        completion[i, len(prompt) : end] = True
    return PairBatch(ids.to(device), attention.to(device), completion.to(device))


def model_inputs(model: nn.Module, batch: PairBatch) -> dict[str, Tensor]:
    """Return the inputs of a model: ids, mask, and positions of every row if the model accepts them.

    Without positions, a model may use one row of positions for the whole batch, and per-response gradients of its
    position table could not be separated.

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
    """Return the number of real tokens before each token; padding on the right continues the count.

    Args:
        attention_mask: true on real tokens.

    Returns:
        Positions.
    """
    steps = torch.arange(attention_mask.shape[1], device=attention_mask.device)
    padding_before = attention_mask.long().argmax(dim=1, keepdim=True)
    return (steps - padding_before).clamp(min=0)
