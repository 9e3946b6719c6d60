"""What a model answers, greedily, before and after training: the look that tells whether it broke."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerBase

from preflens.language_models.model import LanguageModel, evaluating
from preflens.language_models.tokenizing import TokenizedPair

_NGRAM = 4


@dataclass(frozen=True)
class Sample:
    """A greedy answer.

    Attributes:
        prompt: what was asked, with special tokens.
        answer: what came, without them.
        tokens: of the answer, its end included.
        ended: whether it ended by itself.
        repetition: share of its four-token sequences that were there before; 0 for answers that are too short.
    """

    prompt: str
    answer: str
    tokens: int
    ended: bool
    repetition: float


def greedy_samples(
    model: LanguageModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[TokenizedPair],
    *,
    max_new_tokens: int = 128,
) -> list[Sample]:
    """Let a model answer the prompts of pairs.

    Args:
        model: left in the mode that it is in; no random numbers are drawn.
        tokenizer: of the model.
        pairs: whose prompts; those without one are left out.
        max_new_tokens: an answer is cut there.

    Returns:
        One sample a prompt.
    """
    found = []
    with evaluating(model), torch.no_grad():
        for pair in pairs:
            if not pair.prompt_ids:
                continue
            ids = torch.tensor([pair.prompt_ids], device=model.device)
            whole = model.generate(  # type: ignore[operator]  # of its mixin
                input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=max_new_tokens,
                pad_token_id=tokenizer.pad_token_id or 0, use_cache=True,
            )  # fmt: skip
            found.append(_sample(tokenizer, list(pair.prompt_ids), whole[0, ids.shape[1] :].tolist(), max_new_tokens))
    return found


def repetition(tokens: Sequence[int]) -> float:
    """Return the share of four-token sequences that appeared before.

    Args:
        tokens: of an answer.

    Returns:
        From 0 to nearly 1.
    """
    grams = [tuple(tokens[k : k + _NGRAM]) for k in range(len(tokens) - _NGRAM + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _sample(tokenizer: PreTrainedTokenizerBase, prompt: list[int], answer: list[int], limit: int) -> Sample:
    text = str(tokenizer.decode(answer, skip_special_tokens=True))
    return Sample(str(tokenizer.decode(prompt)), text, len(answer), len(answer) < limit, repetition(answer))
