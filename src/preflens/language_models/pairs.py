"""Preference pairs in TRL's formats: explicit or implicit prompt, texts or messages."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from preflens.errors import InputError
from preflens.language_models.columns import refuse_media, refuse_unread_context
from preflens.language_models.conversations import Message, Text, is_message, other_part, says_something, text_of

T = TypeVar("T", str, list[Message])

_HALF_CHARACTER = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class PreferencePair:
    """One row of a preference data set, its prompt made explicit.

    Attributes:
        id: the `id` of the row, or its number.
        prompt: the context, a text or messages.
        chosen: the preferred response, of the same kind as the prompt.
        rejected: the other response.
        template_arguments: arguments of the chat template: `tools`, and the row's `chat_template_kwargs`.
        row: number of its row in the data, from 0; None for a pair that is not from data.
        place: file and line, for messages; it does not count in comparisons of pairs.

    Example:
        >>> PreferencePair("0", "1 + 1 =", " 2", " 3").conversational
        False
    """

    id: str
    prompt: Text
    chosen: Text
    rejected: Text
    template_arguments: Mapping[str, Any] = field(default_factory=dict)  # Any: whatever a template takes
    row: int | None = field(default=None, compare=False)
    place: str = field(default="", compare=False)

    @property
    def conversational(self) -> bool:
        """Whether the pair consists of messages."""
        return isinstance(self.chosen, list)

    @property
    def where(self) -> str:
        """File and line if known, otherwise the id, for messages."""
        return self.place or f"Pair `{self.id}`"


def preference_pair(row: Mapping[str, object], *, number: int, place: str) -> PreferencePair:
    """Build a pair from a row: check the row and make its prompt explicit.

    Args:
        row: `chosen` and `rejected`, with or without `prompt`; optionally `id`, `tools`, `chat_template_kwargs`.
        number: the number of the row, from 0; the id of a row without `id`.
        place: file and line, for messages.

    Returns:
        The pair.

    Raises:
        InputError: a column is missing, a cell is neither a text nor a list of messages, a response is empty, or a
            column that is not read would change the meaning of the pair.

    Note:
        A text prompt beside conversational responses has to be a copy of their first turns, which are then the prompt,
        as in TRL's `maybe_extract_prompt`. TRL 1.16 itself stops at such a row.
    """
    missing = [c for c in ("chosen", "rejected") if c not in row]
    if missing:
        raise InputError(
            f"{place}: column {_names(missing)} is missing. Expected `chosen`, `rejected` and, unless it is the common "
            f"beginning of both, `prompt`. Found {_names(sorted(row))}."
        )
    refuse_media(row, place)
    chosen, rejected = (_response(row[side], place, side) for side in ("chosen", "rejected"))
    if isinstance(chosen, list) != isinstance(rejected, list):
        raise InputError(f"{place}: one of `chosen` and `rejected` is a text and the other a list of messages.")
    if "prompt" in row:
        parts = _with_prompt(_prompt(row["prompt"], place), chosen, rejected, place)
    else:
        refuse_unread_context(row, chosen, rejected, place)
        parts = _without_prompt(chosen, rejected, place)
    identifier, arguments = row.get("id"), _template_arguments(row, place)
    name = str(number if identifier is None else identifier)
    read = {"id": name, "prompt": parts[0], "chosen": parts[1], "rejected": parts[2], "tools": arguments}
    _refuse_half_characters(read, place)
    return PreferencePair(name, *parts, template_arguments=arguments, row=number, place=place)


def split_prompt(chosen: T, rejected: T) -> tuple[T, T, T]:
    """Split off the longest common beginning of two responses as their prompt.

    Characters are compared in texts, turns in conversations. A space just before the difference goes to the responses;
    the last character or turn of the shorter one is never part of the prompt.

    Args:
        chosen: prompt and chosen response in one, not empty.
        rejected: prompt and rejected response in one, not empty.

    Returns:
        Prompt, chosen, rejected.

    Example:
        >>> split_prompt("The sky is blue", "The sky is green")
        ('The sky is', ' blue', ' green')

    Note:
        The same cut as TRL's `extract_prompt`, but for one case: without any common beginning the prompt is empty here,
        where TRL looks at the last character of `chosen`.
    """
    shorter = min(len(chosen), len(rejected))
    cut = next((i for i in range(shorter) if chosen[i] != rejected[i]), shorter - 1)
    if cut > 0 and chosen[cut - 1] == " " and chosen[cut] != rejected[cut]:
        cut -= 1
    return chosen[:cut], chosen[cut:], rejected[cut:]


def _response(cell: object, place: str, column: str) -> Text:
    text = _text(cell, place, column)
    if not (text.strip() if isinstance(text, str) else text and says_something(text[-1])):
        raise InputError(f"{place}: `{column}` is empty. Every response needs at least one token.")
    return text


def _prompt(cell: object, place: str) -> Text:
    text = _text(cell, place, "prompt")
    if text == []:
        raise InputError(
            f"{place}: `prompt` is an empty list. Where the prompt is the common beginning of `chosen` and `rejected`, "
            "leave the column `prompt` out."
        )
    return text


def _text(cell: object, place: str, column: str) -> Text:
    if isinstance(cell, str):
        return cell
    if isinstance(cell, list) and all(map(is_message, cell)):
        for message in cell:
            if (kind := other_part(message)) is not None:
                raise InputError(
                    f"{place}: `{column}` has a message with a part of type `{kind}`. Content is a text, or a list of "
                    "parts of type `text`."
                )
        return [dict(message) for message in cell]
    description = "null" if cell is None else f"{type(cell).__name__} {json.dumps(cell, default=str)[:60]}"
    raise InputError(
        f"{place}: `{column}` should be a text, or a list of messages with `role` and `content` (or `tool_calls`). "
        f"Found {description}."
    )


def _with_prompt(prompt: Text, chosen: Text, rejected: Text, place: str) -> tuple[Text, Text, Text]:
    if isinstance(prompt, str) == isinstance(chosen, str):
        return prompt, chosen, rejected
    if isinstance(prompt, list):
        raise InputError(f"{place}: `prompt` is a list of messages while `chosen` is a text; both should be alike.")
    assert isinstance(chosen, list)
    assert isinstance(rejected, list)
    turns, *sides = split_prompt(chosen, rejected)
    if not turns or (prompt.strip() and not any(_repeats(prompt, turn) for turn in turns)):
        raise InputError(
            f"{place}: `prompt` is a text, `chosen` and `rejected` are messages, and those do not begin with it as a "
            "user's turn. Make `prompt` a list of messages too."
        )
    return turns, sides[0], sides[1]


def _repeats(prompt: str, turn: Message) -> bool:
    return bool(turn["role"] == "user" and text_of(turn).split() == prompt.split())


def _without_prompt(chosen: Text, rejected: Text, place: str) -> tuple[Text, Text, Text]:
    if isinstance(chosen, str) and isinstance(rejected, str):
        return split_prompt(chosen, rejected)
    assert isinstance(chosen, list)
    assert isinstance(rejected, list)
    parts = split_prompt(chosen, rejected)
    if not parts[0]:
        raise InputError(
            f"{place}: `chosen` and `rejected` are messages without a first turn in common, so there is no prompt. "
            "Give the prompt as a list of messages in `prompt`."
        )
    return parts


def _refuse_half_characters(cells: Mapping[str, object], place: str) -> None:
    """JSON can contain half of a surrogate pair, which tokenizers and tables cannot represent."""
    for column, cell in cells.items():
        text = cell if isinstance(cell, str) else json.dumps(cell, ensure_ascii=False, default=str)
        if (half := _HALF_CHARACTER.search(text)) is not None:
            raise InputError(f"{place}: `{column}` holds \\u{ord(half[0]):04x} alone, which is half of a character.")


def _template_arguments(row: Mapping[str, object], place: str) -> dict[str, Any]:  # Any: whatever a template takes
    tools, more = row.get("tools"), row.get("chat_template_kwargs") or {}
    if not isinstance(more, Mapping):
        raise InputError(f"{place}: `chat_template_kwargs` should be an object. Found {type(more).__name__}.")
    if isinstance(tools, str):
        try:
            tools = json.loads(tools)
        except ValueError as error:
            raise InputError(f"{place}: `tools` is not JSON: {error}.") from None
    return {**({"tools": tools} if tools is not None else {}), **more}


def _names(columns: Sequence[str]) -> str:
    return ", ".join(f"`{c}`" for c in columns) or "no column"
