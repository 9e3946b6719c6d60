"""Preference pairs to token ids, cut where TRL cuts them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from preflens.errors import InputError
from preflens.language_models.pairs import PreferencePair


@dataclass(frozen=True)
class TokenizedPair:
    """Token ids of a pair, truncated.

    Attributes:
        pair: the pair.
        prompt_ids: context shared by both responses.
        chosen_ids: tokens of the chosen response.
        rejected_ids: tokens of the rejected response.
    """

    pair: PreferencePair
    prompt_ids: tuple[int, ...]
    chosen_ids: tuple[int, ...]
    rejected_ids: tuple[int, ...]

    @property
    def scored_tokens(self) -> tuple[int, int]:
        """Chosen and rejected tokens that have a log-prob; a sequence's very first token has none."""
        unscored = 0 if self.prompt_ids else 1
        return len(self.chosen_ids) - unscored, len(self.rejected_ids) - unscored

    @property
    def longest(self) -> int:
        """Tokens of the prompt and the longer response."""
        return len(self.prompt_ids) + max(len(self.chosen_ids), len(self.rejected_ids))


@dataclass(frozen=True)
class TokenizedPairs:
    """Tokenised pairs, and what became of the others.

    Attributes:
        pairs: in order.
        dropped: pairs left out, by reason.
        noted: pairs kept in spite of something worth knowing, by what.
    """

    pairs: tuple[TokenizedPair, ...]
    dropped: Mapping[str, int]
    noted: Mapping[str, int]


def tokenize_pairs(
    pairs: Iterable[PreferencePair], tokenizer: PreTrainedTokenizerBase, *, max_length: int, limit: int | None = None
) -> TokenizedPairs:
    """Tokenise pairs as TRL 1.16's DPOTrainer does.

    Texts get the end-of-sequence token where they lack it; conversations go through the chat template, the prompt with
    a generation prompt. Prompt and prompt + response are tokenised as wholes, and the responses start where either
    departs from the prompt's tokens, so a token that merges across the boundary belongs to the response. A prompt that
    fills `max_length` drops the pair; longer sequences lose their end.

    Args:
        pairs: in the order wanted.
        tokenizer: of the model; not changed.
        max_length: tokens of prompt and response together.
        limit: stop after so many usable pairs.

    Returns:
        The tokenised pairs with counts.

    Raises:
        InputError: the tokenizer lacks what the pairs need, or no pair is usable.
    """
    done: list[TokenizedPair] = []
    dropped: Counter[str] = Counter()
    noted: Counter[str] = Counter()
    for pair in pairs:
        prompt, chosen, rejected, boundary_moved = _token_ids(pair, tokenizer)
        room = max_length - len(prompt)
        tokenized = TokenizedPair(pair, prompt, chosen[: max(room, 0)], rejected[: max(room, 0)])
        reason = _reason_to_drop(tokenized, room)
        if reason:
            dropped[reason] += 1
            continue
        done.append(tokenized)
        noted["chosen response cut at the maximal length"] += len(chosen) > room
        noted["rejected response cut at the maximal length"] += len(rejected) > room
        noted["end of the prompt merged into the responses"] += boundary_moved
        noted["identical responses"] += tokenized.chosen_ids == tokenized.rejected_ids
        if limit is not None and len(done) == limit:
            break
    if not done:
        reasons = ", ".join(f"{count} × {reason}" for reason, count in dropped.items()) or "there was none"
        raise InputError(f"No usable pair is left: {reasons}. `--max-length` is {max_length} tokens.")
    return TokenizedPairs(tuple(done), dict(dropped), {what: count for what, count in noted.items() if count})


def common_prefix_length(ids: Sequence[int], other_ids: Sequence[int]) -> int:
    """Count the tokens that two sequences share at their beginning.

    Args:
        ids: one sequence.
        other_ids: the other.

    Returns:
        How many.

    Example:
        >>> common_prefix_length([1, 2, 3], [1, 2, 4, 5])
        2
    """
    return next(
        (i for i, (a, b) in enumerate(zip(ids, other_ids, strict=False)) if a != b), min(len(ids), len(other_ids))
    )


def _token_ids(
    pair: PreferencePair, tokenizer: PreTrainedTokenizerBase
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], bool]:
    """Prompt, chosen and rejected ids, and whether the responses took over some of the prompt's end."""
    if pair.conversational:
        turns = [*pair.prompt]
        prompt = _conversation_ids(turns, pair, tokenizer, add_generation_prompt=True)
        both = [_conversation_ids([*turns, *side], pair, tokenizer) for side in (pair.chosen, pair.rejected)]
    else:
        prompt = _text_ids(str(pair.prompt), tokenizer)
        both = [_text_ids(f"{pair.prompt}{_ended(str(s), tokenizer)}", tokenizer) for s in (pair.chosen, pair.rejected)]
    cut = min(common_prefix_length(prompt, ids) for ids in both)
    return tuple(prompt[:cut]), tuple(both[0][cut:]), tuple(both[1][cut:]), cut < len(prompt)


def _text_ids(text: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    ids: list[int] = tokenizer(text, verbose=False)["input_ids"]
    return ids


def _ended(response: str, tokenizer: PreTrainedTokenizerBase) -> str:
    end = tokenizer.eos_token
    if end is None:
        raise InputError("The tokenizer has no end-of-sequence token, and text responses must end in one.")
    return response if response.endswith(end) else response + end


def _conversation_ids(
    messages: list[Any],  # of Message; the template takes what it finds
    pair: PreferencePair,
    tokenizer: PreTrainedTokenizerBase,
    *,
    add_generation_prompt: bool = False,
) -> list[int]:
    if not tokenizer.chat_template:
        raise InputError(
            f"Pair `{pair.id}` consists of messages, and the tokenizer has no chat template. "
            "Pass one with `--chat-template FILE`."
        )
    try:
        encoded: Any = tokenizer.apply_chat_template(  # a BatchEncoding, which the annotation does not know of
            messages,
            tokenize=True,
            return_dict=True,
            add_generation_prompt=add_generation_prompt,
            **pair.template_arguments,
        )
    except TemplateError as error:
        raise InputError(f"The chat template fails on pair `{pair.id}`: {error.message}") from None
    ids: list[int] = encoded["input_ids"]
    return ids


def _reason_to_drop(pair: TokenizedPair, room: int) -> str | None:
    if room <= 0:
        return "prompt fills the maximal length"
    if min(pair.scored_tokens) < 1:
        return "a response without a scored token"
    return None
