"""The pairs of a run: from files, tokenized as for every other command, or as TRL reads them."""

import random
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
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
from preflens.training.command.configuration import Configuration
from preflens.training.command.messages import warn_about_rows
from preflens.training.command.tokenized_data import tokenized_dataset


class RunData(NamedTuple):
    """The pairs of a run.

    Attributes:
        train: training data set.
        held_out: evaluation data set, or None.
        probe: pairs of the probe, or how many of those held out.
        constraints: constraint pairs of a mitigation, or how many of those held out; None for none.
    """

    train: Any  # data sets of many kinds
    held_out: Any
    probe: PairSource | int
    constraints: PairSource | int | None


def run_data(configuration: Configuration, tokenizer: PreTrainedTokenizerBase, limits: TokenLimits) -> RunData:
    """Read the data of a run.

    Pairs named by `data` are tokenized here, because TRL tokenizes Arrow tables, and these cannot hold messages with
    different keys unchanged.

    Args:
        configuration: of the run.
        tokenizer: of the model.
        limits: of the model.

    Returns:
        All pairs of the run.

    Raises:
        InputError: they cannot be read, or do not fit the model.
    """
    options, tokenized = configuration.options, partial(tokenized_dataset, configuration, tokenizer, limits)
    if options.data:
        train, held_out = _pairs_from_files(configuration)
        train_set = tokenized(train, name="training pairs")
        held_out_set = tokenized(held_out, name="held-out pairs") if held_out else None
    else:
        train_set, held_out_set = _data_sets_of_trl(configuration)
    further: list[PairSource | int | None] = []
    for named in (options.probe_pairs if options.probe_every else "0", options.mitigation_probe):
        if named is None or named.isdecimal():
            further.append(None if named is None else int(named))
            continue
        source = read_source(configuration, named)
        tokenized(source.pairs, name=f"pairs of `{named}`")  # to check them; their user tokenizes them again
        further.append(source)
    probe, constraints = further
    return RunData(train_set, held_out_set, probe or 0, constraints)


def _pairs_from_files(configuration: Configuration) -> tuple[list[PreferencePair], list[PreferencePair]]:
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
            "Some pairs are texts and some messages, and a run needs one kind. `as_chat` converts all to messages."
        )
    return train, held_out


def read_source(configuration: Configuration, name: str, split: str | None = None) -> PairSource:
    """Read pairs with the options of a run.

    Args:
        configuration: of the run.
        name: file, folder or hub id.
        split: of the data, or None.

    Returns:
        The pairs, as messages with `as_chat`.
    """
    options = configuration.options
    source = read_pairs(name, split=split, on_bad_row=cast(OnBadRow, options.on_bad_row))
    warn_about_rows(f"`{name}`", source.dropped, source.noted, of=source.rows)
    return replace(source, pairs=tuple(map(as_chat, source.pairs))) if options.as_chat else source


def _sample(pairs: list[PreferencePair], count: int | None, seed: int) -> list[PreferencePair]:
    return pairs if count is None or count >= len(pairs) else random.Random(seed).sample(pairs, count)


def as_chat(pair: PreferencePair) -> PreferencePair:
    """Convert texts to messages.

    Args:
        pair: of texts; messages are not changed.

    Returns:
        The prompt as the user's turn, the responses as the assistant's, without surrounding white space.
    """
    if pair.conversational:
        return pair
    turns = [
        [{"role": role, "content": str(text).strip()}]
        for role, text in (("user", pair.prompt), ("assistant", pair.chosen), ("assistant", pair.rejected))
    ]
    return replace(pair, prompt=turns[0], chosen=turns[1], rejected=turns[2])


def _data_sets_of_trl(configuration: Configuration) -> tuple[Any, Any]:
    """Training and evaluation data as `trl dpo` reads them."""
    script = configuration.script
    try:
        if configuration.mixture.datasets:
            splits: Mapping[str, Any] = get_dataset(configuration.mixture)
        else:
            splits = datasets.load_dataset(
                script.dataset_name, name=script.dataset_config, streaming=script.dataset_streaming
            )
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"`{script.dataset_name or 'datasets'}` cannot be read: {first_line(error)}. Files are for "
                         "`--data`.") from None  # fmt: skip
    held_out = script.dataset_test_split if configuration.run.eval_strategy != "no" else None
    for split in (script.dataset_train_split, held_out):
        if split is not None and split not in splits:
            raise InputError(f"The data have no split `{split}`. They have {', '.join(f'`{s}`' for s in splits)}.")
    return splits[script.dataset_train_split], None if held_out is None else splits[held_out]
