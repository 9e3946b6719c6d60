"""Tokenize preference pairs, truncated as in TRL."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import NoReturn

from transformers import PreTrainedTokenizerBase

from preflens.errors import InputError
from preflens.language_models.bad_rows import OnBadRow, bad_rows, refuse_or_note
from preflens.language_models.pairs import PreferencePair
from preflens.language_models.token_ids import RowError, check_tokenizer, token_ids


@dataclass(frozen=True)
class TokenizedPair:
    """Token ids of a pair, truncated.

    Attributes:
        pair: the pair.
        prompt_ids: context shared by both responses.
        chosen_ids: tokens of the chosen response.
        rejected_ids: tokens of the rejected response.
        notes: remarks about the pair (a response truncated, …).
    """

    pair: PreferencePair
    prompt_ids: tuple[int, ...]
    chosen_ids: tuple[int, ...]
    rejected_ids: tuple[int, ...]
    notes: tuple[str, ...] = ()

    @property
    def scored_tokens(self) -> tuple[int, int]:
        """Numbers of chosen and rejected tokens with a log-prob. The first token of a sequence has none."""
        unscored = 0 if self.prompt_ids else 1
        return len(self.chosen_ids) - unscored, len(self.rejected_ids) - unscored

    @property
    def longest(self) -> int:
        """Number of tokens of the prompt and the longer response."""
        return len(self.prompt_ids) + max(len(self.chosen_ids), len(self.rejected_ids))


@dataclass(frozen=True)
class TokenizedPairs:
    """Tokenized pairs, with counts of the others.

    Attributes:
        pairs: tokenized pairs, in order.
        dropped: number of pairs left out, by reason.
    """

    pairs: tuple[TokenizedPair, ...]
    dropped: Mapping[str, int]


class Tokenizing:
    """Tokenizes pairs one by one, and counts dropped and noted pairs.

    Args:
        tokenizer: the tokenizer of the model; not changed.
        max_length: maximal number of tokens of prompt and response together; None for no limit.
        on_bad_row: what to do with a pair that the chat template fails on: `stop`, or `drop` and count it; None stops
            without a hint at the choice.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, *, max_length: int | None, on_bad_row: OnBadRow | None = None
    ) -> None:
        self._tokenizer, self._max_length, self._on_bad_row = tokenizer, max_length, on_bad_row
        self._bad: list[str] = []
        self._dropped: Counter[str] = Counter()
        self._noted: Counter[str] = Counter()

    def __call__(self, pairs: Iterable[PreferencePair]) -> Iterator[TokenizedPair]:
        """Tokenize pairs.

        Args:
            pairs: pairs, in the order of the output.

        Yields:
            The usable pairs.

        Raises:
            InputError: the tokenizer has no chat template or end-of-sequence token that a pair needs, or a pair is
                invalid and `on_bad_row` is not `drop`.
        """
        for pair in pairs:
            check_tokenizer(pair, self._tokenizer)
            try:
                prompt, chosen, rejected, boundary_moved = token_ids(pair, self._tokenizer)
            except RowError as error:
                refuse_or_note(error, self._on_bad_row, self._bad)
                continue
            room = None if self._max_length is None else max(self._max_length - len(prompt), 0)
            done = TokenizedPair(pair, prompt, chosen[:room], rejected[:room])
            if (reason := _reason_to_drop(done, room)) is not None:
                self._dropped[reason] += 1
                continue
            notes = {
                "chosen response cut at the maximal length": len(chosen) > len(done.chosen_ids),
                "rejected response cut at the maximal length": len(rejected) > len(done.rejected_ids),
                "end of the prompt merged into the responses": boundary_moved,
                "prompt of at most one token": len(prompt) <= 1,
                "identical responses": done.chosen_ids == done.rejected_ids,
            }
            done = replace(done, notes=tuple(remark for remark, applies in notes.items() if applies))
            self._noted.update(done.notes)
            yield done

    @property
    def dropped(self) -> dict[str, int]:
        """Number of pairs left out so far, by reason."""
        return bad_rows(self._bad) | dict(self._dropped)

    @property
    def noted(self) -> dict[str, int]:
        """Number of kept pairs with a remark so far, by remark."""
        return dict(self._noted)

    def refuse_none(self, what: str = "") -> NoReturn:
        """Raise the error of a set of pairs without a usable one.

        Args:
            what: a name for the pairs, or an empty text.

        Raises:
            InputError: always, with the reasons why pairs were dropped.
        """
        reasons = ", ".join(f"{count} × {reason}" for reason, count in self.dropped.items()) or "there was none"
        left = f"No usable pair is left{' of the ' if what else ''}{what}: {reasons}."
        if self._max_length is None:
            raise InputError(left)
        raise InputError(f"{left} `max_length` is {self._max_length} tokens.", arguments=["max_length"])


def tokenize_pairs(
    pairs: Iterable[PreferencePair],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int | None,
    limit: int | None = None,
    on_bad_row: OnBadRow | None = None,
) -> TokenizedPairs:
    """Tokenize pairs as TRL 1.16's DPOTrainer.

    The end-of-sequence token is appended to texts without it. Conversations are rendered with the chat template, the
    prompt with a generation prompt. Prompt and prompt + response are tokenized separately. The responses start at the
    first token where either differs from the prompt's tokens, so a token that merges across the boundary belongs to the
    response. A pair whose prompt fills `max_length` is dropped; longer sequences are truncated at the end.

    Args:
        pairs: pairs, in the order of the output.
        tokenizer: the tokenizer of the model; not changed.
        max_length: maximal number of tokens of prompt and response together; None for no limit.
        limit: stop after this many usable pairs.
        on_bad_row: what to do with a pair that the chat template fails on: `stop`, or `drop` and count it; None stops
            without a hint at the choice.

    Returns:
        The tokenized pairs with remarks, and counts of the dropped ones.

    Raises:
        InputError: the tokenizer has no chat template or end-of-sequence token that the pairs need, no pair is usable,
            or a pair is invalid and `on_bad_row` is not `drop`.
    """
    tokenizing = Tokenizing(tokenizer, max_length=max_length, on_bad_row=on_bad_row)
    done = tuple(islice(tokenizing(pairs), limit))
    if not done:
        tokenizing.refuse_none()
    return TokenizedPairs(done, tokenizing.dropped)


def count_notes(pairs: Iterable[TokenizedPair]) -> dict[str, int]:
    """Count the remarks about pairs.

    Args:
        pairs: tokenized pairs.

    Returns:
        Number of pairs by remark.
    """
    return dict(Counter(note for pair in pairs for note in pair.notes))


def _reason_to_drop(pair: TokenizedPair, room: int | None) -> str | None:
    if room == 0:
        return "prompt fills the maximal length"
    if min(pair.scored_tokens) < 1:
        return "a response without a scored token"
    return None
