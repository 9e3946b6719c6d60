"""The pairs of a run, tokenised as for every other command, as the data sets that TRL takes."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, NamedTuple, cast

import datasets
from transformers import PreTrainedTokenizerBase
from trl import get_dataset

from preflens.errors import InputError
from preflens.language_models.bad_rows import OnBadRow
from preflens.language_models.model_names import first_line
from preflens.language_models.pairs import PreferencePair
from preflens.language_models.reading import PairSource, read_pairs
from preflens.language_models.token_limits import TokenLimits
from preflens.language_models.tokenizing import TokenizedPair, Tokenizing
from preflens.training.command.configuration import Configuration
from preflens.training.command.messages import say_what_became
from preflens.training.probe.held_out import TOKENS
from preflens.training.source_rows import SOURCE_ROW


class RunData(NamedTuple):
    """The pairs of a run.

    Attributes:
        train: data set to train on.
        held_out: data set to evaluate on, or None.
        probe: pairs that are watched, or how many of those held out.
        guard: pairs that a mitigation keeps from harm, or how many of those held out; None for none.
    """

    train: Any  # data sets of many kinds
    held_out: Any
    probe: PairSource | int
    guard: PairSource | int | None


_FEATURES = datasets.Features(
    {"id": datasets.Value("string"), SOURCE_ROW: datasets.Value("int64")}
    | {name: datasets.List(datasets.Value("int64")) for name in TOKENS}
)
_CHUNK = 1000  # pairs whose token ids are Python objects at a time


def run_data(configuration: Configuration, tokenizer: PreTrainedTokenizerBase, room: TokenLimits) -> RunData:
    """Read the data of a run.

    Pairs named by `data` come out tokenised, because Arrow tables, which TRL tokenises from, cannot hold messages with
    different keys as they are.

    Args:
        configuration: of the run.
        tokenizer: of the model.
        room: of the model.

    Returns:
        All pairs of the run.

    Raises:
        InputError: they cannot be read, or do not fit the model.
    """
    options, fit = configuration.options, partial(tokenized_dataset, configuration, tokenizer, room)
    if options.data:
        train, held_out = _ours(configuration)
        sets = fit(train, what="training pairs"), fit(held_out, what="held-out pairs") if held_out else None
    else:
        sets = _trls(configuration)
    others: list[PairSource | int | None] = []
    for named in (options.probe_pairs if options.probe_every else "0", options.mitigation_probe):
        if named is None or named.isdecimal():
            others.append(None if named is None else int(named))
            continue
        source = read_source(configuration, named)
        fit(source.pairs, what=f"pairs of `{named}`")  # whoever watches them tokenises them again
        others.append(source)
    return RunData(*sets, others[0] or 0, others[1])


def _ours(configuration: Configuration) -> tuple[list[PreferencePair], list[PreferencePair]]:
    options, seed = configuration.options, configuration.run.seed
    assert options.data is not None
    train, held_out = list(read_source(configuration, options.data, options.data_split).pairs), []
    if options.eval_data or options.eval_split:
        held_out = list(read_source(configuration, options.eval_data or options.data, options.eval_split).pairs)
    elif options.eval_fraction:
        count = max(1, round(options.eval_fraction * len(train)))
        if count == len(train):
            raise InputError(f"`eval_fraction` leaves nothing of {len(train)} pairs to train on.")
        train = random.Random(seed).sample(train, len(train))
        train, held_out = train[count:], train[:count]
    train, held_out = _sample(train, options.limit, seed), _sample(held_out, options.eval_limit, seed)
    if len({pair.conversational for pair in (*train, *held_out)}) > 1:
        raise InputError(
            "Some pairs are texts and some messages; a run takes one kind. `as_chat` makes messages of all."
        )
    return train, held_out


def read_source(configuration: Configuration, name: str, split: str | None = None) -> PairSource:
    """Read pairs as the options of a run say.

    Args:
        configuration: of the run.
        name: file, folder or hub id.
        split: of it, or None.

    Returns:
        The pairs, as messages where that is wanted.
    """
    options = configuration.options
    found = read_pairs(name, split=split, on_bad_row=cast(OnBadRow, options.on_bad_row))
    say_what_became(f"`{name}`", found.dropped, found.noted, of=found.rows)
    return replace(found, pairs=tuple(map(as_chat, found.pairs))) if options.as_chat else found


def _sample(pairs: list[PreferencePair], count: int | None, seed: int) -> list[PreferencePair]:
    return pairs if count is None or count >= len(pairs) else random.Random(seed).sample(pairs, count)


def as_chat(pair: PreferencePair) -> PreferencePair:
    """Make messages of texts.

    Args:
        pair: of texts; messages stay as they are.

    Returns:
        The prompt as the user's turn, the responses as the assistant's; white space around them goes.
    """
    if pair.conversational:
        return pair
    turns = [
        [{"role": role, "content": str(text).strip()}]
        for role, text in (("user", pair.prompt), ("assistant", pair.chosen), ("assistant", pair.rejected))
    ]
    return replace(pair, prompt=turns[0], chosen=turns[1], rejected=turns[2])


def tokenized_dataset(
    configuration: Configuration,
    tokenizer: PreTrainedTokenizerBase,
    room: TokenLimits,
    pairs: Sequence[PreferencePair],
    *,
    what: str,
) -> datasets.Dataset:
    """Tokenise pairs and lay them out as TRL does after its own tokenising.

    Args:
        configuration: of the run.
        tokenizer: of the model.
        room: of the model.
        pairs: in order.
        what: to call them.

    Returns:
        A data set with ids and token ids.

    Raises:
        InputError: a pair is bad and not to be dropped, does not fit the model, or none is left.
    """
    run, on_bad_row = configuration.run, cast(OnBadRow, configuration.options.on_bad_row)
    # With `keep_end` TRL's collator cuts, and no prompt is too long.
    max_length = run.max_length if run.truncation_mode == "keep_start" else None
    tokenizing = Tokenizing(tokenizer, max_length=max_length, on_bad_row=on_bad_row)
    tokenized, chunks = tokenizing(pairs), []
    while chunk := list(islice(tokenized, _CHUNK)):
        room.check(chunk, max_length=run.max_length)
        columns = {name: [getattr(pair, name) for pair in chunk] for name in TOKENS}
        about = {"id": [pair.pair.id for pair in chunk], SOURCE_ROW: [pair.pair.row for pair in chunk]}
        chunks.append(datasets.Dataset.from_dict(about | columns, features=_FEATURES))
    if not chunks:
        tokenizing.refuse_none(what)
    say_what_became(what, tokenizing.dropped, tokenizing.noted, of=len(pairs))
    return datasets.concatenate_datasets(chunks)


def check_prepared(data: Any, room: TokenLimits, *, what: str, max_length: int | None) -> None:  # noqa: ANN401  # data sets of many kinds
    """Refuse pairs that TRL has read and tokenised, and that no step can be taken on.

    Args:
        data: of a trainer: a data set or several by name, or None; what is streamed is not looked at.
        room: of the model.
        what: to call them.
        max_length: where rows are cut.

    Raises:
        InputError: there is none, or one does not fit the model.
    """
    for each in data.values() if isinstance(data, Mapping) else [data]:
        if not isinstance(each, datasets.Dataset) or not set(TOKENS) <= set(each.column_names):
            continue
        if not len(each):
            raise InputError(
                f"No usable pair is left of the {what}: all prompts fill the maximal length. `max_length` is "
                f"{max_length} tokens.",
                arguments=["max_length"],
            )
        room.check(_tokenized(each, what), max_length=max_length)


def _tokenized(data: datasets.Dataset, what: str) -> Iterator[TokenizedPair]:
    for number, row in enumerate(data.select_columns(list(TOKENS))):
        pair = PreferencePair("", "", "", "", place=f"Tokenised row {number} of the {what}")
        yield TokenizedPair(pair, *(tuple(row[name]) for name in TOKENS))


def _trls(configuration: Configuration) -> tuple[Any, Any]:
    """As `trl dpo` reads them."""
    script = configuration.script
    try:
        if configuration.mixture.datasets:
            found: Mapping[str, Any] = get_dataset(configuration.mixture)
        else:
            found = datasets.load_dataset(
                script.dataset_name, name=script.dataset_config, streaming=script.dataset_streaming
            )
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"`{script.dataset_name or 'datasets'}` cannot be read: {first_line(error)}. Files are for "
                         "`--data`.") from None  # fmt: skip
    held_out = script.dataset_test_split if configuration.run.eval_strategy != "no" else None
    for split in (script.dataset_train_split, held_out):
        if split is not None and split not in found:
            raise InputError(f"The data have no split `{split}`. They have {', '.join(f'`{s}`' for s in found)}.")
    return found[script.dataset_train_split], None if held_out is None else found[held_out]
