"""Tokenized pairs as the data sets that TRL trains on, and checks of data sets that TRL has tokenized."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, cast

import datasets
from transformers import PreTrainedTokenizerBase

from preflens.errors import InputError
from preflens.language_models.bad_rows import OnBadRow
from preflens.language_models.pairs import PreferencePair
from preflens.language_models.token_limits import TokenLimits
from preflens.language_models.tokenizing import TokenizedPair, Tokenizing
from preflens.training.command.configuration import Configuration
from preflens.training.command.messages import warn_about_rows
from preflens.training.probe.held_out import TOKENS
from preflens.training.source_rows import SOURCE_ROW

_FEATURES = datasets.Features(
    {"id": datasets.Value("string"), SOURCE_ROW: datasets.Value("int64")}
    | {name: datasets.List(datasets.Value("int64")) for name in TOKENS}
)
_CHUNK = 1000  # pairs whose token ids are Python objects at a time


def tokenized_dataset(
    configuration: Configuration,
    tokenizer: PreTrainedTokenizerBase,
    limits: TokenLimits,
    pairs: Sequence[PreferencePair],
    *,
    name: str,
) -> datasets.Dataset:
    """Tokenize pairs into the columns that TRL has after its own tokenizing.

    Args:
        configuration: of the run.
        tokenizer: of the model.
        limits: of the model.
        pairs: in order.
        name: of the pairs, for messages.

    Returns:
        A data set with ids and token ids.

    Raises:
        InputError: a pair is invalid and not to be dropped, does not fit the model, or none is left.
    """
    run, on_bad_row = configuration.run, cast(OnBadRow, configuration.options.on_bad_row)
    # With `keep_end` TRL's collator cuts, and no prompt is too long.
    max_length = run.max_length if run.truncation_mode == "keep_start" else None
    tokenizing = Tokenizing(tokenizer, max_length=max_length, on_bad_row=on_bad_row)
    tokenized, chunks = tokenizing(pairs), []
    while chunk := list(islice(tokenized, _CHUNK)):
        limits.check(chunk, max_length=run.max_length)
        columns = {column: [getattr(pair, column) for pair in chunk] for column in TOKENS}
        sources = {"id": [pair.pair.id for pair in chunk], SOURCE_ROW: [pair.pair.row for pair in chunk]}
        chunks.append(datasets.Dataset.from_dict(sources | columns, features=_FEATURES))
    if not chunks:
        tokenizing.refuse_none(name)
    warn_about_rows(name, tokenizing.dropped, tokenizing.noted, of=len(pairs))
    return datasets.concatenate_datasets(chunks)


def check_prepared(data: Any, limits: TokenLimits, *, name: str, max_length: int | None) -> None:  # noqa: ANN401  # data sets of many kinds
    """Refuse pairs, read and tokenized by TRL, on which no step is possible.

    Args:
        data: of a trainer: a data set or several by name, or None; streamed data are not checked.
        limits: of the model.
        name: of the pairs, for messages.
        max_length: where rows are cut.

    Raises:
        InputError: there are no pairs, or one does not fit the model.
    """
    for dataset in data.values() if isinstance(data, Mapping) else [data]:
        if not isinstance(dataset, datasets.Dataset) or not set(TOKENS) <= set(dataset.column_names):
            continue
        if not len(dataset):
            raise InputError(
                f"No usable pair is left of the {name}: all prompts fill the maximal length. `max_length` is "
                f"{max_length} tokens.",
                arguments=["max_length"],
            )
        limits.check(_tokenized_pairs(dataset, name), max_length=max_length)


def _tokenized_pairs(dataset: datasets.Dataset, name: str) -> Iterator[TokenizedPair]:
    for number, row in enumerate(dataset.select_columns(list(TOKENS))):
        pair = PreferencePair("", "", "", "", place=f"Tokenised row {number} of the {name}")
        yield TokenizedPair(pair, *(tuple(row[column]) for column in TOKENS))
