"""The fixed pairs that a run is watched on."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from preflens.errors import InputError
from preflens.language_models.pairs import PreferencePair
from preflens.language_models.reading import PairSource, pairs_in_memory, read_pairs
from preflens.language_models.tokenizing import TokenizedPair, tokenize_pairs
from preflens.training.probe.micro_batch import pair_id
from preflens.training.source_rows import source_rows

ProbePairs = int | str | Path | PairSource | Sequence[Mapping[str, object] | PreferencePair]

DEFAULT_COUNT = 32
TOKENS = ("prompt_ids", "chosen_ids", "rejected_ids")


def held_out_pairs(
    wanted: ProbePairs, evaluation: object, tokenizer: PreTrainedTokenizerBase, *, max_length: int | None
) -> tuple[TokenizedPair, ...]:
    """Find the pairs that a run is watched on.

    Args:
        wanted: a number of rows of the evaluation data; or a file, folder or hub id; or rows.
        evaluation: the trainer's evaluation data, tokenised by it, or None.
        tokenizer: of the model.
        max_length: where the trainer cuts rows, or None.

    Returns:
        Tokenised pairs; none where a number is wanted and there are no evaluation data.

    Raises:
        InputError: the rows cannot be used.
    """
    if isinstance(wanted, int):
        return _tokenized_rows(evaluation, wanted, max_length) if wanted > 0 and evaluation is not None else ()
    if isinstance(wanted, (str, Path)):
        wanted = read_pairs(str(wanted))
    source = wanted if isinstance(wanted, PairSource) else pairs_in_memory(wanted)
    length = max_length or tokenizer.model_max_length
    return tokenize_pairs(source.pairs, tokenizer, max_length=length, on_bad_row=source.on_bad_row).pairs


def tokenized_row(row: Mapping[str, Any], max_length: int | None) -> TokenizedPair:
    """Read a row that TRL has tokenised.

    Args:
        row: with token ids.
        max_length: where the collator cuts rows, or None.

    Returns:
        The pair; its id tells equal pairs by their tokens.
    """
    prompt, chosen, rejected = (tuple(row[name]) for name in TOKENS)
    room = None if max_length is None else max(0, max_length - len(prompt))
    prompt, chosen, rejected = prompt[:max_length], chosen[:room], rejected[:room]
    pair = PreferencePair(pair_id(prompt, chosen, rejected), "", "", "")
    return TokenizedPair(pair, prompt, chosen, rejected)


def _tokenized_rows(evaluation: Any, count: int, max_length: int | None) -> tuple[TokenizedPair, ...]:  # noqa: ANN401  # data sets of many kinds
    if isinstance(evaluation, Mapping):
        evaluation = next(iter(evaluation.values()))
    rows, numbers = list(islice(iter(evaluation), count)), source_rows(evaluation)
    if rows and not set(TOKENS) <= set(rows[0]):
        raise InputError(
            "The trainer's evaluation data are not tokenised pairs, so held-out pairs cannot be taken from them. Pass "
            "`probe_pairs` as rows or a file."
        )
    known: Sequence[int | None] = [None] * len(rows) if numbers is None else numbers
    return tuple(_named(tokenized_row(row, max_length), row, number) for row, number in zip(rows, known, strict=False))


def _named(pair: TokenizedPair, row: Mapping[str, Any], number: int | None) -> TokenizedPair:
    """With the row's own id where it has one, and with its number."""
    name = pair.pair.id if row.get("id") is None else str(row["id"])
    return replace(pair, pair=replace(pair.pair, id=name, row=number))
