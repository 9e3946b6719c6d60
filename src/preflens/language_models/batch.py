"""Tokenised pairs in TRL's layout: chosen rows, then rejected rows, padded on the right."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from preflens.language_models.tokenizing import TokenizedPair


@dataclass(frozen=True)
class PairBatch:
    """Pairs ready for a model.

    Attributes:
        input_ids: token ids, padded on the right.
        attention_mask: true on real tokens.
        completion_mask: true on the tokens of the response, at their own positions.
    """

    input_ids: Int[Tensor, "response token"]
    attention_mask: Bool[Tensor, "response token"]
    completion_mask: Bool[Tensor, "response token"]

    @property
    def tokens(self) -> Int[Tensor, " response"]:
        """Scored tokens of each response: a sequence's first token has no log-prob."""
        return self.completion_mask[:, 1:].sum(dim=1)


def collate(pairs: Sequence[TokenizedPair], *, pad_token_id: int, device: torch.device | str = "cpu") -> PairBatch:
    """Lay pairs out as a batch.

    Args:
        pairs: at least one.
        pad_token_id: fills the rows on the right; masked everywhere, so it changes no number.
        device: where to.

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
