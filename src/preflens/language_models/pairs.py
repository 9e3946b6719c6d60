"""Preference pairs in TRL's formats: explicit or implicit prompt, texts or messages."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from preflens.errors import InputError

Message = dict[str, Any]  # Any: chat templates may use more than role and content
Text = str | list[Message]
T = TypeVar("T", str, list[Message])


@dataclass(frozen=True)
class PreferencePair:
    """One row of a preference data set, its prompt made explicit.

    Attributes:
        id: the row's `id`, or its number.
        prompt: context, a text or messages.
        chosen: the preferred response, of the same kind as the prompt.
        rejected: the other response.
        template_arguments: passed to the chat template: `tools`, and what the row's `chat_template_kwargs` holds.
        row: number of its row in the data that it came from, from 0; None where it came from none.
    """

    id: str
    prompt: Text
    chosen: Text
    rejected: Text
    template_arguments: Mapping[str, Any] = field(default_factory=dict)  # Any: whatever a template takes
    row: int | None = field(default=None, compare=False)

    @property
    def conversational(self) -> bool:
        """Whether the pair consists of messages."""
        return isinstance(self.chosen, list)


def preference_pair(row: Mapping[str, object], *, number: int, place: str) -> PreferencePair:
    """Check one row and make its prompt explicit.

    Args:
        row: `chosen` and `rejected`, with or without `prompt`; optionally `id`, `tools`, `chat_template_kwargs`.
        number: the row's number from 0; its id where it has none.
        place: file and line, for messages.

    Returns:
        The pair.

    Raises:
        InputError: a column is missing, a cell is not a text or a list of messages, or a response is empty.

    Note:
        A text prompt beside conversational responses is taken to be a copy of their first turns, as TRL's
        `maybe_extract_prompt` does.
    """
    missing = [c for c in ("chosen", "rejected") if c not in row]
    if missing:
        raise InputError(
            f"{place}: column {_names(missing)} is missing. Expected `chosen`, `rejected` and, unless it is the common "
            f"beginning of both, `prompt`. Found {_names(sorted(row))}."
        )
    chosen = _text(row["chosen"], place, "chosen")
    rejected = _text(row["rejected"], place, "rejected")
    prompt: Text | None = _text(row["prompt"], place, "prompt", may_be_empty=True) if "prompt" in row else None
    if isinstance(chosen, str) and isinstance(rejected, str):
        if isinstance(prompt, list):
            raise InputError(f"{place}: `prompt` is a list of messages while `chosen` is a text; both should be alike.")
        parts: tuple[Text, Text, Text] = (
            (prompt, chosen, rejected) if prompt is not None else split_prompt(chosen, rejected)
        )
    elif isinstance(chosen, list) and isinstance(rejected, list):
        parts = (prompt, chosen, rejected) if isinstance(prompt, list) else split_prompt(chosen, rejected)
    else:
        raise InputError(f"{place}: one of `chosen` and `rejected` is a text and the other a list of messages.")
    identifier = row.get("id")
    return PreferencePair(
        str(number if identifier is None else identifier),
        *parts,
        template_arguments=_template_arguments(row, place),
        row=number,
    )


def split_prompt(chosen: T, rejected: T) -> tuple[T, T, T]:
    """Take the longest common beginning of two responses as their prompt.

    Characters are compared in texts, turns in conversations. A space just before the difference goes to the responses;
    the last character or turn of the shorter one is never part of the prompt.

    Args:
        chosen: prompt and preferred response in one, not empty.
        rejected: prompt and other response in one, not empty.

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


def render(text: Text) -> str:
    """Return a text as it is, and messages as `role: content` lines, for people to read.

    Args:
        text: either form.

    Returns:
        One string.
    """
    if isinstance(text, str):
        return text
    return "\n".join(f"{m['role']}: {m['content']}" for m in text)


def _text(cell: object, place: str, column: str, *, may_be_empty: bool = False) -> Text:
    if isinstance(cell, str):
        if not may_be_empty and not cell.strip():
            raise InputError(f"{place}: `{column}` is empty. Every response needs at least one token.")
        return cell
    if isinstance(cell, list) and all(_is_message(m) for m in cell):
        if not cell or not (may_be_empty or str(cell[-1]["content"]).strip()):
            raise InputError(f"{place}: `{column}` is empty. Every response needs at least one token.")
        return [dict(m) for m in cell]
    found = "null" if cell is None else f"{type(cell).__name__} {json.dumps(cell, default=str)[:60]}"
    raise InputError(
        f"{place}: `{column}` should be a text, or a list of messages with `role` and `content` texts. Found {found}."
    )


def _is_message(value: object) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("role"), str) and isinstance(value.get("content"), str)


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
