"""The fixed held-out pairs of a probe, or of the constraints of a mitigation."""

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
    source: ProbePairs, eval_dataset: object, tokenizer: PreTrainedTokenizerBase, *, max_length: int | None
) -> tuple[TokenizedPair, ...]:
    """Read held-out pairs.

    Args:
        source: a number of rows of the evaluation data; or a file, folder or hub id; or rows.
        eval_dataset: the trainer's evaluation data, tokenized by it, or None.
        tokenizer: of the model.
        max_length: where the trainer cuts rows, or None.

    Returns:
        Tokenized pairs; none where a number is given and there are no evaluation data.

    Raises:
        InputError: the rows cannot be used.
    """
    if isinstance(source, int):
        return _tokenized_rows(eval_dataset, source, max_length) if source > 0 and eval_dataset is not None else ()
    if isinstance(source, (str, Path)):
        source = read_pairs(str(source))
    pairs = source if isinstance(source, PairSource) else pairs_in_memory(source)
    length = max_length or tokenizer.model_max_length
    return tokenize_pairs(pairs.pairs, tokenizer, max_length=length, on_bad_row=pairs.on_bad_row).pairs


def tokenized_row(row: Mapping[str, Any], max_length: int | None) -> TokenizedPair:
    """Read a row that TRL has tokenized.

    Args:
        row: with token ids.
        max_length: where the collator cuts rows, or None.

    Returns:
        The pair, with an id made of its tokens.
    """
    prompt, chosen, rejected = (tuple(row[name]) for name in TOKENS)
    room = None if max_length is None else max(0, max_length - len(prompt))
    prompt, chosen, rejected = prompt[:max_length], chosen[:room], rejected[:room]
    pair = PreferencePair(pair_id(prompt, chosen, rejected), "", "", "")
    return TokenizedPair(pair, prompt, chosen, rejected)


def _tokenized_rows(dataset: Any, count: int, max_length: int | None) -> tuple[TokenizedPair, ...]:  # noqa: ANN401  # data sets of many kinds
    if isinstance(dataset, Mapping):
        dataset = next(iter(dataset.values()))
    rows, numbers = list(islice(iter(dataset), count)), source_rows(dataset)
    if rows and not set(TOKENS) <= set(rows[0]):
        raise InputError(
            "The trainer's evaluation data are not tokenized pairs, so held-out pairs cannot be read from them. Pass "
            "`probe_pairs` as rows or a file."
        )
    row_numbers: Sequence[int | None] = [None] * len(rows) if numbers is None else numbers
    return tuple(
        _with_source(tokenized_row(row, max_length), row, number)
        for row, number in zip(rows, row_numbers, strict=False)
    )


def _with_source(pair: TokenizedPair, row: Mapping[str, Any], number: int | None) -> TokenizedPair:
    """Add the row's own id, where it has one, and its number."""
    pair_id_or_own = pair.pair.id if row.get("id") is None else str(row["id"])
    return replace(pair, pair=replace(pair.pair, id=pair_id_or_own, row=number))
