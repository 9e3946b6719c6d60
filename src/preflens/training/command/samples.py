"""Greedy answers of a model, to compare before and after training."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import GenerationConfig, PreTrainedTokenizerBase

from preflens.language_models.loading import padding_token_id
from preflens.language_models.model import LanguageModel, context_length, evaluating

_NGRAM = 4


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A greedy answer.

    Attributes:
        prompt: the prompt, with special tokens.
        answer: the answer, without them.
        tokens: of the answer, its end included.
        ended: whether the model ended it, rather than the limit of tokens.
        repetition: share of its four-token sequences that occur earlier in it; 0 for answers that are too short.
    """

    prompt: str
    answer: str
    tokens: int
    ended: bool
    repetition: float


def greedy_samples(
    model: LanguageModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int = 128,
) -> list[Sample]:
    """Generate greedy answers to prompts.

    Args:
        model: its modes are restored; no random numbers are drawn.
        tokenizer: of the model.
        prompts: token ids; empty prompts, and those that fill the context of the model, are left out.
        max_new_tokens: an answer is cut there, and where the model's context ends.

    Returns:
        One sample per prompt.
    """
    ends, context = _end_tokens(model, tokenizer), context_length(model)
    samples = []
    with evaluating(model), torch.no_grad():
        for prompt in prompts:
            room = max_new_tokens if context is None else min(max_new_tokens, context - len(prompt))
            if not prompt or room < 1:
                continue
            ids = torch.tensor([list(prompt)], device=model.device)
            settings = GenerationConfig(
                do_sample=False, max_new_tokens=room, eos_token_id=ends, pad_token_id=padding_token_id(tokenizer)
            )
            generated = model.generate(  # type: ignore[operator]  # of its mixin
                input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=settings
            )
            samples.append(_sample(tokenizer, list(prompt), generated[0, ids.shape[1] :].tolist(), ends))
    return samples


def repetition(tokens: Sequence[int]) -> float:
    """Return the share of four-token sequences that occur earlier in the same answer.

    Args:
        tokens: of an answer.

    Returns:
        From 0 to nearly 1.

    Example:
        >>> repetition([1, 2, 3, 4, 5, 6, 7]), repetition([1] * 8)
        (0.0, 0.8)
    """
    grams = [tuple(tokens[k : k + _NGRAM]) for k in range(len(tokens) - _NGRAM + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _end_tokens(model: LanguageModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Tokens that end an answer: those of the model, and that of the tokenizer, with which training rows end."""
    setting = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    of_model = setting if isinstance(setting, list) else [setting]
    return sorted({end for end in [*of_model, tokenizer.eos_token_id] if end is not None})


def _sample(tokenizer: PreTrainedTokenizerBase, prompt: list[int], answer: list[int], ends: list[int]) -> Sample:
    text = str(tokenizer.decode(answer, skip_special_tokens=True))
    ended = bool(answer) and answer[-1] in ends
    return Sample(
        prompt=str(tokenizer.decode(prompt)),
        answer=text,
        tokens=len(answer),
        ended=ended,
        repetition=repetition(answer),
    )
