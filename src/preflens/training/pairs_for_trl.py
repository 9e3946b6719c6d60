"""The pairs of a run, as the data sets that TRL takes."""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, cast

import datasets
from trl import get_dataset

from preflens.errors import InputError
from preflens.language_models.names import first_line
from preflens.language_models.pairs import PreferencePair
from preflens.language_models.reading import read_pairs
from preflens.training.configuration import Configuration
from preflens.training.source_rows import SOURCE_ROW
from preflens.training.tell import LOGGER

TrainAndEvaluation = tuple[Any, Any]  # data sets of many kinds


def training_data(configuration: Configuration) -> TrainAndEvaluation:
    """Read the data of a run.

    Args:
        configuration: of the run.

    Returns:
        Data to train on, and held-out data or None.
    """
    return _ours(configuration) if configuration.options.data else _trls(configuration)


def _ours(configuration: Configuration) -> TrainAndEvaluation:
    options, seed = configuration.options, configuration.run.seed
    assert options.data is not None
    train, held_out = _read(configuration, options.data, options.data_split), []
    if options.eval_data or options.eval_split:
        held_out = _read(configuration, options.eval_data or options.data, options.eval_split)
    elif options.eval_fraction:
        count = max(1, round(options.eval_fraction * len(train)))
        if count == len(train):
            raise InputError(f"`eval_fraction` leaves nothing of {len(train)} pairs to train on.")
        train = random.Random(seed).sample(train, len(train))
        train, held_out = train[count:], train[:count]
    train, held_out = _sample(train, options.limit, seed), _sample(held_out, options.eval_limit, seed)
    return rows_for_trl(train), rows_for_trl(held_out) if held_out else None


def _read(configuration: Configuration, name: str, split: str | None) -> list[PreferencePair]:
    options = configuration.options
    found = read_pairs(name, split=split, on_bad_row=cast(Literal["stop", "drop"], options.on_bad_row))
    for why, count in found.dropped.items():
        LOGGER.warning("`%s`: %d of %d rows left out (%s)", name, count, found.rows, why)
    return [as_chat(pair) for pair in found.pairs] if options.as_chat else list(found.pairs)


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


def rows_for_trl(pairs: Sequence[PreferencePair]) -> datasets.Dataset:
    """Lay pairs out in TRL's columns.

    Args:
        pairs: all texts, or all messages.

    Returns:
        A data set.

    Raises:
        InputError: some are texts and some messages.
    """
    if len({pair.conversational for pair in pairs}) > 1:
        raise InputError(
            "Some pairs are texts and some messages; a run takes one kind. `as_chat` makes messages of all."
        )
    columns: dict[str, list[object]] = {
        name: [getattr(pair, name) for pair in pairs] for name in ("id", "prompt", "chosen", "rejected")
    }
    if all(pair.row is not None for pair in pairs):
        columns[SOURCE_ROW] = [pair.row for pair in pairs]
    tools = [pair.template_arguments.get("tools") for pair in pairs]
    others = [{k: v for k, v in pair.template_arguments.items() if k != "tools"} for pair in pairs]
    if any(tools):
        columns["tools"] = [json.dumps(found) if found else None for found in tools]
    if any(others):
        columns["chat_template_kwargs"] = list(others)
    return datasets.Dataset.from_dict(columns)


def _trls(configuration: Configuration) -> TrainAndEvaluation:
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
